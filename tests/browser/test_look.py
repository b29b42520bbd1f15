"""What the documentation shows of the pages, which is what the sites of these tests look like."""

import shutil

import pytest

from tests.browser.accessibility import examine
from tests.browser.house import connect, sign_in, states
from tests.documented import Page
from tests.example_site import ROOT

pytestmark = pytest.mark.browser

GUIDE = Page("howto/look")
VENDOR = ROOT / "example_project" / "gallery" / "static" / "gallery" / "vendor"
PAGES = ("", "connect/", "code/", "key/", "disconnect/")
TEMPLATES = ("base.html", "openrouter_auth/base.html", "openrouter_auth/connect.html")
PICTURE = {"width": 800, "height": 600}


def test_own_look(open_house, visit):
    """Without a base template of the site the pages have one primary button each, in any state."""
    house = open_house(is_bare=True)
    visitor = visit(house.origin)
    page = visitor.page
    sign_in(visitor)
    page.set_viewport_size(PICTURE)
    assert_one_primary_button(page, *PAGES)
    page.goto("/openrouter/connect/")
    visitor.illustrate("connect", page.locator("main"))
    page.goto("/openrouter/")
    connect(visitor)
    for values in states().values():
        house.change_key(**values)
        assert_one_primary_button(page, *PAGES)
    house.change_key(**states()["connected"], usage=12.75)
    page.goto("/openrouter/")
    for scheme in ("light", "dark"):
        visitor.illustrate("manage", page.locator("main"), scheme)
    page.goto("/openrouter/disconnect/")
    visitor.illustrate("disconnect", page.locator("main"))


def assert_one_primary_button(page, *paths):
    """Each page has one button that stands out."""
    for path in paths:
        page.goto(f"/openrouter/{path}")
        primary = page.locator(".openrouter-button--branded, .openrouter-button--cta")
        assert primary.count() == 1, path


def test_card(open_house, visit):
    """The card stands on the home page of the example once its user is connected."""
    house = open_house()
    visitor = visit(house.origin)
    page = visitor.page
    sign_in(visitor)
    connect(visitor)
    house.change_key(**states()["connected"], usage=12.75)
    assert examine(visitor, "/") == []
    visitor.photograph("card")
    page.set_viewport_size(PICTURE)
    visitor.illustrate("card", page.locator(".openrouter-card"))


def test_look_of_the_guide(open_house, visit, tmp_path):
    """The site of the guide, with Bootstrap, passes axe as well."""
    static = tmp_path / "static"
    static.mkdir()
    shutil.copy(VENDOR / "bootstrap.min.css", static)
    (static / "site.css").write_text(GUIDE.take("/* static/site.css */").text)
    templates = {name: GUIDE.take(f"{{# templates/{name} #}}").text for name in TEMPLATES}
    house = open_house(templates=templates, STATICFILES_DIRS=[str(static)])
    visitor = visit(house.origin)
    visitor.page.goto("/admin/login/?next=/openrouter/")
    visitor.page.get_by_label("Username").fill("demo")
    visitor.page.get_by_label("Password").fill("demo")
    visitor.page.get_by_role("button", name="Log in").click()
    connect(visitor)
    house.change_key(**states()["connected"])
    visitor.photograph("bootstrap")
    found = [item for page in PAGES for item in examine(visitor, f"/openrouter/{page}")]
    assert found == []
    visitor.page.goto("/openrouter/")
    visitor.page.set_viewport_size(PICTURE)
    visitor.illustrate("manage-bootstrap")
