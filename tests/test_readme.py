"""Every block of the README does what it says; the shell blocks are walked in test_quickstart."""

import configparser
import re
import textwrap
import tomllib
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest
from django.core.checks import run_checks
from django.template import Context, Template
from django.test import RequestFactory
from django.urls import path

from django_openrouter_auth.conf import declared_settings

from .connecting import API

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.rst").read_text()


def blocks(language: str) -> list[str]:
    """The code blocks of a language, in their order."""
    found = re.findall(r"^\.\. code-block:: (\S+)\n\n((?:   .*\n|\n)+)", README, re.MULTILINE)
    return [textwrap.dedent(text).strip() + "\n" for name, text in found if name == language]


SETTINGS, URLS, VIEW, LIVE = blocks("python")
(BUTTON,) = blocks("html+django")
INSTALLATION = "python -m pip install django-openrouter-auth\n"
START = "".join(
    f"python manage.py {command}\n" for command in ("migrate", "createsuperuser", "runserver")
)


def changed_lines(block: str) -> int:
    """Count the lines of a block that one writes: without comments and empty lines."""
    lines = [line.strip() for line in block.splitlines()]
    return len([line for line in lines if line and not line.startswith("#")])


def run(block: str, **names: Any) -> dict[str, Any]:
    """Execute a block below the names that a new project's file already has."""
    names["__name__"] = "readme"
    exec(compile(block, "README.rst", "exec"), names)
    return names


def test_blocks_are_all_known():
    """A block that is added to the README is added to the tests too."""
    assert len(re.findall(r"code-block::", README)) == 9
    assert blocks("shell") == [
        "make demo\n",
        "make test\n",
        INSTALLATION,
        START,
    ]


def test_it_is_short():
    """The README is read, so it has less than 250 lines, none of them wide."""
    lines = README.splitlines()
    assert len(lines) < 250
    assert max(map(len, lines)) <= 110


def test_connecting_takes_seven_lines():
    """A user connects after at most eight changed lines: four settings and three for URLs.

    Without the sandbox, which takes two settings and a line of URLs, there are four.
    """
    count = changed_lines(SETTINGS) + changed_lines(URLS)
    assert (count, "Seven lines connect a user" in README) == (7, True)
    of_sandbox = re.findall(r"^.*openrouter-sandbox.*$", SETTINGS + URLS, re.MULTILINE)
    (found,) = re.findall(r"^lines to write +(\d+) ", README, re.MULTILINE)
    assert count - len(of_sandbox) == int(found)


def test_makefile_has_the_two_commands():
    """Both commands of the README are targets."""
    makefile = (ROOT / "Makefile").read_text()
    assert {"demo", "test"} <= set(re.findall(r"^(\w+):", makefile, re.MULTILINE))


def test_settings_block(settings, db):
    """The block for settings raises no complaint of the checks."""
    names = run(SETTINGS, INSTALLED_APPS=[])
    for name, value in names.items():
        if name.startswith("OPENROUTER_AUTH_"):
            assert name in declared_settings()
        if name.isupper() and name != "INSTALLED_APPS":
            setattr(settings, name, value)
    assert [message for message in run_checks() if "openrouter" in str(message.id)] == []


def test_going_live_block(settings, monkeypatch, db):
    """The block for going live silences even the checks for deployment."""
    monkeypatch.setenv("OPENROUTER_ENCRYPTION_KEY", "x" * 43)
    del settings.FERNET_KEYS
    settings.ALLOWED_HOSTS = ["*"]
    names = run(LIVE, SECRET_KEY="s" * 50)
    settings.OPENROUTER_AUTH_SITE_URL = names["OPENROUTER_AUTH_SITE_URL"]
    settings.FERNET_KEYS = names["FERNET_KEYS"]
    settings.SESSION_COOKIE_SECURE = names["SESSION_COOKIE_SECURE"]
    found = run_checks(include_deployment_checks=True)
    assert [message for message in found if "openrouter" in str(message.id)] == []


def test_urls_block():
    """The block for URLs adds the pages of both apps to a new project's list."""
    included = run(URLS, urlpatterns=[])["urlpatterns"]
    assert [item.app_name for item in included] == ["openrouter_auth", "openrouter_sandbox"]


def test_button_block(db):
    """The block for templates shows the button with its style."""
    html = Template(BUTTON).render(Context({"user": None, "request": RequestFactory().get("/")}))
    assert "Connect OpenRouter" in html
    assert "style.css" in html


def test_view_block(browser, connected, openrouter, settings):
    """The example view shows what OpenRouter answers, survives a bad day, and leads to connect.

    It does so for a user without a key, and for one whose key OpenRouter rejects during the call.
    """
    haiku = run(VIEW)["haiku"]
    patterns = [*run(URLS, urlpatterns=[])["urlpatterns"], path("haiku/", haiku)]
    settings.ROOT_URLCONF = type("Urls", (), {"urlpatterns": patterns})
    url = f"{API}/chat/completions"
    openrouter.mock.upsert("POST", url, json={"choices": [{"message": {"content": "keys"}}]})
    assert browser.get("/haiku/").content == b"keys"
    openrouter.mock.upsert("POST", url, json={"error": {"code": 502, "message": "…"}})
    assert browser.get("/haiku/").status_code == 503
    openrouter.mock.upsert("POST", url, status=502, body="<html>")
    assert browser.get("/haiku/").status_code == 503
    openrouter.forgets()
    openrouter.mock.upsert("POST", url, status=401)
    assert browser.get("/haiku/")["Location"] == "/openrouter/connect/?next=%2Fhaiku%2F"
    connected.delete()
    assert browser.get("/haiku/")["Location"] == "/openrouter/connect/?next=%2Fhaiku%2F"


def test_settings_that_are_named_exist():
    """No name of a setting is out of date."""
    names = set(re.findall(r"OPENROUTER_AUTH_[A-Z_]+", README))
    assert names <= set(declared_settings())


def test_links_lead_to_files():
    """Every link into the repository leads to a file or a folder of it."""
    links = re.findall(r"<([^>:]+)>`__?", README)
    assert len(links) > 10
    assert [link for link in links if not (ROOT / link).exists()] == []


def badges() -> dict[str, str]:
    """The badges: what each is called, and what it says; its picture says the same."""
    found = re.findall(r"image:: https://\S+/badge/(\S+)-blue\n   :alt: (.+)\n", README)
    said = {}
    for picture, words in found:
        name, _, value = unquote(picture).replace("_", " ").partition("-")
        assert f"{name} {value}" == words
        said[name] = value
    return said


@pytest.mark.packaging
def test_badges_tell_the_truth():
    """Each badge says what setup.cfg, tox.ini and pyproject.toml say."""
    setup, tox = configparser.ConfigParser(), configparser.ConfigParser(interpolation=None)
    setup.read(ROOT / "setup.cfg")
    tox.read(ROOT / "tox.ini")
    classifiers = setup["metadata"]["classifiers"]
    tools = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]
    assert tools["mypy"]["strict"]
    assert tools["coverage"]["run"]["branch"]
    assert "Typing :: Typed" in classifiers
    (gate,) = re.findall(r"--fail-under=(\d+)", tox["testenv:coverage"]["commands"])
    assert badges() == {
        "Python": " | ".join(re.findall(r"Python :: (3\.\d+)", classifiers)),
        "Django": " | ".join(re.findall(r"Django :: (\d\.\d)", classifiers)),
        "branch coverage gate": f"{gate} %",
        "typing": "mypy strict",
        "licence": setup["metadata"]["license_expression"],
    }


def test_pictures_exist():
    """Every picture of the README is in the repository."""
    pictures = re.findall(r"image:: (docs/\S+)", README)
    assert pictures
    assert all((ROOT / picture).is_file() for picture in pictures)


def test_pictures_are_shown():
    """Every picture of the documentation is shown by a page."""
    pages = [README, *(page.read_text() for page in (ROOT / "docs").rglob("*.rst"))]
    shown = {Path(name).name for page in pages for name in re.findall(r"\S+\.(?:png|svg)", page)}
    assert {path.name for path in (ROOT / "docs" / "images").iterdir()} <= shown
