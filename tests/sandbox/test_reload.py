"""Nothing that the sandbox knows lives in a process."""

import hashlib
import os
import re
import subprocess
import sys
from contextlib import contextmanager
from http import HTTPStatus
from urllib.parse import parse_qs, urlsplit

import pytest
import requests

from tests.example_site import ROOT
from tests.processes import free_port, is_listening, running

from . import ACCOUNT, CHALLENGE, VERIFIER

DJANGO = (sys.executable, "-m", "django")


@pytest.fixture
def env(tmp_path):
    """The environment of a site with a database file that has its tables."""
    env = os.environ | {
        "DJANGO_SETTINGS_MODULE": "tests.sandbox.bare_settings",
        "SANDBOX_DATABASE": str(tmp_path / "db.sqlite3"),
        "PYTHONWARNINGS": "error",
    }
    subprocess.run([*DJANGO, "migrate", "-v0"], cwd=ROOT, env=env, check=True)
    return env


@contextmanager
def serving(env, folder):
    """Run a server process of its own; yield the address of the sandbox on it."""
    port = free_port()
    command = [*DJANGO, "runserver", "--noreload", f"127.0.0.1:{port}"]
    with running(command, folder / "log", lambda: is_listening(port), cwd=ROOT, env=env):
        yield f"http://127.0.0.1:{port}/openrouter-sandbox"


def post_form(browser, url, data):
    """Load a page and send its form."""
    [token] = re.findall(r'name="csrfmiddlewaretoken" value="(\w+)"', browser.get(url).text)
    data = data | {"csrfmiddlewaretoken": token}
    return browser.post(url, data, allow_redirects=False)


@pytest.mark.process
def test_codes_and_keys_survive_a_new_process(env, tmp_path):
    """Approve at one server, exchange at the next, use and delete the key at the third."""
    asked = (
        "callback_url=https%3A%2F%2Fapp.example%2Fcb"
        f"&code_challenge={CHALLENGE}&code_challenge_method=S256"
    )
    with requests.Session() as browser, serving(env, tmp_path) as url:
        post_form(browser, f"{url}/sign-in", {"account": ACCOUNT})
        terms = {"name": "x", "limit": "1", "decision": "authorize"}
        answer = post_form(browser, f"{url}/auth?{asked}", terms)
        cookies = browser.cookies
    [code] = parse_qs(urlsplit(answer.headers["Location"]).query)["code"]

    body = {"code": code, "code_verifier": VERIFIER, "code_challenge_method": "S256"}
    with requests.Session() as app, serving(env, tmp_path) as url:
        key = app.post(f"{url}/api/v1/auth/keys", json=body).json()["key"]

    headers = {"Authorization": f"Bearer {key}"}
    with requests.Session() as browser, serving(env, tmp_path) as url:
        browser.cookies = cookies
        data = browser.get(f"{url}/api/v1/key", headers=headers).json()["data"]
        assert (data["limit"], data["usage"]) == (1.0, 0.0)
        again = browser.post(f"{url}/api/v1/auth/keys", json=body)
        assert again.status_code == HTTPStatus.BAD_REQUEST
        key_hash = hashlib.sha256(key.encode()).hexdigest()
        post_form(browser, f"{url}/keys/{key_hash}", {})
        answer = browser.get(f"{url}/api/v1/key", headers=headers)
        assert answer.status_code == HTTPStatus.UNAUTHORIZED
