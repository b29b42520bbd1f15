"""The README's quickstart, walked by a stranger: the wheel, a new project, four edits."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from html import unescape
from pathlib import Path
from typing import Any

import pytest
import requests

from .example_site import serve
from .processes import free_port
from .test_readme import APP, BUTTON, SANDBOX, SANDBOX_URLS, URLS

pytestmark = pytest.mark.packaging

# What the site has already: a page, and a way to sign in.
PAGE = """
from django.urls import path
from django.views.generic import TemplateView

urlpatterns += [path("", TemplateView.as_view(template_name="page.html"))]
"""
SITE = """
TEMPLATES[0]["DIRS"] = [BASE_DIR / "templates"]
LOGIN_URL = "admin:login"
"""


@pytest.fixture(scope="module")
def python(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The Python of an environment with the wheel and what it asks for, and nothing else."""
    folder = tmp_path_factory.mktemp("environment") / "with a space"
    subprocess.run([sys.executable, "-m", "venv", folder], check=True)
    python = folder / "bin" / "python"
    command = [str(python), "-m", "pip", "install", "-qq", "--disable-pip-version-check"]
    subprocess.run([*command, str(wheel)], check=True)
    return python


@pytest.fixture(scope="module")
def project(python: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A new project with a page of its own, after the four edits of the README."""
    folder = tmp_path_factory.mktemp("project")

    def manage(*arguments: str) -> None:
        run(python, folder, *arguments)

    manage("-m", "django", "startproject", "mysite", ".")
    templates = folder / "templates"
    templates.mkdir()
    append(folder / "mysite" / "settings.py", SITE)
    append(folder / "mysite" / "urls.py", PAGE)
    append(folder / "mysite" / "settings.py", APP)
    append(folder / "mysite" / "urls.py", URLS)
    append(templates / "page.html", f"<!doctype html><title>Page</title>{BUTTON}")
    manage("manage.py", "migrate")
    manage("manage.py", "check")
    who = ("--username", "ann", "--email", "ann@example.org")
    manage("manage.py", "createsuperuser", "--no-input", *who)
    return folder


def run(python: Path, folder: Path, *arguments: str) -> None:
    """Run Python in a folder as a stranger would; show what it printed when it fails."""
    mine = {name: value for name, value in os.environ.items() if "DJANGO" not in name}
    done = subprocess.run(
        [str(python), "-W", "error", *arguments],
        cwd=folder,
        env=mine | {"DJANGO_SUPERUSER_PASSWORD": "correct horse"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


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


def sign_in(visitor: requests.Session, site: str) -> requests.Response:
    """Sign in through the admin and open the page with the button."""
    login = visitor.get(f"{site}/admin/login/", timeout=20)
    submit(visitor, login, username="ann", password="correct horse")
    return visitor.get(f"{site}/", timeout=20)


def run_site(python: Path, project: Path, port: int, folder: Path) -> Any:
    """Serve the project; example_site waits until it answers."""
    environment = {"PATH": os.environ["PATH"], "NO_PROXY": "localhost,127.0.0.1"}
    arguments = ("runserver", "--noreload", f"localhost:{port}")
    manage = project / "manage.py"
    log = folder / "log"
    address = f"localhost:{port}"
    return serve(environment, address, *arguments, log=log, script=manage, python=python)


def test_four_edits_and_the_button_works(python, project, visitor, tmp_path):
    """After four edits the button sends the user to OpenRouter with a callback to the site."""
    port = free_port()
    with run_site(python, project, port, tmp_path):
        page = sign_in(visitor, f"http://localhost:{port}")
        visitor.max_redirects = 0
        with pytest.raises(requests.TooManyRedirects) as redirect:
            submit(visitor, page)
    location = redirect.value.response.headers["Location"]
    assert location.startswith(
        f"https://openrouter.ai/auth?callback_url=http%3A%2F%2Flocalhost%3A{port}%2Fopenrouter%2F"
    )


def test_with_the_sandbox_it_connects(python, project, visitor, tmp_path):
    """With the sandbox's lines, a stranger connects within the README's own steps."""
    port = free_port()
    settings = (project / "mysite" / "settings.py").read_text()
    append(project / "mysite" / "settings.py", SANDBOX.replace(":8000", f":{port}"))
    append(project / "mysite" / "urls.py", SANDBOX_URLS)
    run(python, project, "manage.py", "migrate")
    with run_site(python, project, port, tmp_path):
        page = sign_in(visitor, f"http://localhost:{port}")
        account = submit(visitor, page)
        consent = submit(visitor, account, account="ann@example.org")
        connected = submit(visitor, consent, decision="authorize")
        assert connected.url == f"http://localhost:{port}/"
        assert "OpenRouter connected" in connected.text
        assert re.search(r"sk-or-v1-\w{3}\.\.\.\w{3}", connected.text)
    (project / "mysite" / "settings.py").write_text(settings)
