"""The guide to the look of the pages."""

import re
from pathlib import Path

import pytest

import django_openrouter_auth
from tests.connecting import start
from tests.documented import Page

PAGE = Page("howto/look")
BASE = PAGE.take("{# templates/openrouter_auth/base.html #}")
SITE = PAGE.take("{# templates/base.html #}")
OTHER_NAMES = PAGE.take("{# templates/openrouter_auth/base.html, for other names of blocks #}")
COLOURS = PAGE.take("/* static/site.css */")
CONNECT = PAGE.take("{# templates/openrouter_auth/connect.html #}")
PACKAGE = Path(django_openrouter_auth.__file__).resolve().parent
PAGES = ("", "connect/", "code/", "key/", "disconnect/")


@pytest.fixture
def put(settings, tmp_path):
    """A function that puts a template into the folder of the site's own ones."""
    (tmp_path / "openrouter_auth").mkdir()
    (engine,) = settings.TEMPLATES
    settings.TEMPLATES = [engine | {"DIRS": [tmp_path, *engine["DIRS"]]}]

    def write(name, text):
        (tmp_path / name).write_text(text)

    return write


@pytest.mark.parametrize("path", PAGES)
def test_all_pages_in_the_look_of_the_site(browser, put, path):
    """One file gives every page the look of the site, and its own title."""
    put("openrouter_auth/base.html", BASE.text)
    put("base.html", SITE.text)
    page = browser.get(f"/openrouter/{path}").text
    assert page.count('class="navbar-brand"') == 1
    assert re.search(r"<title>[^<]*OpenRouter[^<]*</title>", page)
    assert page.count("<h1>") == 1
    assert page.index("bootstrap.min.css") < page.index("style.css") < page.index("site.css")


def test_messages(browser, put):
    """The base template of the guide shows how connecting ended, with the link in it."""
    put("openrouter_auth/base.html", BASE.text)
    put("base.html", SITE.text)
    browser.get(start(browser).path, {"error": "access_denied"})
    page = browser.get("/openrouter/").text
    assert '<div class="alert alert-info" role="alert">You did not allow access' in page


@pytest.mark.parametrize("path", PAGES)
def test_other_names_of_blocks(browser, put, path):
    """A base template whose blocks have other names takes the pages as well."""
    put("openrouter_auth/base.html", OTHER_NAMES.text)
    put(
        "layout.html",
        "<title>{% block head_title %}{% endblock %}</title>Site {% block main %}{% endblock %}",
    )
    page = browser.get(f"/openrouter/{path}").text
    assert re.search(r"<title>[^<]*OpenRouter[^<]*</title>Site ", page)
    assert page.count("<h1>") == 1


def test_colours():
    """The colours of the guide are ones that the stylesheet takes."""
    css = (PACKAGE / "static" / "openrouter_auth" / "style.css").read_text()
    named = re.findall(r"^ +(--openrouter-\w+):", COLOURS.text, re.MULTILINE)
    assert named
    assert all(f"var({name})" in css for name in named)


def test_one_block(browser, put):
    """A page inherits from itself to say more, and keeps the rest."""
    put("openrouter_auth/connect.html", CONNECT.text)
    page = browser.get("/openrouter/connect/").text
    assert (
        page.index("You go to OpenRouter") < page.index("costs about a cent") < page.index("<form")
    )
