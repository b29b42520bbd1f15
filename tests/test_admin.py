"""The admin: group AD of the threat model's catalogue."""

import pytest
from django.apps import apps
from django.contrib import admin
from django.contrib.admin.models import LogEntry
from django.contrib.auth.admin import UserAdmin
from django.contrib.auth.models import User
from django.db import connection
from django.test import RequestFactory
from django.test.utils import CaptureQueriesContext
from django.urls import path
from django.utils import timezone

from django_openrouter_auth.admin import OpenRouterKeyAdmin
from django_openrouter_auth.fields import fingerprint, owner_fingerprint
from django_openrouter_auth.models import ConnectAttempt, OpenRouterKey

from .connecting import HINT, KEY, row, start
from .staff import ATTEMPTS, KEYS, staff_with
from .test_keys import damage
from .urls import urlpatterns as site_patterns

pytestmark = pytest.mark.django_db


def secrets_of(user: User) -> list[str]:
    """What no page may show."""
    token = OpenRouterKey.objects.get().secret.token.decode()
    return [KEY, KEY[12:], token, fingerprint(KEY), owner_fingerprint(user.pk, KEY)]


@pytest.mark.parametrize("page", ["", "{pk}/change/", "{pk}/history/", "{pk}/delete/", "?q=ann"])
def test_pages_show_the_hint_only(staff, user, connected, page):
    """AD 158: no page shows the key, its ciphertext or a fingerprint."""
    response = staff.get(KEYS + page.format(pk=connected.pk))
    assert response.status_code == 200
    text = response.content.decode()
    assert not [secret for secret in secrets_of(user) if secret in text]


def test_list_shows_the_state(staff, connected):
    """The list shows user, masked key, status, money, source and times."""
    text = staff.get(KEYS).content.decode()
    for expected in ("ann", HINT, "Active", "Approved at OpenRouter", "US$", "just now"):
        assert expected in text


def test_pages_do_not_decrypt(staff, connected, monkeypatch):
    """AD 158: no page opens a key."""

    def refuse(sealed: object) -> str:
        raise AssertionError

    monkeypatch.setattr("django_openrouter_auth.fields.SealedKey.reveal", refuse)
    for page in ("", f"{connected.pk}/change/", f"{connected.pk}/delete/"):
        assert staff.get(KEYS + page).status_code == 200


@pytest.mark.parametrize("pages", [KEYS, ATTEMPTS])
def test_nothing_is_added(staff, pages):
    """AD 159: keys and attempts are not made by hand."""
    assert staff.get(f"{pages}add/").status_code == 403
    assert staff.post(f"{pages}add/", {"user": "1"}).status_code == 403


def test_nothing_is_changed(staff, connected):
    """AD 160: whatever is posted to the detail page, the row stays as it is."""
    before = row()
    data = {"secret": "evil", "user": "2", "status": "active", "hint": "x", "label": "x"}
    assert staff.post(f"{KEYS}{connected.pk}/change/", data).status_code == 403
    assert row() == before


@pytest.mark.parametrize(
    ("codenames", "expected"),
    [
        ([], [403, 403, 403]),
        (["view_openrouterkey"], [200, 200, 403]),
        (["change_openrouterkey"], [200, 200, 403]),
        (["delete_openrouterkey"], [403, 403, 200]),
    ],
    ids=["none", "view", "change", "delete"],
)
def test_permissions(connected, codenames, expected):
    """AD 161: staff do what their permissions say, and changing is nobody's."""
    client = staff_with(*codenames)
    pages = ["", f"{connected.pk}/change/", f"{connected.pk}/delete/"]
    assert [client.get(KEYS + page).status_code for page in pages] == expected


def test_viewers_have_no_delete_action(connected):
    """AD 161: who may only look is offered no action, and cannot post one."""
    client = staff_with("view_openrouterkey")
    assert "delete_selected" not in client.get(KEYS).content.decode()
    client.post(KEYS, {"action": "delete_selected", "_selected_action": [connected.pk]})
    assert OpenRouterKey.objects.count() == 1


@pytest.mark.parametrize(
    "query",
    [
        "q=sk-or-v1-0e6",
        f"q={KEY}",
        f"q={fingerprint(KEY)}",
        "secret=x",
        "secret__contains=x",
        "key_hash__startswith=0",
        "user__password__startswith=p",
        "o=99",
        "e=1",
        "p=abc",
        "q=%00",
        "status__exact=%00",
        "hint=%00",
        "expiry=x",
        "expiry__exact=soon",
        "last_check=%00",
        "connected_at__year=x",
        "connected_at__year=99999",
        "connected_at__month=2",
        "checked_at__year=2026",
        "_facets=True",
        "owner_hash__startswith=0",
        "status__regex=(",
        "connected_at__regex=(",
    ],
)
def test_odd_queries(staff, connected, query):
    """AD 163: no query is an error page, and none finds a row by its key."""
    response = staff.get(f"{KEYS}?{query}")
    assert response.status_code in (200, 302, 400)
    if query.startswith("q=") and response.status_code == 200 and "%00" not in query:
        assert HINT not in response.content.decode()


def test_fingerprints_cannot_be_guessed(staff, connected):
    """AD 158: filters by what no page shows are refused."""
    for field in ("key_hash", "owner_hash", "openrouter_user_id"):
        assert staff.get(f"{KEYS}?{field}__startswith=0").status_code == 400


@pytest.mark.parametrize("wish", ["ann", "ann@example.org"])
def test_search_by_user(staff, connected, wish):
    """Staff find a key by its user's name or address."""
    assert HINT in staff.get(KEYS, {"q": wish}).content.decode()
    assert HINT not in staff.get(KEYS, {"q": "nobody"}).content.decode()


@pytest.mark.parametrize("page", ["{pk}/delete/", ""])
def test_delete_names_the_user(staff, connected, page):
    """Before a key is deleted, staff read whose key it is, and that it lives on at OpenRouter."""
    data = {"action": "delete_selected", "_selected_action": [connected.pk]}
    address = KEYS + page.format(pk=connected.pk)
    response = staff.get(address) if page else staff.post(address, data)
    text = response.content.decode()
    for expected in ("<bdi>ann</bdi>", HINT, "only the owner can do that"):
        assert expected in text


def test_delete_of_nothing(staff, connected):
    """A key that is gone is no error when it is deleted once more."""
    assert staff.get(f"{KEYS}999/delete/").status_code == 302


def test_delete_disconnects(staff, browser, connected):
    """Deleting a key in the admin is a disconnect: pending attempts go along."""
    start(browser)
    response = staff.post(f"{KEYS}{connected.pk}/delete/", {"post": "yes"})
    assert response.status_code == 302
    assert not OpenRouterKey.objects.exists()
    assert not ConnectAttempt.objects.filter(outcome="").exists()


def test_delete_selected_with_an_unreadable_row(staff, browser, connected, other_user):
    """AD 164: deleting several works with unreadable rows, and the log holds no secret."""
    start(browser)
    OpenRouterKey.objects.create(
        user=other_user, connected_at=timezone.now(), **OpenRouterKey.derive(other_user.pk, KEY)
    )
    damage()
    pks = list(OpenRouterKey.objects.values_list("pk", flat=True))
    data = {"action": "delete_selected", "_selected_action": pks, "post": "yes"}
    assert staff.post(KEYS, data).status_code == 302
    assert not OpenRouterKey.objects.exists()
    assert not ConnectAttempt.objects.filter(outcome="").exists()
    entries = LogEntry.objects.all()
    assert {entry.object_repr for entry in entries} == {f"OpenRouter key #{pk}" for pk in pks}
    assert HINT not in "".join(entry.change_message for entry in entries)


def test_markup_is_escaped(staff, user, connected):
    """AD 166: names and labels with markup are text."""
    User.objects.filter(pk=user.pk).update(username="<b>ann</b>")
    OpenRouterKey.objects.update(label="<script>x</script>", hint="<i>x</i>")
    for page in ("", f"{connected.pk}/change/", f"{connected.pk}/delete/"):
        text = staff.get(KEYS + page).content.decode()
        assert "<b>ann" not in text
        assert "<script>x" not in text
        assert "<i>x" not in text


def test_list_asks_the_same_for_many_rows(staff, connected):
    """AD 167: the list of 200 keys takes no more queries than that of one, and no ciphertext."""

    def queries() -> list[str]:
        with CaptureQueriesContext(connection) as captured:
            assert staff.get(KEYS).status_code == 200
        return [query["sql"] for query in captured]

    before = queries()
    now = timezone.now()
    users = User.objects.bulk_create(User(username=f"user{number}") for number in range(199))
    OpenRouterKey.objects.bulk_create(
        OpenRouterKey(user=user, connected_at=now, **OpenRouterKey.derive(user.pk, KEY))
        for user in users
    )
    after = queries()
    assert len(after) == len(before)
    assert not [sql for sql in after if ".secret" in sql.replace('"', "").replace("`", "")]


def test_attempts_are_shown_without_their_verifiers(staff, browser):
    """AD 167: neither the list of attempts nor the page of one reads what is encrypted."""
    start(browser)
    attempt = ConnectAttempt.objects.get()
    with CaptureQueriesContext(connection) as queries:
        page = staff.get(ATTEMPTS)
        staff.get(f"{ATTEMPTS}{attempt.pk}/change/")
    assert b"Pending" in page.content
    assert not [query for query in queries.captured_queries if "code_verifier" in query["sql"]]


@pytest.mark.parametrize("guess", ["reveal/", "secret/", "{pk}/secret/", "{pk}/reveal/"])
def test_guessed_pages(staff, connected, guess):
    """AD 168: there is no page that shows a key."""
    response = staff.get(KEYS + guess.format(pk=connected.pk), follow=True)
    assert KEY not in response.content.decode()


@pytest.mark.parametrize("attributes", [{"fieldsets": None}, {"readonly_fields": ("secret",)}])
def test_careless_subclass(staff, user, connected, attributes):
    """AD 169: a site's own admin class with every field still shows no more than the hint."""
    if "readonly_fields" in attributes:
        attributes = attributes | {"fieldsets": None, "fields": ("user", "secret")}
    site = admin.AdminSite("other")
    careless = type("Careless", (OpenRouterKeyAdmin,), attributes)(OpenRouterKey, site)
    request = RequestFactory().get("/")
    request.user = User.objects.get(username="root")
    response = careless.changeform_view(request, str(connected.pk))
    text = response.render().content.decode()
    token = OpenRouterKey.objects.get().secret.token.decode()
    assert KEY not in text
    assert token not in text
    if "readonly_fields" in attributes:
        assert HINT in text


def test_attempts_are_a_record(staff, browser, connected):
    """Attempts are listed with their outcome; nobody changes or deletes one by hand."""
    attempt = ConnectAttempt.objects.get()
    text = staff.get(ATTEMPTS).content.decode()
    assert "ann" in text
    assert "connected" in text
    assert "delete_selected" not in text
    detail = staff.get(f"{ATTEMPTS}{attempt.pk}/change/").content.decode()
    assert attempt.state_hash not in detail
    assert attempt.browser_hash not in detail
    assert staff.post(f"{ATTEMPTS}{attempt.pk}/change/", {"outcome": "x"}).status_code == 403
    assert staff.post(f"{ATTEMPTS}{attempt.pk}/delete/", {"post": "yes"}).status_code == 403
    assert ConnectAttempt.objects.get().outcome == "connected"


def test_user_with_attempts_can_be_deleted(staff, user, browser, connected):
    """Keeping attempts is no reason to keep a user."""
    start(browser)
    damage()
    response = staff.post(f"/admin/auth/user/{user.pk}/delete/", {"post": "yes"})
    assert response.status_code == 302
    assert not User.objects.filter(pk=user.pk).exists()
    assert not ConnectAttempt.objects.exists()


def test_site_without_the_admin(settings):
    """AD 170: the app works where the admin is not installed."""
    settings.DEBUG = True  # or the sandbox, which is loaded again, would refuse
    settings.INSTALLED_APPS = [
        name for name in settings.INSTALLED_APPS if name != "django.contrib.admin"
    ]
    assert apps.is_installed("django_openrouter_auth")
    assert not apps.is_installed("django.contrib.admin")


def test_autocomplete_tells_names_only(staff, connected):
    """AD 168: the field in which users are searched tells their names, and nothing of keys."""
    query = "app_label=django_openrouter_auth&model_name=openrouterkey&field_name=user&term=ann"
    answer = staff.get(f"/admin/autocomplete/?{query}")
    assert [sorted(found) for found in answer.json()["results"]] == [["id", "text"]]
    assert HINT not in answer.content.decode()


def test_popup_offers_no_action(staff, connected):
    """AD 168: the list in a window of its own shows masks, and offers no action."""
    text = staff.get(f"{KEYS}?_popup=1").content.decode()
    assert HINT in text
    assert 'value="disconnect"' not in text


other = admin.AdminSite("other")
other.register(OpenRouterKey, OpenRouterKeyAdmin)
other.register(User, UserAdmin)
urlpatterns = [*site_patterns, path("other/", other.urls)]


@pytest.mark.urls("tests.test_admin")
@pytest.mark.parametrize("page", ["", "{pk}/change/", "check/?pk={pk}", "set-key/", "{pk}/delete/"])
def test_other_admin_site(staff, connected, page):
    """AD 169: an admin site of another name has all pages, and they link to that site only."""
    text = staff.get(f"/other{KEYS[6:]}{page.format(pk=connected.pk)}").content.decode()
    assert HINT in text or page == "set-key/"
    assert "/other/" in text
    assert '"/admin/' not in text


@pytest.mark.urls("tests.test_admin")
def test_actions_of_another_admin_site(staff, connected):
    """AD 169: actions of an admin site of another name lead to its own pages, and back."""
    keys = f"/other{KEYS[6:]}"
    chosen = {"action": "disconnect", "_selected_action": [connected.pk], "index": "0"}
    asking = staff.post(keys, chosen)["Location"]
    assert asking.startswith(f"{keys}disconnect/?")
    agreed = {"pk": connected.pk, "shown": f"{connected.pk} {connected.hint}"}
    assert staff.post(asking, agreed)["Location"] == keys
    assert not OpenRouterKey.objects.exists()
