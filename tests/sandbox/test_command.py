"""``manage.py openrouter_auth_sandbox``: the sandbox beside any site, in real processes."""

import io
import os
import re
import signal
import socket
import sqlite3
import subprocess
import sys
from contextlib import closing, contextmanager
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import django
import pytest
import requests
from django.core.management import CommandError, call_command
from django.urls import reverse

from django_openrouter_auth.sandbox.standalone import DATABASE_VARIABLE, READY, serving
from django_openrouter_auth.sandbox.standalone import settings as standalone_settings
from django_openrouter_auth.sandbox.standalone import urls as standalone_urls
from tests.example_site import ROOT, environment, manage, serve
from tests.processes import free_port, is_listening

from . import ACCOUNT, CHALLENGE, VERIFIER
from .test_reload import post_form

COMMAND = "openrouter_auth_sandbox"
LAST_LINE = "Stop it with Ctrl-C.\n"
PATIENCE = 30
ASKED = "callback_url=https%3A%2F%2Fapp.example%2Fcb&code_challenge="

MANAGE = """
import os, sys
os.environ["DJANGO_SETTINGS_MODULE"] = "brand_new_site"
from django.core.management import execute_from_command_line
execute_from_command_line(sys.argv)
"""

SITE = """
import os
from pathlib import Path

from django.contrib import admin
from django.urls import include, path

DEBUG = os.environ.get("DEBUG") != "0"
SECRET_KEY = FERNET_KEYS = "brand-new-" * 5
ALLOWED_HOSTS = ["localhost"]
DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": Path(__file__).with_name("site.sqlite3"),
    }
}
INSTALLED_APPS = [
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "django_openrouter_auth",
]
MIDDLEWARE = [
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
]
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ]
        },
    }
]
ROOT_URLCONF = "brand_new_urls"
LOGIN_URL = "/admin/login/"
STATIC_URL = "/static/"
USE_TZ = True
"""

URLS = """
from django.contrib import admin
from django.urls import include, path

urlpatterns = [
    path("admin/", admin.site.urls),
    path("openrouter/", include("django_openrouter_auth.urls")),
]
"""


@pytest.fixture
def site(tmp_path):
    """Write a brand-new site, which has never heard of the sandbox; return its ``manage.py``."""
    folder = tmp_path / "site"
    folder.mkdir()
    (folder / "manage.py").write_text(MANAGE)
    (folder / "brand_new_site.py").write_text(SITE)
    (folder / "brand_new_urls.py").write_text(URLS)
    return folder / "manage.py"


@pytest.fixture
def env(tmp_path):
    """Return an environment whose temporary folder nobody else uses."""
    (tmp_path / "tmp").mkdir()
    return environment(tmp_path, TMPDIR=str(tmp_path / "tmp"), PYTHONWARNINGS="error")


@pytest.fixture
def port():
    """Return a port that nothing listens on."""
    return free_port()


@contextmanager
def sandbox(env, *arguments):
    """Run a Python program that serves the sandbox; yield the process and what it said."""
    process = subprocess.Popen(
        [sys.executable, *map(str, arguments)],
        env=env,
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        said = ""
        while not said.endswith(LAST_LINE):
            line = process.stdout.readline()
            assert line, process.stderr.read()
            said += line
        yield process, said
    finally:
        end(process, os.kill, signal.SIGINT)


def end(process, kill, sent):
    """Send a signal; return exit code and what was printed, once all processes have gone.

    The server holds the other end of stderr as well: reading to its end waits for it, too.
    """
    if process.stdout.closed:
        return None
    if process.poll() is None:
        kill(process.pid, sent)
    out, err = process.communicate(timeout=PATIENCE)
    return process.returncode, out, err


def approve(browser, url, challenge=CHALLENGE, method="S256"):
    """Sign in, approve a request and return the code."""
    post_form(browser, f"{url}/sign-in", {"account": ACCOUNT})
    asked = f"{url}/auth?{ASKED}{challenge}&code_challenge_method={method}"
    answer = post_form(browser, asked, {"name": "x", "limit": "1", "decision": "authorize"})
    [code] = parse_qs(urlsplit(answer.headers["Location"]).query)["code"]
    return code


def exchange(url, code):
    """Exchange a code; return the answer."""
    body = {"code": code, "code_verifier": VERIFIER, "code_challenge_method": "S256"}
    return requests.post(f"{url}/api/v1/auth/keys", json=body, timeout=PATIENCE)


def ask_about(url, key):
    """Return the status of ``GET /key``."""
    headers = {"Authorization": f"Bearer {key}"}
    return requests.get(f"{url}/api/v1/key", headers=headers, timeout=PATIENCE).status_code


# In processes of its own


@pytest.mark.process
def test_a_brand_new_site_connects(site, env, port, tmp_path):
    """Two pasted lines connect a site to the sandbox: consent, exchange and ``GET /key``."""
    with sandbox(env, site, COMMAND, "--port", port) as (_, said):
        lines = re.findall(r"^ +(OPENROUTER_AUTH_\w+ = .+)$", said, re.MULTILINE)
        with site.with_name("brand_new_site.py").open("a") as settings:
            settings.write("\n".join(lines))
        root = {"DJANGO_SUPERUSER_PASSWORD": "demo"}
        for arguments in (
            ("migrate", "-v0"),
            ("createsuperuser", "--noinput", "--username=ann", "--email=ann@example.org"),
        ):
            done = manage(env | root, *arguments, script=site)
            assert done.returncode == 0, done.stderr
        address = f"localhost:{free_port()}"
        log = tmp_path / "site.log"
        run = ("runserver", "--noreload", address)
        with (
            serve(env, f"{address}/admin/login", *run, log=log, script=site),
            requests.Session() as browser,
        ):
            url = f"http://{address}/openrouter"
            login = {"username": "ann", "password": "demo"}
            post_form(browser, f"http://{address}/admin/login/", login)
            consent = post_form(browser, f"{url}/connect/", {}).headers["Location"]
            sandbox_url = f"http://127.0.0.1:{port}/sandbox"
            assert consent.startswith(f"{sandbox_url}/auth?")
            post_form(browser, f"{sandbox_url}/sign-in", {"account": ACCOUNT})
            terms = {"name": "x", "limit": "7", "decision": "authorize"}
            callback = post_form(browser, consent, terms).headers["Location"]
            assert callback.startswith(f"{url}/callback/")
            browser.get(callback)
            status = browser.get(f"{url}/status/").json()
    assert (status["connected"], status["limit"]) == (True, 7.0)
    assert status["urls"]["openrouter_key"].startswith(f"{sandbox_url}/keys/")


@pytest.mark.process
def test_codes_and_keys_survive_a_restart(site, env, port, tmp_path):
    """With ``--database`` a code and a key of one run are good in the next; so is the sign-in."""
    arguments = (site, COMMAND, "--port", port, "--database", tmp_path / "kept.sqlite3")
    url = f"http://127.0.0.1:{port}/sandbox"
    with requests.Session() as browser:
        with sandbox(env, *arguments):
            code = approve(browser, url)
        with sandbox(env, *arguments):
            key = exchange(url, code).json()["key"]
        with sandbox(env, *arguments) as (_, said):
            assert ask_about(url, key) == 200
            assert ACCOUNT in browser.get(f"{url}/settings/keys").text
    assert f"kept in {tmp_path / 'kept.sqlite3'}." in said


@pytest.mark.process
def test_without_a_database_all_is_forgotten(site, env, port, tmp_path):
    """Without ``--database`` a new run starts empty, and says so before."""
    url = f"http://127.0.0.1:{port}/sandbox"
    with requests.Session() as browser:
        with sandbox(env, site, COMMAND, "--port", port) as (_, said):
            key = exchange(url, approve(browser, url)).json()["key"]
            assert ask_about(url, key) == 200
        with sandbox(env, site, COMMAND, "--port", port):
            assert ask_about(url, key) == 401
    assert "forgotten at the end" in said


@pytest.mark.process
@pytest.mark.parametrize("kill", [os.kill, os.killpg])
def test_ctrl_c_ends_all(kill, site, env, port, tmp_path):
    """Ctrl-C, of a terminal or to the command alone, leaves no process, port, file or traceback."""
    with sandbox(env, site, COMMAND, "--port", port) as (process, _):
        assert is_listening(port)
        assert end(process, kill, signal.SIGINT) == (0, "", "")
    assert not is_listening(port)
    assert list((tmp_path / "tmp").iterdir()) == []


@pytest.mark.process
@pytest.mark.parametrize("sent", [signal.SIGTERM, signal.SIGKILL])
def test_the_server_never_outlives_the_command(sent, site, env, port, tmp_path):
    """However the command ends, the server ends as well and cleans up."""
    with sandbox(env, site, COMMAND, "--port", port) as (process, _):
        assert end(process, os.kill, sent) == (-sent, "", "")
    assert not is_listening(port)
    assert list((tmp_path / "tmp").iterdir()) == []


@pytest.mark.process
def test_a_slow_answer_does_not_hold_up_the_end(site, env, port):
    """Ctrl-C ends the sandbox while it plays a slow OpenRouter, and others are served meanwhile."""
    url = f"http://127.0.0.1:{port}/sandbox"
    # Whoever asks for all warnings is told of the connection that the slow answer had open.
    env.pop("PYTHONWARNINGS")
    with (
        sandbox(env, site, COMMAND, "--port", port) as (process, _),
        requests.Session() as browser,
        socket.create_connection(("127.0.0.1", port)) as slow,
    ):
        key = exchange(url, approve(browser, url)).json()["key"]
        page = browser.get(f"{url}/faults").text
        chosen = dict(re.findall(r'(?s)<select name="(\w+)".+?value="([^"]+)" selected', page))
        on = dict.fromkeys(re.findall(r'type="checkbox" name="(\w+)"[^>]* checked', page), "on")
        switches = chosen | on | {"key_fault": "slow", "slow_seconds": "120"}
        assert post_form(browser, f"{url}/faults", switches).status_code == 302
        slow.sendall(
            b"GET /sandbox/api/v1/key HTTP/1.1\r\nHost: localhost\r\n"
            + f"Authorization: Bearer {key}\r\n\r\n".encode()
        )
        assert browser.get(f"{url}/").status_code == 200
        assert end(process, os.kill, signal.SIGINT) == (0, "", "")
    assert not is_listening(port)


@pytest.mark.process
def test_it_listens_on_loopback_only(site, env, port):
    """Another address of the machine does not lead to the sandbox."""
    with sandbox(env, site, COMMAND, "--port", port), closing(socket.socket()) as probe:
        # Also loopback, but another address: a server for all addresses would take it.
        assert probe.connect_ex(("127.0.0.2", port)) != 0
        answer = requests.get(
            f"http://127.0.0.1:{port}/sandbox/", headers={"Host": "evil.example"}, timeout=PATIENCE
        )
        assert answer.status_code == 400


@pytest.mark.process
def test_nothing_of_the_site_leaks_in(site, env, port):
    """Settings that would break any answer of the site do not reach the sandbox."""
    with site.with_name("brand_new_site.py").open("a") as settings:
        settings.write('MIDDLEWARE = ["does.not.Exist"]\nROOT_URLCONF = "missing"\n')
    url = f"http://127.0.0.1:{port}"
    with sandbox(env, site, COMMAND, "--port", port):
        assert requests.get(f"{url}/", timeout=PATIENCE).url == f"{url}/sandbox/"
        css = requests.get(f"{url}/static/openrouter_sandbox/sandbox.css", timeout=PATIENCE)
        assert css.headers["Content-Type"].startswith("text/css")
    assert not site.with_name("site.sqlite3").exists()


@pytest.mark.process
def test_it_serves_a_site_that_has_the_sandbox_itself(site, env, port):
    """A site that includes the sandbox can use the command all the same."""
    with site.with_name("brand_new_site.py").open("a") as settings:
        settings.write('INSTALLED_APPS += ["django_openrouter_auth.sandbox"]\n')
    with site.with_name("brand_new_urls.py").open("a") as urls:
        urls.write('urlpatterns += [path("", include("django_openrouter_auth.sandbox.urls"))]\n')
    url = f"http://127.0.0.1:{port}/sandbox"
    with (
        sandbox(env, site, COMMAND, "--port", port),
        requests.Session() as browser,
    ):
        assert exchange(url, approve(browser, url)).status_code == 200
    assert not site.with_name("site.sqlite3").exists()


@pytest.mark.process
def test_no_verifier_is_printed(site, env, port):
    """With the method ``plain`` the challenge is the verifier; the command prints no query."""
    url = f"http://127.0.0.1:{port}/sandbox"
    with (
        sandbox(env, site, COMMAND, "--port", port) as (process, _),
        requests.Session() as browser,
    ):
        code = approve(browser, url, challenge=VERIFIER, method="plain")
        assert exchange(url, code).status_code == 400
        assert end(process, os.kill, signal.SIGINT) == (0, "", "")


@pytest.mark.process
def test_closed_output_does_not_matter(site, env, port):
    """MC 231: with stdout closed the command serves as well."""
    process = subprocess.Popen(
        [
            "/bin/sh",
            "-c",
            'exec "$@" >&-',
            "sh",
            sys.executable,
            site,
            COMMAND,
            "--port",
            str(port),
        ],
        env=env,
        stderr=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        url = f"http://127.0.0.1:{port}/sandbox/"
        retries = requests.adapters.Retry(total=8, backoff_factor=0.1)
        with requests.Session() as browser:
            browser.mount("http://", requests.adapters.HTTPAdapter(max_retries=retries))
            assert browser.get(url, timeout=PATIENCE).status_code == 200
    finally:
        ended = end(process, os.kill, signal.SIGINT)
    assert ended == (0, "", "")


@pytest.mark.process
def test_a_refusal_is_one_line(site, env):
    """Without DEBUG the process ends with 1 and says why, without a traceback."""
    done = manage(env | {"DEBUG": "0"}, COMMAND, script=site)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("CommandError: The sandbox is for development")
    assert done.stderr.count("\n") == 1


# What is in the way


@pytest.fixture
def debug(settings):
    """Turn on DEBUG, which test runners turn off."""
    settings.DEBUG = True


def test_it_needs_debug(settings):
    """Without DEBUG there is no sandbox."""
    settings.DEBUG = False
    with pytest.raises(CommandError, match="needs DEBUG = True"):
        call_command(COMMAND)


@pytest.mark.parametrize("port", ["0", "-1", "65536", "99999999999999999999", "x", "8400.5", ""])
def test_ports_that_are_none(port, debug):
    """MC 231: a port is a number from 1 to 65535."""
    with pytest.raises(CommandError, match="--port"):
        call_command(COMMAND, f"--port={port}")


@pytest.mark.parametrize("address", ["127.0.0.1", "0.0.0.0"])
def test_a_port_in_use(address, debug, port):
    """A port on which another program listens is named, with a way out."""
    with socket.create_server((address, port)), pytest.raises(CommandError) as refusal:
        call_command(COMMAND, port=port)
    assert f"Port {port} is in use" in str(refusal.value)
    assert f"--port {port + 1}" in str(refusal.value)


@pytest.mark.process
def test_two_sandboxes_do_not_share_a_port(site, env, debug, port):
    """A second sandbox at the same port is refused; the first one goes on."""
    with sandbox(env, site, COMMAND, "--port", port):
        with pytest.raises(CommandError, match="in use"):
            call_command(COMMAND, port=port)
        assert is_listening(port)


def test_a_database_of_another_site(debug, port, tmp_path):
    """A file that holds tables of another site is refused and left as it was."""
    path = tmp_path / "site.sqlite3"
    with closing(sqlite3.connect(path)) as other:
        other.execute("CREATE TABLE auth_user (id INTEGER)")
    before = path.read_bytes()
    with pytest.raises(CommandError, match="tables of another site"):
        call_command(COMMAND, port=port, database=str(path))
    assert path.read_bytes() == before


def test_a_file_that_is_no_database(debug, port, tmp_path):
    """A text, a folder or a path that leads nowhere is refused and left as it was."""
    text = tmp_path / "text"
    text.write_text("Not a database. " * 100)
    for path in (text, tmp_path, tmp_path / "missing" / "file"):
        with pytest.raises(CommandError, match="The file of --database cannot be used"):
            call_command(COMMAND, port=port, database=str(path))
    assert text.read_text() == "Not a database. " * 100


def program(tmp_path, monkeypatch, script):
    """Let the command start a script of the shell in Python's place."""
    path = tmp_path / "program"
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o700)
    monkeypatch.setattr(sys, "executable", str(path))


def test_a_server_that_does_not_start(debug, tmp_path, monkeypatch):
    """A server that ends without a word leaves an error, not silence."""
    program(tmp_path, monkeypatch, "exit 1")
    with pytest.raises(CommandError, match="could not be started, see above"):
        call_command(COMMAND)


def test_a_server_that_ends_by_itself(debug, tmp_path, monkeypatch):
    """A server that ends while it serves leaves an error; ``-v 0`` prints nothing else."""
    program(tmp_path, monkeypatch, f"echo {READY}; exit 3")
    out = io.StringIO()
    with pytest.raises(CommandError, match="ended by itself, with exit code 3"):
        call_command(COMMAND, verbosity=0, stdout=out)
    assert out.getvalue() == ""


class Interrupted(io.StringIO):
    """A terminal at which somebody presses Ctrl-C as soon as something is shown."""

    def flush(self):
        raise KeyboardInterrupt


def test_ctrl_c_is_no_error(debug, tmp_path, monkeypatch):
    """Ctrl-C ends the command quietly, and the server by closing its standard input."""
    ended = tmp_path / "ended"
    program(tmp_path, monkeypatch, f"echo {READY}; cat; touch {ended}")
    out = Interrupted()
    call_command(COMMAND, port=8499, stdout=out)
    assert ended.exists()
    url = "http://127.0.0.1:8499/sandbox"
    for words in (f"{url}/auth", f"{url}/api/v1", f"{url}/faults", "Ctrl-C"):
        assert words in out.getvalue()


def test_a_database_is_named_in_the_text(debug, tmp_path, monkeypatch):
    """With ``--database`` the text says where codes and keys are kept."""
    program(tmp_path, monkeypatch, f"echo {READY}; cat")
    out = Interrupted()
    call_command(COMMAND, database="here.sqlite3", stdout=out)
    assert "Codes and keys are kept in here.sqlite3." in out.getvalue()


def test_the_documentation_shows_what_is_printed(debug, tmp_path, monkeypatch):
    """The two settings on the page of the sandbox are those that the command prints."""
    program(tmp_path, monkeypatch, f"echo {READY}; cat")
    out = Interrupted()
    call_command(COMMAND, stdout=out)
    lines = [line.strip() for line in out.getvalue().splitlines() if line.startswith("    ")]
    page = (ROOT / "docs" / "reference" / "sandbox.rst").read_text()
    assert "# settings.py\n   " + "\n   ".join(lines) in page


# The server's parts, in this process


def test_the_settings_are_for_loopback():
    """The server answers under names of this machine only, and has an app of ours only."""
    assert standalone_settings.DEBUG
    assert standalone_settings.ALLOWED_HOSTS == ["localhost", "127.0.0.1"]
    assert [name for name in standalone_settings.INSTALLED_APPS if "django." not in name] == [
        "django_openrouter_auth.sandbox"
    ]


def test_the_cookies_are_its_own(settings):
    """Ports share cookies: the sandbox has a name for one and a path for the other."""
    assert settings.CSRF_COOKIE_NAME != standalone_settings.CSRF_COOKIE_NAME
    assert reverse("openrouter_sandbox:home", urlconf=standalone_urls) == "/sandbox/"


def test_serving_until_the_lifeline_ends(monkeypatch, port):
    """The server says that it is ready, serves until its input ends, and then has gone."""
    monkeypatch.setattr(serving, "prepare_database", lambda: None)
    out = io.StringIO()

    class Lifeline(io.StringIO):
        def read(self):
            assert out.getvalue() == f"{READY}\n"
            css = "/static/openrouter_sandbox/sandbox.css"
            answers.append(requests.get(f"http://127.0.0.1:{port}{css}", timeout=PATIENCE))

    answers = []
    serving.serve(port, Lifeline(), out)
    assert [answer.status_code for answer in answers] == [200]
    assert not is_listening(port)


def test_saying_what_is_in_the_way(monkeypatch, port):
    """Where the port is in use, that is the line that is said."""
    monkeypatch.setattr(serving, "prepare_database", lambda: None)
    out = io.StringIO()
    with socket.create_server(("127.0.0.1", port)):
        serving.serve(port, io.StringIO(), out)
    assert out.getvalue().startswith(f"Port {port} is in use")
    assert out.getvalue().count("\n") == 1


def test_a_port_that_is_not_for_everybody(monkeypatch):
    """A port that the system keeps for itself is refused in its words."""

    def refuse(*args):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(serving, "ThreadedWSGIServer", refuse)
    with pytest.raises(serving.Obstacle, match="Port 80 cannot be opened: Permission denied"):
        serving.listen(80)


def test_the_tables_of_another_site_are_found(db):
    """The database of this very site is refused."""
    with pytest.raises(serving.Obstacle, match="tables of another site"):
        serving.prepare_database()


def test_missing_tables_are_made(db, monkeypatch):
    """A database with tables of the sandbox, or none, is migrated."""
    ours = ["django_migrations", "openrouter_sandbox_sandboxkey"]
    introspection = serving.connection.introspection
    monkeypatch.setattr(introspection, "table_names", lambda: ours)
    called = []
    monkeypatch.setattr(serving, "call_command", lambda *args, **options: called.append(args))
    serving.prepare_database()
    assert called == [("migrate",)]


def test_trouble_of_the_database_is_told(db, monkeypatch):
    """What the database says is passed on."""

    def refuse():
        raise serving.DatabaseError("file is not a database")

    monkeypatch.setattr(serving.connection.introspection, "table_names", refuse)
    with pytest.raises(serving.Obstacle, match="cannot be used: file is not a database"):
        serving.prepare_database()


@pytest.mark.parametrize("database", ["", "/somewhere/kept.sqlite3"])
def test_where_the_database_is(database, monkeypatch):
    """The settings are told the given file, or one in a folder that is deleted at the end."""
    monkeypatch.setenv("DJANGO_SETTINGS_MODULE", "site")
    monkeypatch.setenv(DATABASE_VARIABLE, "")
    monkeypatch.setattr(django, "setup", lambda: None)
    served = []

    def note(port, lifeline, out):
        path = Path(os.environ[DATABASE_VARIABLE])
        served.append((port, path, path.parent.is_dir(), os.environ["DJANGO_SETTINGS_MODULE"]))

    monkeypatch.setattr(serving, "serve", note)
    serving.main("8400", database)
    [(port, path, had_folder, module)] = served
    assert (port, module) == (8400, standalone_settings.__name__)
    assert (str(path) == database) or had_folder
    assert not path.parent.exists()
