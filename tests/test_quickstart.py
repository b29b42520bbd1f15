"""The README's quickstart, walked by a stranger: an empty folder, the wheel, seven lines.

And the mistakes that one can make on the way, in that new project: each ends in a message that
names the fix. test_mistakes makes more of them, faster.
"""

import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from html import unescape
from pathlib import Path
from typing import Any

import pytest
import requests

from .example_site import serve
from .processes import free_port
from .test_readme import BUTTON, SETTINGS, START, URLS

pytestmark = pytest.mark.packaging

FIVE_MINUTES = 300
PORT = ":8000/"
PASSWORD = "correct horse"
WHO = ("--no-input", "--email", "somebody@example.org", "--username")
# What a site has beside what the README says: a page, for the button.
PAGE = """
from django.views.generic import TemplateView

urlpatterns += [path("", TemplateView.as_view(template_name="page.html"))]
"""


@pytest.fixture(scope="module")
def started() -> float:
    """When the stranger began."""
    return time.monotonic()


@pytest.fixture(scope="module")
def python(wheel: Path, started: float, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The Python of an environment with the wheel and what it asks for, and nothing else."""
    folder = tmp_path_factory.mktemp("environment") / "with a space"
    subprocess.run([sys.executable, "-m", "venv", folder], check=True)
    python = folder / "bin" / "python"
    command = [str(python), "-m", "pip", "install", "-qq", "--disable-pip-version-check"]
    subprocess.run([*command, str(wheel)], check=True)
    return python


@pytest.fixture(scope="module")
def project(python: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A new project after the steps of the README, up to the one that starts the server."""
    folder = tmp_path_factory.mktemp("project")
    run(python, folder, "-m", "django", "startproject", "mysite", ".")
    append(folder / "mysite" / "settings.py", SETTINGS)
    append(folder / "mysite" / "urls.py", URLS)
    for line in START.splitlines()[:-1]:
        _, *command = line.split()
        run(python, folder, *command, *((*WHO, "ann") if "createsuperuser" in command else ()))
    return folder


def ask(python: Path, folder: Path, *arguments: str, **environment: str) -> tuple[int, str]:
    """Run Python in a folder as a stranger would; return the exit code and what it printed."""
    mine = {name: value for name, value in os.environ.items() if "DJANGO" not in name}
    done = subprocess.run(
        [str(python), "-W", "error", *arguments],
        cwd=folder,
        env=mine | {"DJANGO_SUPERUSER_PASSWORD": PASSWORD} | environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return done.returncode, done.stdout + done.stderr


def run(python: Path, folder: Path, *arguments: str) -> None:
    """Run Python as a stranger would; it must succeed."""
    code, output = ask(python, folder, *arguments)
    assert code == 0, output


def append(path: Path, text: str) -> None:
    """Add lines to a file, as one would in an editor."""
    path.write_text((path.read_text() if path.exists() else "") + "\n" + text)


@pytest.fixture
def visitor() -> Iterator[requests.Session]:
    """A browser without pictures."""
    with requests.Session() as session:
        session.trust_env = False
        yield session


def submit(visitor: requests.Session, page: requests.Response, **data: str) -> requests.Response:
    """Send a page's form back with what was typed into it."""
    form = re.search(r"<form.*?</form>", page.text, re.DOTALL)
    assert form, page.text
    fields = dict(re.findall(r'name="([^"]+)"[^>]*?value="([^"]*)"', form[0]))
    action = re.search(r'action="([^"]*)"', form[0])
    url = requests.compat.urljoin(page.url, unescape(action[1] if action else ""))
    fields = {name: unescape(value) for name, value in fields.items()}
    return visitor.post(url, data=fields | data, headers={"Referer": page.url}, timeout=20)


def sign_in(visitor: requests.Session, page: str, name: str = "ann") -> requests.Response:
    """Open a page, sign in where that leads, and come back to it."""
    return submit(visitor, visitor.get(page, timeout=20), username=name, password=PASSWORD)


def run_site(python: Path, project: Path, port: int, log: Path, settings: str = "settings") -> Any:
    """Serve the project; example_site waits until it answers."""
    environment = {
        "PATH": os.environ["PATH"],
        "NO_PROXY": "localhost,127.0.0.1",
        "DJANGO_SETTINGS_MODULE": f"mysite.{settings}",
    }
    arguments = ("runserver", "--noreload", f"localhost:{port}")
    manage = project / "manage.py"
    address = f"localhost:{port}/openrouter"  # a new project has no page at its root
    return serve(environment, address, *arguments, log=log, script=manage, python=python)


def test_a_stranger_connects(python, project, visitor, started, tmp_path):
    """A stranger connects on the sandbox with the README's own lines, within five minutes."""
    port = free_port()
    addresses = [line for line in SETTINGS.splitlines() if PORT in line]
    write_settings(project, "elsewhere", "\n".join(addresses).replace(PORT, f":{port}/"))
    with run_site(python, project, port, tmp_path / "log", "elsewhere"):
        page = sign_in(visitor, f"http://localhost:{port}/openrouter/")
        account = submit(visitor, page)
        consent = submit(visitor, account, account="ann@example.org")
        connected = submit(visitor, consent, decision="authorize")
    assert connected.url == f"http://localhost:{port}/openrouter/"
    assert "OpenRouter is connected." in connected.text
    assert re.search(r"sk-or-v1-\w{3}\.\.\.\w{3}", connected.text)
    assert time.monotonic() - started < FIVE_MINUTES
    assert "W018" not in (tmp_path / "log").read_text()


def test_the_button_leads_to_openrouter(python, project, visitor, tmp_path):
    """Without the sandbox's lines the button of a page leads to OpenRouter."""
    port = free_port()
    write_settings(project, "real", REAL + USES_PAGE)
    append(project / "mysite" / "real_urls.py", ADMIN + OURS + PAGE)
    run(python, project, "manage.py", "createsuperuser", *WHO, "bob")
    (project / "pages").mkdir()
    (project / "pages" / "page.html").write_text(f"<!doctype html><title>Page</title>{BUTTON}")
    with run_site(python, project, port, tmp_path / "log", "real"):
        sign_in(visitor, f"http://localhost:{port}/openrouter/", "bob")
        page = visitor.get(f"http://localhost:{port}/", timeout=20)
        visitor.max_redirects = 0
        with pytest.raises(requests.TooManyRedirects) as redirect:
            submit(visitor, page)
    location = redirect.value.response.headers["Location"]
    assert location.startswith(
        f"https://openrouter.ai/auth?callback_url=http%3A%2F%2Flocalhost%3A{port}%2Fopenrouter%2F"
    )


# Mistakes

REAL = """
INSTALLED_APPS.remove("django_openrouter_auth.sandbox")
del OPENROUTER_AUTH_AUTHORIZE_URL, OPENROUTER_AUTH_API_URL
"""
USES_PAGE = """
ROOT_URLCONF = "mysite.real_urls"
TEMPLATES[0]["DIRS"] = [BASE_DIR / "pages"]
"""
ADMIN = """
from django.contrib import admin
from django.urls import include, path

urlpatterns = [path("admin/", admin.site.urls)]
"""
OURS, SANDBOX = URLS.splitlines()[-2:]


def write_settings(project: Path, name: str, text: str) -> str:
    """Write settings that begin where the README ends; return how Django names them."""
    (project / "mysite" / f"{name}.py").write_text(f"from .settings import *\n{text}")
    return f"mysite.{name}"


def remove(setting: str, name: str) -> str:
    """Return the line that takes an entry out of a list."""
    return f"{setting} = [item for item in {setting} if {name!r} not in item]\n"


# Each with what it changes in the settings, the URLs in place of the README's, and the fix.
MISTAKES: dict[str, tuple[str, str, str]] = {
    "no include": ("", ADMIN + SANDBOX, 'include("django_openrouter_auth.urls")'),
    "no include of the sandbox": (
        "",
        ADMIN + OURS,
        'include("django_openrouter_auth.sandbox.urls")',
    ),
    "no session middleware": (
        remove("MIDDLEWARE", "SessionMiddleware"),
        "",
        'Put "django.contrib.sessions.middleware.SessionMiddleware"',
    ),
    "no auth middleware": (
        remove("MIDDLEWARE", "AuthenticationMiddleware"),
        "",
        '"django.contrib.auth.middleware.AuthenticationMiddleware" into MIDDLEWARE',
    ),
    "no CSRF middleware": (
        remove("MIDDLEWARE", "Csrf"),
        "",
        'Put "django.middleware.csrf.CsrfViewMiddleware" into MIDDLEWARE',
    ),
    "middleware in the wrong order": (
        "MIDDLEWARE = MIDDLEWARE[::-1]",
        "",
        "into MIDDLEWARE, in this order",
    ),
    "only the sandbox": (
        'INSTALLED_APPS.remove("django_openrouter_auth")',
        "",
        'Add "django_openrouter_auth" to INSTALLED_APPS',
    ),
    "only the app": (
        'INSTALLED_APPS.remove("django_openrouter_auth.sandbox")',
        "",
        'Add "django_openrouter_auth.sandbox" to INSTALLED_APPS',
    ),
    "neither app": (
        remove("INSTALLED_APPS", "django_openrouter_auth"),
        "",
        'Add "django_openrouter_auth" to INSTALLED_APPS',
    ),
    "an app that comes too late": (
        'INSTALLED_APPS += ["shop"]',
        "",
        'Put "shop" before "django_openrouter_auth" in INSTALLED_APPS',
    ),
    "templates in nobody's list": ("", "", 'Put BASE_DIR / "templates" into the DIRS'),
    "no templates of apps": ('TEMPLATES[0]["APP_DIRS"] = False', "", '"APP_DIRS": True'),
    "no login page": ("del LOGIN_URL", "", 'LOGIN_URL = "admin:login"'),
    "no static files": (
        remove("INSTALLED_APPS", "staticfiles"),
        "",
        'Add "django.contrib.staticfiles" to INSTALLED_APPS',
    ),
    "the sandbox without DEBUG": (
        "DEBUG = False",
        "",
        "Remove 'django_openrouter_auth.sandbox' from INSTALLED_APPS",
    ),
    "a site without https": (
        'OPENROUTER_AUTH_SITE_URL = "http://app.example"',
        "",
        "Set it to the public https address of this site",
    ),
    "a typo": (
        "OPENROUTER_AUTH_APPTITLE = 'Chat'",
        "",
        "Did you mean OPENROUTER_AUTH_APP_TITLE?",
    ),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_check_names_the_fix(mistake, python, project):
    """``manage.py check``, which runserver makes first, says what to write."""
    settings, urls, said = MISTAKES[mistake]
    for owner in ("shop", "."):
        templates = project / owner / "templates" / "openrouter_auth"
        templates.mkdir(parents=True, exist_ok=True)
        (templates / "base.html").touch()
    if urls:
        (project / "mysite" / "mistaken_urls.py").write_text(urls)
        settings += '\nROOT_URLCONF = "mysite.mistaken_urls"'
    module = write_settings(project, "mistaken", settings)
    _, output = ask(python, project, "manage.py", "check", DJANGO_SETTINGS_MODULE=module)
    assert said in " ".join(output.split()), output


def test_check_finds_nothing_else(python, project):
    """After the README's steps ``check`` says one thing, which the README mentions."""
    write_settings(project, "fine", "BASE_DIR = BASE_DIR / 'mysite'")
    code, output = ask(python, project, "manage.py", "check", DJANGO_SETTINGS_MODULE="mysite.fine")
    assert code == 0
    assert re.findall(r"\.([EW]\d+)\)", output) == ["W002"]


def test_another_port(python, project, tmp_path):
    """``runserver`` at another port than the settings name says what to change, and to what."""
    port = free_port()
    log = tmp_path / "log"
    with run_site(python, project, port, log):
        assert f'API_URL = "http://localhost:{port}/openrouter-sandbox/api/v1"' in log.read_text()


def test_no_allowed_hosts(python, project):
    """Django itself says that a site without DEBUG needs ALLOWED_HOSTS."""
    module = write_settings(project, "live", f"{REAL}\nDEBUG = False")
    arguments = ("manage.py", "runserver", "--noreload", "localhost:0")
    (project / "mysite" / "live_urls.py").write_text(ADMIN + OURS)
    append(project / "mysite" / "live.py", 'ROOT_URLCONF = "mysite.live_urls"')
    code, output = ask(python, project, *arguments, DJANGO_SETTINGS_MODULE=module)
    assert code != 0
    assert "You must set settings.ALLOWED_HOSTS" in output


VISIT = """
import os, sys, django
django.setup()
from django.contrib.auth.models import User
from django.test import Client
user, _ = User.objects.get_or_create(username="eve")
browser = Client(raise_request_exception=False, SERVER_NAME="localhost")
browser.force_login(user)
"""


@pytest.fixture
def visit(python: Path, project: Path) -> Callable[[str, str], str]:
    """A function that visits a site with some settings, and returns what is said there."""

    def visit(settings: str, script: str) -> str:
        module = write_settings(project, "visited", settings)
        _, output = ask(python, project, "-c", VISIT + script, DJANGO_SETTINGS_MODULE=module)
        return " ".join(unescape(output).split())

    return visit


def test_no_migrate(visit, python, project):
    """A site whose tables are missing says so on Django's page for developers."""
    settings = 'DATABASES["default"]["NAME"] = BASE_DIR / "bare.sqlite3"'
    module = write_settings(project, "bare", settings)
    for app in ("auth", "sessions", "admin"):
        ask(python, project, "manage.py", "migrate", app, DJANGO_SETTINGS_MODULE=module)
    for page in ("/openrouter/", "/openrouter/connect/"):
        said = visit(settings, f"print(browser.get({page!r}).content.decode())")
        assert "ImproperlyConfigured" in said
        assert "Run: python manage.py migrate" in said
    said = visit(settings, "print(browser.get('/openrouter-sandbox/faults').content.decode())")
    assert "django_openrouter_auth.sandbox. Run: python manage.py migrate" in said


def test_unknown_host(visit):
    """Django's page for developers names ALLOWED_HOSTS where a host is not in it."""
    said = visit(
        "", "print(browser.get('/openrouter/', headers={'host': 'app.example'}).content.decode())"
    )
    assert "You may need to add 'app.example' to ALLOWED_HOSTS" in said


def test_http_site(visit):
    """On a site without https the click ends at words that name the setting."""
    said = visit(
        'ALLOWED_HOSTS = ["app.example"]',
        "host = {'host': 'app.example'}\n"
        "page = browser.post('/openrouter/connect/', headers=host)['Location']\n"
        "print(browser.get(page, headers=host).content.decode())",
    )
    assert "set OPENROUTER_AUTH_SITE_URL to its public https address" in said
