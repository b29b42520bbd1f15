"""A user's key on the page of the user."""

import os
import subprocess
import sys

import pytest
from django.contrib import admin
from django.contrib.auth.admin import UserAdmin
from django.contrib.auth.models import User
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import path

from django_openrouter_auth.admin import OpenRouterKeyAdmin, OpenRouterKeyInline

from .connecting import HINT, KEY, row
from .staff import KEYS, staff_with
from .urls import urlpatterns as site_patterns

pytestmark = pytest.mark.django_db
ALL = ["check_openrouterkey", "disconnect_openrouterkey", "set_openrouterkey"]


class UserAdminWithKey(UserAdmin):
    """A site's own user admin."""

    inlines = [OpenRouterKeyInline]


@pytest.fixture(autouse=True)
def inline(monkeypatch):
    """Show the key on the page of a user."""
    monkeypatch.setattr(UserAdmin, "inlines", [OpenRouterKeyInline])


def page(user):
    """The page of a user."""
    return f"/admin/auth/user/{user.pk}/change/"


def links(response):
    """The links below the key."""
    text = response.content.decode()
    return [name for name in ("check", "set-key", "disconnect") if f"{KEYS}{name}/?" in text]


def test_shows_the_key(staff, user, connected):
    """The page of a user shows mask, status, money and times of their key, and links."""
    response = staff.get(page(user))
    text = response.content.decode()
    for expected in (HINT, "Active", "US$", f"{KEYS}{connected.pk}/change/"):
        assert expected in text
    assert links(response) == ["check", "set-key", "disconnect"]
    assert KEY not in text
    assert connected.key_hash not in text


def test_user_without_a_key(staff, other_user):
    """A user without a key is told as such, and a key can be set for them."""
    response = staff.get(page(other_user))
    assert "This user is not connected to OpenRouter." in response.content.decode()
    assert links(response) == ["set-key"]
    assert f"set-key/?user={other_user.pk}" in response.content.decode()


def test_key_that_staff_may_not_see(user, connected, monkeypatch):
    """Where the pages of keys hide a key from somebody, the page of its user hides it too."""
    client = staff_with("view_user", "change_user", "view_openrouterkey", *ALL)
    assert HINT in client.get(page(user)).content.decode()
    hidden = OpenRouterKeyAdmin.get_queryset
    monkeypatch.setattr(OpenRouterKeyAdmin, "get_queryset", lambda *a: hidden(*a).none())
    response = client.get(page(user))
    assert response.status_code == 200
    assert HINT not in response.content.decode()
    assert "not connected" not in response.content.decode()
    assert links(response) == []


def test_new_user(staff):
    """Before a user exists there is no key to show, and nothing to be done."""
    request = staff.get("/admin/auth/user/add/").wsgi_request
    inline = OpenRouterKeyInline(User, admin.site)
    inline.get_formset(request)
    assert (inline.key, inline.links) == (None, ())


def test_reads_no_ciphertext(staff, user, connected):
    """AD 167: the page of a user reads no ciphertext."""
    with CaptureQueriesContext(connection) as queries:
        staff.get(page(user))
    sql = " ".join(query["sql"] for query in queries.captured_queries)
    assert ".secret" not in sql.replace('"', "").replace("`", "")


def test_changes_nothing(staff, user, connected):
    """AD 160: whatever is posted with the page of a user, the key stays as it is."""
    before = row()
    form = staff.get(page(user)).context["adminform"].form
    data = {name: form.initial.get(name) or "" for name in form.fields if name != "password"}
    data |= {
        "date_joined_0": "2026-01-01",
        "date_joined_1": "00:00",
        "last_login_0": "",
        "last_login_1": "",
        "user_permissions": [],
        "groups": [],
        "is_active": "on",
        "openrouter_key-TOTAL_FORMS": "1",
        "openrouter_key-INITIAL_FORMS": "1",
        "openrouter_key-0-id": str(connected.pk),
        "openrouter_key-0-user": str(user.pk),
        "openrouter_key-0-hint": "evil",
        "openrouter_key-0-secret": "evil",
        "openrouter_key-0-status": "rejected",
        "openrouter_key-0-DELETE": "on",
        "email": "new@example.org",
    }
    assert staff.post(page(user), data).status_code == 302
    assert User.objects.get(pk=user.pk).email == "new@example.org"
    assert row() == before


@pytest.mark.parametrize(
    ("codenames", "seen"),
    [
        ([], None),
        (["view_openrouterkey"], []),
        (["view_openrouterkey", "check_openrouterkey"], ["check"]),
        (["view_openrouterkey", *ALL], ["check", "set-key", "disconnect"]),
        (ALL, None),
    ],
    ids=["none", "view", "check", "all", "without view"],
)
def test_permissions(user, connected, codenames, seen):
    """AD 161: staff see the key who may view keys, and the links that they may use."""
    response = staff_with("view_user", *codenames).get(page(user))
    assert (HINT in response.content.decode()) == (seen is not None)
    assert links(response) == (seen or [])


other = admin.AdminSite("other")
other.register(User, UserAdminWithKey)
urlpatterns = [*site_patterns, path("other/", other.urls)]


@pytest.mark.urls("tests.test_admin_inline")
def test_admin_site_without_keys(user, connected):
    """An admin site that does not show keys otherwise shows the inline, without links."""
    client = Client()
    client.force_login(User.objects.create_superuser("root"))
    response = client.get(f"/other/auth/user/{user.pk}/change/")
    assert HINT in response.content.decode()
    assert "set-key" not in response.content.decode()


@pytest.mark.process
def test_custom_user_model():
    """With a user model of the site's own, keyed by a UUID, inline, links and form work."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-m", "tests.custom_user.staff"],
        env=os.environ | {"DJANGO_SETTINGS_MODULE": "tests.custom_user.settings"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.stdout, done.stderr) == ("done\n", "")
