"""Setting a user's key in the admin: who may, what is refused, and that nobody sees the key."""

import pytest
from django.contrib import admin
from django.contrib.admin.models import LogEntry
from django.contrib.auth.admin import UserAdmin
from django.contrib.auth.models import User

from django_openrouter_auth import services
from django_openrouter_auth.admin import OpenRouterKeyAdmin
from django_openrouter_auth.admin_set_key import SetKey
from django_openrouter_auth.models import ConnectAttempt, OpenRouterKey
from django_openrouter_auth.services import adopt_key
from django_openrouter_auth.shortcuts import get_api_key

from .connecting import API, HINT, KEY, OTHER_KEY, row
from .staff import KEYS, staff_with, told

pytestmark = pytest.mark.django_db
PAGE = f"{KEYS}set-key/"


def set_key(client, user, api_key=KEY):
    """Fill the form in for a user who is chosen in it."""
    return client.post(PAGE, {"user": user.pk, "api_key": api_key})


def errors(response):
    """The words in which the form refuses."""
    return " ".join(
        text for texts in response.context["adminform"].form.errors.values() for text in texts
    )


def test_set(staff, user, openrouter):
    """A user without a key gets one that OpenRouter accepts, and can use it at once."""
    openrouter.knows(limit=20)
    response = set_key(staff, user, f" {KEY}\n")
    assert get_api_key(user) == KEY
    assert (row()["source"], row()["limit"]) == ("admin", 20)
    assert response["Location"] == f"{KEYS}{row()['id']}/change/"
    assert told(response) == [("success", "The key is saved: OpenRouter accepts it.")]


def test_user_is_fixed(staff, user, other_user, openrouter):
    """From a user's page the user is fixed: the form has no choice, and takes none."""
    page = f"{PAGE}?user={user.pk}"
    text = staff.get(page).content.decode()
    assert "ann" in text
    assert 'name="user"' not in text
    staff.post(page, {"user": other_user.pk, "api_key": KEY})
    assert OpenRouterKey.objects.get().user == user


def test_replace(staff, user, connected):
    """A key that is there is shown by its mask before, and replaced; the old one lives on."""
    assert HINT in staff.get(f"{PAGE}?user={user.pk}").content.decode()
    response = set_key(staff, user, OTHER_KEY)
    assert get_api_key(user) == OTHER_KEY
    assert "previous key is no longer used here" in told(response)[0][1]


def test_record(staff, user, openrouter):
    """How it ended is on record, as an attempt of the user that staff made."""
    set_key(staff, user)
    openrouter.forgets()
    set_key(staff, user, OTHER_KEY)
    attempts = ConnectAttempt.objects.order_by("pk").values_list("user", "mode", "outcome")
    assert list(attempts) == [(user.pk, "admin", "connected"), (user.pk, "admin", "key_rejected")]
    assert not ConnectAttempt.objects.filter(claimed_at=None).exists()


def test_user_disconnects_meanwhile(staff, user, openrouter):
    """Who disconnects while the key is checked stays disconnected; no key is left at OpenRouter."""

    def disconnect(request):
        services.disconnect(user)
        return (200, {}, '{"data": {}}')

    openrouter.mock.remove("GET", f"{API}/key")
    openrouter.mock.add_callback("GET", f"{API}/key", disconnect, content_type="application/json")
    said = errors(set_key(staff, user))
    assert said.startswith("This site could not save the key")
    assert "The key itself is as it was" in said
    assert not OpenRouterKey.objects.exists()


def test_log(staff, user, openrouter):
    """AD 165: who set a key is on record by the row's number, without a secret."""
    set_key(staff, user)
    entry = LogEntry.objects.get()
    assert entry.object_repr == f"OpenRouter key #{row()['id']}"
    assert (entry.user.username, entry.change_message) == ("root", "Key set")
    assert KEY not in str(vars(entry))


@pytest.mark.parametrize(
    ("api_key", "answer", "words"),
    [
        ("short", {}, "does not look like an OpenRouter key"),
        (KEY, {"status": 401}, "OpenRouter does not accept this key"),
        (KEY, {"status": 500}, "OpenRouter could not be reached"),
        (KEY, {"json": {"data": {"is_management_key": True}}}, "This is a management key"),
        (KEY, {"body": RuntimeError()}, "Something unexpected went wrong"),
    ],
)
def test_refused(staff, user, connected, openrouter, api_key, answer, words):
    """What OpenRouter or the site refuses is told at the field, and the present key stays."""
    before = row()
    openrouter.mock.upsert("GET", f"{API}/key", **answer)
    response = set_key(staff, user, api_key)
    assert response.status_code == 200
    assert words in errors(response)
    assert row() == before


def test_nothing_entered(staff, user, openrouter):
    """An empty form says what is missing, and OpenRouter is not asked."""
    response = staff.post(PAGE, {})
    assert set(response.context["adminform"].form.errors) == {"user", "api_key"}
    assert not openrouter.calls


def test_inactive_user(staff, user, openrouter):
    """Users who may not sign in get no key, and OpenRouter is not asked."""
    User.objects.update(is_active=False)
    User.objects.filter(username="root").update(is_active=True)
    assert "not active" in errors(set_key(staff, user))
    response = staff.post(f"{PAGE}?user={user.pk}", {"api_key": KEY})
    assert "not active" in errors(response)
    assert not openrouter.calls


def test_database_that_fails(staff, user, openrouter, monkeypatch, caplog):
    """Whatever goes wrong is told in words: an error page's report could hold the key."""

    def fail(*args, **options):
        raise RuntimeError(KEY)

    monkeypatch.setattr("django_openrouter_auth.services.open_attempt", fail)
    assert "Something unexpected" in errors(set_key(staff, user))
    assert "openrouter key not set: RuntimeError" in caplog.text
    assert KEY not in caplog.text


@pytest.mark.parametrize("pk", ["", "x", "999", "%00", "9" * 30])
def test_odd_users(staff, openrouter, pk):
    """A user that does not exist is a page that does not exist."""
    assert staff.get(f"{PAGE}?user={pk}").status_code == 404
    answer = staff.post(PAGE, {"user": pk.replace("%00", "\0"), "api_key": KEY})
    assert list(answer.context["adminform"].form.errors) == ["user"]
    assert not openrouter.calls


@pytest.mark.parametrize(
    "codenames",
    [
        [],
        ["view_openrouterkey", "change_openrouterkey"],
        ["view_openrouterkey", "check_openrouterkey", "disconnect_openrouterkey"],
        ["set_openrouterkey"],
    ],
    ids=["none", "change", "others", "without view"],
)
def test_refused_without_the_permission(user, openrouter, codenames):
    """AD 161: without both permissions there is no link, no page, and no post is taken."""
    client = staff_with(*codenames)
    assert "set-key" not in client.get(KEYS).content.decode()
    assert client.get(PAGE).status_code == 403
    assert set_key(client, user).status_code == 403
    assert not OpenRouterKey.objects.exists()
    assert not openrouter.calls


def test_allowed_with_the_permission(user, openrouter):
    """AD 161: who may view and has the permission sees the link, and it works."""
    client = staff_with("view_openrouterkey", "set_openrouterkey")
    assert f'href="{PAGE}"' in client.get(KEYS).content.decode()
    set_key(client, user)
    assert get_api_key(user) == KEY


def test_adding_by_hand_stays_closed(staff, user):
    """AD 159: the form of Django for new rows stays closed, also for those who may set keys."""
    assert staff.post(f"{KEYS}add/", {"user": user.pk, "secret": KEY}).status_code == 403


def widget(client):
    """The widget by which the user is chosen."""
    return type(client.get(PAGE).context["adminform"].form.fields["user"].widget).__name__


def test_choosing_the_user(staff, monkeypatch):
    """Who may search users searches; others enter an id, as Django's own admin offers it."""
    assert widget(staff) == "AutocompleteSelect"
    assert widget(staff_with("view_openrouterkey", "set_openrouterkey")) == "ForeignKeyRawIdWidget"
    monkeypatch.setattr(UserAdmin, "search_fields", ())
    assert widget(staff) == "ForeignKeyRawIdWidget"


def test_users_that_staff_may_not_see(staff, user, openrouter, monkeypatch):
    """A site whose staff see some users only has keys set for these only."""
    monkeypatch.setattr(
        UserAdmin, "get_queryset", lambda self, request: User.objects.filter(is_superuser=True)
    )
    assert staff.get(f"{PAGE}?user={user.pk}").status_code == 404
    assert "user" in set_key(staff, user).context["adminform"].form.errors
    assert not OpenRouterKey.objects.exists()


@pytest.mark.parametrize(
    "hidden",
    [
        {"get_queryset": lambda self, request: OpenRouterKey.objects.none()},
        {"has_view_permission": lambda self, request, obj=None: obj is None},
    ],
    ids=["from lists", "one by one"],
)
def test_keys_that_staff_may_not_see(staff, user, connected, openrouter, monkeypatch, hidden):
    """AD 161: a key that is hidden from a member of staff is not replaced by them."""
    for name, answer in hidden.items():
        monkeypatch.setattr(OpenRouterKeyAdmin, name, answer)
    assert staff.get(f"{PAGE}?user={user.pk}").status_code == 403
    assert set_key(staff, user, OTHER_KEY).status_code == 403
    assert get_api_key(user) == KEY


def test_log_of_a_hidden_key(staff, user, openrouter, monkeypatch):
    """Who set a key is on record, too, where they may not see the new row."""
    monkeypatch.setattr(
        OpenRouterKeyAdmin, "get_queryset", lambda self, request: OpenRouterKey.objects.none()
    )
    assert set_key(staff, user)["Location"] == KEYS
    assert LogEntry.objects.get().object_id == str(row()["id"])


def test_key_that_is_gone_meanwhile(staff, user, openrouter, monkeypatch):
    """A user who disconnects right after a key was set leaves nothing to record, and no error."""

    def adopt_and_lose(*args, **options):
        connected = adopt_key(*args, **options)
        OpenRouterKey.objects.all().delete()
        return connected

    monkeypatch.setattr("django_openrouter_auth.services.adopt_key", adopt_and_lose)
    assert set_key(staff, user)["Location"] == KEYS
    assert not LogEntry.objects.exists()


def test_admin_without_users(rf, user):
    """Where the admin does not show users, every user can be chosen, by an id."""
    pages = SetKey(OpenRouterKey, admin.AdminSite("other"))
    request = rf.get("/")
    assert list(pages._users(request)) == [user]
    assert type(pages._chooser(request)).__name__ == "ForeignKeyRawIdWidget"


# Nobody sees the key


@pytest.mark.parametrize("status", [200, 401, 500])
def test_key_is_nowhere(staff, user, openrouter, leaks, statements, status):
    """LK 172: no page, message, history, log or statement holds the key that was entered."""
    leaks.plant(key=KEY)
    openrouter.mock.upsert("GET", f"{API}/key", status=status, json={"data": {}})
    response = set_key(staff, user)
    leaks.search_response("answer", response)
    for page in (KEYS, f"{KEYS}?q=ann", PAGE):
        leaks.search_response(page, staff.get(page))
    leaks.search("history", [vars(entry) for entry in LogEntry.objects.all()])


def test_error_report(staff, user, openrouter, leaks, monkeypatch):
    """LK 172: an error after the key was entered is reported without it."""

    def fail(*args: object) -> None:
        raise RuntimeError

    monkeypatch.setattr(SetKey, "_tell_set", fail)
    staff.raise_request_exception = False
    entered = KEY[::-1]  # not written out here: the report quotes the lines of this test
    leaks.plant(key=entered)
    response = set_key(staff, user, entered)
    assert response.status_code == 500
    leaks.search_response("error page", response)
    assert leaks.error_mail.reports


@pytest.mark.parametrize("query", ["", "?user={pk}"])
def test_error_report_of_the_form(staff, user, leaks, monkeypatch, query):
    """LK 172: a user model that fails while the form is checked is reported without the key."""

    def fail(self: User) -> bool:
        if self.username != "root":
            raise RuntimeError
        return True

    monkeypatch.setattr(User, "is_active", property(fail, lambda self, value: None))
    staff.raise_request_exception = False
    entered = KEY[::-1]
    leaks.plant(key=entered)
    answer = staff.post(PAGE + query.format(pk=user.pk), {"user": user.pk, "api_key": entered})
    assert answer.status_code == 500
    leaks.search_response("error page", answer)
    assert leaks.error_mail.reports


def test_field_is_write_only(staff, user, openrouter):
    """What was entered is never shown again, and no browser is asked to remember it."""
    openrouter.forgets()
    text = set_key(staff, user).content.decode()
    assert KEY not in text
    [field] = [part for part in text.split("<input") if 'name="api_key"' in part]
    assert 'type="password"' in field
    assert 'autocomplete="off"' in field
    assert "value=" not in field.split(">")[0]
