"""The admin in Chromium: how it looks, and whether everybody can use it."""

import pytest

from tests.browser.accessibility import tab_stops, violations
from tests.browser.admin_rows import PASSWORD
from tests.example_site import environment, manage, serve
from tests.processes import free_port

pytestmark = pytest.mark.browser

SETTINGS = """
from example.settings import *
ROOT_URLCONF = "admin_urls"
"""
URLS = """
from django.contrib import admin
from django.contrib.auth.admin import UserAdmin
from django.contrib.auth.models import User
from django_openrouter_auth.admin import OpenRouterKeyInline

class UserAdmin(UserAdmin):
    inlines = [OpenRouterKeyInline]

admin.site.unregister(User)
admin.site.register(User, UserAdmin)

from example.urls import urlpatterns
"""
KEYS = "/admin/django_openrouter_auth/openrouterkey/"
ATTEMPTS = "/admin/django_openrouter_auth/connectattempt/"


@pytest.fixture
def staff(tmp_path, visit):
    """A visitor who is signed in to the admin of the example site, with keys in every state."""
    (tmp_path / "admin_settings.py").write_text(SETTINGS)
    (tmp_path / "admin_urls.py").write_text(URLS)
    address = f"localhost:{free_port()}"
    env = environment(
        tmp_path,
        DJANGO_SETTINGS_MODULE="admin_settings",
        SANDBOX_URL=f"http://{address}/openrouter-sandbox",
    )
    fill = "from tests.browser.admin_rows import fill; fill()"
    for arguments in (["migrate", "-v0"], ["shell", "-v0", "-c", fill]):
        done = manage(env, *arguments)
        assert done.returncode == 0, done.stderr
    with serve(env, address, "runserver", "--noreload", address, log=tmp_path / "site.log"):
        visitor = visit(f"http://{address}")
        visitor.page.goto("/admin/")
        visitor.page.get_by_label("Username").fill("admin")
        visitor.page.get_by_label("Password").fill(PASSWORD)
        visitor.page.get_by_role("button", name="Log in").click()
        yield visitor
        # Before the site stops: the last page may still load its pictures.
        visitor.context.close()


def pages(staff):
    """Go to each page in turn and yield its name."""
    staff.page.goto(KEYS)
    yield "list"
    staff.page.goto(f"{KEYS}1/change/")
    yield "detail"
    staff.page.goto(f"{KEYS}check/?pk=1&pk=2&pk=3")
    yield "check"
    staff.page.goto(f"{KEYS}disconnect/?pk=1&pk=2")
    yield "disconnect"
    staff.page.goto(f"{KEYS}set-key/?user=2")
    yield "set-key"
    staff.page.goto(f"{KEYS}set-key/")
    yield "set-key-for-anybody"
    staff.page.goto("/admin/auth/user/2/change/")
    yield "user"
    staff.page.goto(f"{KEYS}1/delete/")
    yield "delete"
    staff.page.goto(ATTEMPTS)
    yield "attempts"
    staff.page.goto(f"{ATTEMPTS}3/change/")
    yield "attempt"


def examine(page):
    """Return which of axe's rules a page breaks, in light and in dark, outside of select2."""
    found = set()
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)
        # Django's colours fade, and its policy forbids Playwright's own way to wait for that.
        page.evaluate("Promise.all(document.getAnimations().map((one) => one.finished))")
        found |= {item.split(":")[0] for item in violations(page) if "select2" not in item}
    page.emulate_media(color_scheme="light")
    return found


def test_looks(staff):
    """Every page fits the screen, wide and narrow, light and dark."""
    for name in pages(staff):
        staff.photograph(name)


def test_axe(staff):
    """Axe finds nothing on our pages that it does not find on Django's own."""
    of_django = set()
    for path in ("", "2/change/"):
        staff.page.goto(f"/admin/auth/user/{path}")
        of_django |= examine(staff.page)
    for name in pages(staff):
        found = examine(staff.page)
        assert found <= of_django, name
        # The plain pages and forms, on which Django has nothing to be forgiven.
        assert not found or name in ("list", "user", "attempts"), name


def test_keyboard(staff):
    """Our pages are used by keyboard alone: everything is reached in order, and seen."""
    staff.page.goto(f"{KEYS}check/?pk=1")
    assert tab_stops(staff.page)[-2:] == ["", "Cancel"]
    staff.page.goto(f"{KEYS}set-key/?user=2")
    assert tab_stops(staff.page)[-3:] == ["API key:", "", "Cancel"]


def test_actions(staff):
    """From the list by way of the question to the result, with what Django's own scripts do."""
    page = staff.page
    page.goto(KEYS)
    row = page.get_by_role("row").filter(has=page.get_by_role("cell", name="ada", exact=True))
    row.get_by_role("checkbox").check()
    page.get_by_label("Action:").select_option("Disconnect")
    page.get_by_role("button", name="Run" if page.get_by_text("Run").count() else "Go").click()
    page.get_by_role("button", name="Disconnect").click()
    page.get_by_text("1 user is disconnected").wait_for()
    assert row.count() == 0


def test_set_key(staff):
    """A user is found by typing a part of the name, and what OpenRouter refuses is told."""
    page = staff.page
    page.goto(f"{KEYS}set-key/")
    page.get_by_role("combobox", name="User").click()
    page.locator(".select2-search__field").fill("grac")
    page.get_by_role("option", name="grace").click()
    page.get_by_label("API key").fill("sk-or-v1-" + "0" * 64)
    page.get_by_role("button", name="Check and save").click()
    page.get_by_text("OpenRouter does not accept this key").wait_for()
    assert page.get_by_label("API key").input_value() == ""
    page.locator(".select2-selection", has_text="grace").wait_for()


def test_pictures(staff):
    """The pictures of the guide."""
    page = staff.page
    pictures = {"list": "", "detail": "1/change/", "check": "check/?pk=1&pk=2&pk=3"}
    pictures |= {"set-key": "set-key/?user=2"}
    page.set_viewport_size({"width": 1280, "height": 620})
    page.goto(KEYS)
    page.locator("#toggle-nav-sidebar").click()
    for name, path in pictures.items():
        page.goto(KEYS + path)
        assert page.get_by_role("main").is_visible()
        for scheme in ("light", "dark"):
            staff.illustrate(f"admin-{name}", scheme=scheme)
