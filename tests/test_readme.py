"""Every block of the README does what it says; the shell blocks are walked in test_quickstart."""

import re
import textwrap
from pathlib import Path
from typing import Any

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


APP, URLS, VIEW, SANDBOX, SANDBOX_URLS, LIVE, CSP = blocks("python")
(BUTTON,) = blocks("html+django")


def run(block: str, **names: Any) -> dict[str, Any]:
    """Execute a block below the names that a new project's file already has."""
    names["__name__"] = "readme"
    exec(compile(block, "README.rst", "exec"), names)
    return names


def test_blocks_are_all_known():
    """A block that is added to the README is added to the tests too."""
    assert len(re.findall(r"code-block::", README)) == 12
    assert blocks("shell") == [
        "make demo\n",
        "make test\n",
        "python -m pip install django-openrouter-auth\n",
        "python manage.py migrate\n",
    ]


def test_makefile_has_the_two_commands():
    """Both commands of the README are targets."""
    makefile = (ROOT / "Makefile").read_text()
    assert {"demo", "test"} <= set(re.findall(r"^(\w+):", makefile, re.MULTILINE))


@pytest.mark.parametrize("block", [SANDBOX, CSP, APP])
def test_settings_blocks(settings, block, db):
    """The blocks for settings raise no complaint of the checks."""
    names = run(block, INSTALLED_APPS=[])
    for name, value in names.items():
        if name.startswith("OPENROUTER_AUTH_"):
            assert name in declared_settings()
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


@pytest.mark.parametrize(("block", "count"), [(URLS, 6), (SANDBOX_URLS, 10)])
def test_urls_blocks(block, count):
    """The blocks for URLs add the pages to a new project's list."""
    names = run(block, urlpatterns=[])
    (included,) = names["urlpatterns"]
    assert len(included.url_patterns) >= count


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


def test_settings_table_names_every_setting():
    """The table names every setting and nothing else."""
    table = README.split("Settings in brief")[1].split("``FERNET_KEYS``")[0]
    names = {
        f"OPENROUTER_AUTH_{name}" for name in re.findall(r"^``([A-Z_]+)``", table, re.MULTILINE)
    }
    assert names == set(declared_settings())


def test_pictures_exist():
    """Every picture of the README is in the repository."""
    pictures = re.findall(r"image:: (\S+)", README)
    assert pictures
    assert all((ROOT / picture).is_file() for picture in pictures)
