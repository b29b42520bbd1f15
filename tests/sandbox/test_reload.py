"""Nothing that the sandbox knows lives in a process."""

import hashlib
import os
import re
import socket
import subprocess
import sys
import time
from contextlib import closing, contextmanager
from http import HTTPStatus
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest
import requests

from . import ACCOUNT, CHALLENGE, VERIFIER

ROOT = Path(__file__).resolve().parents[2]
PATIENCE = 30
"""Seconds that a server may take to start."""


@pytest.fixture
def django_admin(tmp_path):
    """Prepare a site with a database file; return how to run Django's commands on it."""
    environment = os.environ | {
        "DJANGO_SETTINGS_MODULE": "tests.sandbox.bare_settings",
        "SANDBOX_DATABASE": str(tmp_path / "db.sqlite3"),
        "PYTHONWARNINGS": "error",
    }
    environment.pop("COVERAGE_PROCESS_START", None)

    def start(*arguments):
        return subprocess.Popen(
            [sys.executable, "-m", "django", *arguments],
            cwd=ROOT,
            env=environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        )

    with start("migrate") as migration:
        assert migration.wait() == 0, migration.stderr.read()
    return start


def free_port():
    """Return a port that nobody listens on."""
    with closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@contextmanager
def serving(django_admin):
    """Run a server process of its own; yield the address of the sandbox on it."""
    port = free_port()
    with django_admin("runserver", "--noreload", f"127.0.0.1:{port}") as server:
        try:
            url = f"http://127.0.0.1:{port}/openrouter-sandbox"
            give_up_at = time.monotonic() + PATIENCE
            while True:
                try:
                    requests.get(f"{url}/", timeout=5).close()
                    break
                except requests.ConnectionError:
                    assert server.poll() is None, server.stderr.read()
                    assert time.monotonic() < give_up_at
                    time.sleep(0.1)
            yield url
        finally:
            server.terminate()
            server.stderr.read()


def post_form(browser, url, data):
    """Load a page and send its form."""
    [token] = re.findall(r'name="csrfmiddlewaretoken" value="(\w+)"', browser.get(url).text)
    data = data | {"csrfmiddlewaretoken": token}
    return browser.post(url, data, allow_redirects=False)


def test_codes_and_keys_survive_a_new_process(django_admin):
    """Approve at one server, exchange at the next, use and delete the key at the third."""
    asked = (
        "callback_url=https%3A%2F%2Fapp.example%2Fcb"
        f"&code_challenge={CHALLENGE}&code_challenge_method=S256"
    )
    with requests.Session() as browser, serving(django_admin) as url:
        post_form(browser, f"{url}/sign-in", {"account": ACCOUNT})
        terms = {"name": "x", "limit": "1", "decision": "authorize"}
        answer = post_form(browser, f"{url}/auth?{asked}", terms)
        cookies = browser.cookies
    [code] = parse_qs(urlsplit(answer.headers["Location"]).query)["code"]

    body = {"code": code, "code_verifier": VERIFIER, "code_challenge_method": "S256"}
    with requests.Session() as app, serving(django_admin) as url:
        key = app.post(f"{url}/api/v1/auth/keys", json=body).json()["key"]

    headers = {"Authorization": f"Bearer {key}"}
    with requests.Session() as browser, serving(django_admin) as url:
        browser.cookies = cookies
        data = browser.get(f"{url}/api/v1/key", headers=headers).json()["data"]
        assert (data["limit"], data["usage"]) == (1.0, 0.0)
        again = browser.post(f"{url}/api/v1/auth/keys", json=body)
        assert again.status_code == HTTPStatus.BAD_REQUEST
        key_hash = hashlib.sha256(key.encode()).hexdigest()
        post_form(browser, f"{url}/keys/{key_hash}", {})
        answer = browser.get(f"{url}/api/v1/key", headers=headers)
        assert answer.status_code == HTTPStatus.UNAUTHORIZED
