"""The stored key and its use: groups ST and PM 128 of the threat model's catalogue."""

import json
import pickle
from io import StringIO
from typing import Any

import pytest
import responses
from asgiref.sync import async_to_sync
from django.contrib.auth.models import AnonymousUser
from django.core import serializers
from django.core.management import call_command
from django.db import connection
from django.forms import model_to_dict, modelform_factory
from django.test.utils import CaptureQueriesContext
from django.utils import timezone, translation
from django.utils.connection import ConnectionDoesNotExist

from django_openrouter_auth import announcements, attempts
from django_openrouter_auth.exceptions import KeyRejected, KeyUnreadable, NotConnected
from django_openrouter_auth.fields import fingerprint, owner_fingerprint
from django_openrouter_auth.keys import find_key, key_rows, show_key
from django_openrouter_auth.models import ConnectAttempt, OpenRouterKey
from django_openrouter_auth.services import disconnect
from django_openrouter_auth.shortcuts import aget_api_key, get_api_key, get_session

from .connecting import API, CODE, HINT, KEY, OTHER_KEY, message_text, outcome, row, start

pytestmark = pytest.mark.django_db
TABLE = OpenRouterKey._meta.db_table


def damage(token: bytes = b"damaged") -> None:
    """Spoil the only ciphertext, behind Django's back."""
    with connection.cursor() as cursor:
        cursor.execute(f"UPDATE {TABLE} SET secret = %s", [token])


@pytest.mark.parametrize(
    "text", ["", KEY[:19], f"{KEY}\r\nX-Injected: 1", f"{KEY} ", "ü" * 30, KEY * 9]
)
def test_what_cannot_be_a_key_is_not_derived(text):
    """PM 101: nothing is stored that no header can carry, and the error does not repeat it."""
    with pytest.raises(ValueError, match=r"^This cannot be an API key\.$"):
        OpenRouterKey.derive(1, text)


def test_derived_fields_agree(user, connected):
    """Secret, fingerprint, hint and owner's fingerprint belong to the same key and user."""
    assert connected.secret.reveal() == KEY
    assert connected.key_hash == fingerprint(KEY)
    assert connected.hint == HINT
    assert connected.owner_hash == owner_fingerprint(user.pk, KEY)
    assert len(connected.key_hash) == 64
    assert connected.key_hash == connected.key_hash.lower()


def test_links(connected):
    """The two deep links name the key by its fingerprint."""
    assert connected.settings_url == f"https://openrouter.ai/keys/{fingerprint(KEY)}"
    assert connected.activity_url == (f"https://openrouter.ai/logs?api_key_hash={fingerprint(KEY)}")


def test_links_follow_the_authorize_url(connected, settings):
    """On the sandbox the links lead to the sandbox."""
    settings.OPENROUTER_AUTH_AUTHORIZE_URL = "http://localhost:3000/openrouter-sandbox/auth"
    assert connected.settings_url.startswith("http://localhost:3000/openrouter-sandbox/keys/")


def test_names_of_rows_say_nothing(connected):
    """AD 165: a row is called by its number."""
    assert str(connected) == f"OpenRouter key #{connected.pk}"
    attempt = ConnectAttempt.objects.get()
    assert str(attempt) == f"Connect attempt #{attempt.pk}"


def test_names_of_rows_are_translated(connected):
    """A row is called what its kind is called in the language of whoever looks."""
    attempt = ConnectAttempt.objects.get()
    with translation.override("de"):
        assert str(connected) == f"OpenRouter-Schlüssel #{connected.pk}"
        assert str(attempt) == f"Verbindungsversuch #{attempt.pk}"


def test_same_key_of_two_users(connected, other_user):
    """ST 130: the same key for two users has two ciphertexts and two owner's fingerprints."""
    twin = OpenRouterKey.objects.create(
        user=other_user,
        connected_at=timezone.now(),
        **OpenRouterKey.derive(other_user.pk, KEY),
    )
    assert twin.secret.token != connected.secret.token
    assert twin.owner_hash != connected.owner_hash
    assert get_api_key(other_user) == KEY


def test_moved_ciphertext_is_refused(user, connected, other_user):
    """M09, T19: who can write rows but not read keys cannot give a key to another user."""
    OpenRouterKey.objects.create(
        user=other_user,
        connected_at=timezone.now(),
        **OpenRouterKey.derive(other_user.pk, OTHER_KEY),
    )
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT secret FROM {TABLE} WHERE user_id = %s", [user.pk])
        token = cursor.fetchone()[0]
        cursor.execute(f"UPDATE {TABLE} SET secret = %s WHERE user_id = %s", [token, other_user.pk])
    with pytest.raises(KeyUnreadable):
        get_api_key(other_user)
    with pytest.raises(KeyUnreadable):
        OpenRouterKey.objects.get(user=other_user).secret.reveal()


def test_moved_row_is_refused(connected, other_user):
    """T19: nor does moving the whole row, fingerprints included, help."""
    OpenRouterKey.objects.update(user=other_user)
    with pytest.raises(KeyUnreadable):
        get_api_key(other_user)


def test_blanked_owner_is_refused(user, connected):
    """T19: nor does emptying the owner's fingerprint."""
    OpenRouterKey.objects.update(owner_hash="")
    with pytest.raises(KeyUnreadable):
        get_api_key(user)


def test_value_without_its_row_is_refused(connected):
    """D16: a secret that was read without its owner is not revealed."""
    sealed = OpenRouterKey.objects.values_list("secret", flat=True).get()
    assert str(sealed) == "..."
    with pytest.raises(KeyUnreadable):
        sealed.reveal()


def test_unreadable_key_is_marked_and_heals(user, connected):
    """A key that fails to open says so in its status, until it opens again."""
    token = row()["secret"]
    damage()
    with pytest.raises(KeyUnreadable):
        get_api_key(user)
    assert row()["status"] == "unreadable"
    damage(token)
    assert get_api_key(user) == KEY
    assert row()["status"] == "active"


def test_rejected_key_stays_rejected(user, connected):
    """A rejected key is refused without being opened."""
    OpenRouterKey.objects.update(status="rejected")
    damage()
    with pytest.raises(KeyRejected):
        get_api_key(user)
    assert row()["status"] == "rejected"


@pytest.mark.parametrize("stranger", [None, AnonymousUser()])
def test_strangers_have_no_key(stranger):
    """Nobody is not connected."""
    with pytest.raises(NotConnected):
        get_api_key(stranger)


def test_user_without_a_key(user):
    """A user who never connected is not connected."""
    with pytest.raises(NotConnected):
        get_api_key(user)
    with pytest.raises(NotConnected):
        get_session(user)


@pytest.mark.django_db(transaction=True)
def test_key_for_asynchronous_code(user, connected):
    """``aget_api_key`` gives the same key to asynchronous views."""
    assert async_to_sync(aget_api_key)(user) == KEY


def test_lost_encryption_key_blocks_nothing(browser, user, connected, openrouter, settings):
    """M01, T17: after losing the encryption key pages, status, disconnect and reconnect work."""
    settings.FERNET_KEYS = ["another" * 10]
    assert browser.get("/openrouter/").status_code == 200
    assert browser.get("/").status_code == 200
    assert browser.get("/openrouter/status/").status_code == 200
    with pytest.raises(KeyUnreadable):
        get_api_key(user)
    assert "can no longer be read" in browser.get("/openrouter/").content.decode()
    browser.get(start(browser).path, {"code": CODE})
    assert get_api_key(user) == KEY
    browser.get("/openrouter/")
    settings.FERNET_KEYS = ["yet another" * 10]
    assert outcome(browser.post("/openrouter/disconnect/"))[1] == "disconnected"
    assert not OpenRouterKey.objects.exists()


def test_user_with_an_unreadable_key_can_be_deleted(user, connected):
    """M02: deleting a user takes an unreadable key along."""
    damage()
    user.delete()
    assert not OpenRouterKey.objects.exists()


def test_unreadable_row_loads_everywhere(user, connected):
    """M01: lists, joins, ``hasattr`` and copies of an unreadable row work."""
    damage()
    assert len(OpenRouterKey.objects.select_related("user")) == 1
    assert hasattr(type(user).objects.select_related("openrouter_key").get(), "openrouter_key")
    assert json.loads(serializers.serialize("json", OpenRouterKey.objects.all()))


def test_verifier_that_cannot_be_read(browser, openrouter, settings):
    """An attempt whose verifier was encrypted with a lost key ends in words, not in an error."""
    started = start(browser)
    settings.FERNET_KEYS = ["another" * 10]
    response = browser.get(started.path, {"code": CODE})
    assert outcome(response) == ("error", "state_unknown")
    assert "interrupted" in message_text(response)
    assert openrouter.exchanges == []


def test_full_save_keeps_the_ciphertext(connected):
    """ST 138: editing another field of a normally loaded row leaves the ciphertext as it is."""
    before = row()["secret"]
    key = OpenRouterKey.objects.get()
    key.label = "edited"
    key.save()
    assert row()["secret"] == before
    assert row()["label"] == "edited"


def test_dump_and_load(user, connected):
    """``dumpdata`` holds no key, and ``loaddata`` brings the row back to life."""
    before, text = row(), StringIO()
    call_command("dumpdata", "django_openrouter_auth.openrouterkey", stdout=text)
    assert KEY not in text.getvalue()
    OpenRouterKey.objects.all().delete()
    for item in serializers.deserialize("json", text.getvalue()):
        item.save()
    # Django's JSON serializer keeps milliseconds only.
    times = dict.fromkeys(("connected_at", "checked_at", "updated_at"))
    assert row() | times == before | times
    assert get_api_key(user) == KEY


def test_pickled_row(connected):
    """LK 181: a pickled row holds no key, also after the key was read."""
    connected.secret.reveal()
    data = pickle.dumps(connected)
    assert KEY.encode() not in data
    assert pickle.loads(data).secret.reveal() == KEY


def test_forms_and_dicts_leave_the_secret_out(connected):
    """LK 183: generic forms and dicts do not know the secret."""
    form = modelform_factory(OpenRouterKey, fields="__all__")
    assert "secret" not in form().fields
    assert "secret" not in model_to_dict(connected)
    assert KEY not in str(OpenRouterKey.objects.values().get())


def test_pages_do_not_read_the_ciphertext(browser, connected):
    """ST 136: neither pages nor status select the column of the ciphertext."""
    for page in ("/", "/openrouter/", "/openrouter/status/", "/openrouter/disconnect/"):
        with CaptureQueriesContext(connection) as queries:
            browser.get(page)
        assert not [query for query in queries if '"secret"' in query["sql"]]


def test_longest_and_shortest_key(browser, user, openrouter):
    """ST 157: keys of 512 and of 20 characters fit, whatever their prefix."""
    for key in ("k" * 512, "0123456789" * 2):
        openrouter.grants(key)
        browser.get(start(browser).path, {"code": CODE})
        assert get_api_key(user) == key


class SecondDatabase:
    """A router that reads from another alias than it writes to."""

    def db_for_read(self, model: Any, **hints: Any) -> str:
        return "replica" if model._meta.app_label == "django_openrouter_auth" else "default"

    def db_for_write(self, model: Any, **hints: Any) -> str:
        return "default"


def test_lagging_replica(browser, user, openrouter, settings):
    """ST 156: the result page reads where the key was written, not from a replica."""
    settings.DATABASE_ROUTERS = [SecondDatabase()]
    browser.get(start(browser).path, {"code": CODE})
    assert HINT in browser.get("/openrouter/").content.decode()
    assert HINT in browser.get("/").content.decode()
    assert get_api_key(user) == KEY


class Elsewhere:
    """A router that sends what is written about our models to a database that is missing."""

    def db_for_write(self, model: Any, **hints: Any) -> str:
        return "elsewhere" if model in (ConnectAttempt, OpenRouterKey) else "default"


@pytest.mark.parametrize(
    "use",
    [
        lambda user: list(attempts.attempt_rows()),
        lambda user: attempts.open_attempt(user, mode="callback"),
        lambda user: list(key_rows()),
        lambda user: announcements.announce_failed(user, "internal"),
        disconnect,
        show_key,
    ],
    ids=["attempts", "start", "keys", "receivers", "disconnect", "button"],
)
def test_routers_are_asked(user, settings, use):
    """Keys and attempts are where routers want them, and so are the transactions around them."""
    settings.DATABASE_ROUTERS = [Elsewhere()]
    with pytest.raises(ConnectionDoesNotExist, match="elsewhere"):
        use(user)


def test_disconnect_returns_the_fingerprint(user, connected):
    """Who disconnects a user learns which key it was, for the link."""
    assert disconnect(user) == [fingerprint(KEY)]
    assert disconnect(user) == []


def test_disconnect_says_what_it_cannot_do(browser, connected):
    """The answer to a disconnect says that the key lives on, and links to it."""
    text = message_text(browser.post("/openrouter/disconnect/"))
    assert "it works until you delete it there" in text
    assert f"https://openrouter.ai/keys/{fingerprint(KEY)}" in text


def test_session_calls_openrouter(user, connected, openrouter):
    """A site calls OpenRouter with the user's key by one line."""
    openrouter.mock.post(f"{API}/chat/completions", json={"choices": []})
    with get_session(user) as session:
        response = session.post("chat/completions", json={"model": "m", "messages": []})
    assert response.json() == {"choices": []}
    (call,) = openrouter.mock.calls
    assert call.request.headers["Authorization"] == f"Bearer {KEY}"


@pytest.mark.parametrize(
    ("content_type", "encoding"),
    [
        ("text/event-stream", "utf-8"),
        ("application/json", "utf-8"),
        ("text/plain; charset=iso-8859-1", "iso-8859-1"),
    ],
)
def test_encoding_of_answers(user, connected, openrouter, content_type, encoding):
    """Answers are UTF-8, as OpenRouter's are, unless they say otherwise."""
    openrouter.mock.get(f"{API}/models", body="ü".encode(encoding), content_type=content_type)
    assert get_session(user).get("models").text == "ü"


def test_confirmed_rejection(user, connected, openrouter):
    """A 401 that ``GET /key`` confirms marks the key as rejected, once, and raises."""
    openrouter.mock.post(f"{API}/chat/completions", status=401)
    openrouter.forgets()
    session = get_session(user)
    for _ in range(3):
        with pytest.raises(KeyRejected):
            session.post("chat/completions", json={})
    assert row()["status"] == "rejected"
    assert row()["checked_at"] is not None
    assert len(openrouter.mock.calls) == 2
    with pytest.raises(KeyRejected):
        get_session(user)


@pytest.mark.parametrize("status", [200, 403, 429, 500])
def test_unconfirmed_rejection(user, connected, openrouter, status):
    """T28: a 401 that ``GET /key`` does not confirm is an ordinary answer."""
    openrouter.mock.post(f"{API}/chat/completions", status=401)
    openrouter.mock.upsert(responses.GET, f"{API}/key", json={"data": {}}, status=status)
    response = get_session(user).post("chat/completions", json={})
    assert response.status_code == 401
    assert row()["status"] == "active"


def test_verdict_about_a_replaced_key(user, connected, openrouter):
    """T27: the rejection of an old key does not touch the key that replaced it."""
    openrouter.mock.post(f"{API}/chat/completions", status=401)
    openrouter.forgets()
    session = get_session(user)
    OpenRouterKey.objects.update(**OpenRouterKey.derive(user.pk, OTHER_KEY))
    with pytest.raises(KeyRejected):
        session.post("chat/completions", json={})
    assert row()["status"] == "active"
    assert get_api_key(user) == OTHER_KEY


def test_partly_loaded_row(user, connected):
    """A row that was loaded in part loads what is missing."""
    assert find_key(user).secret.reveal() == KEY
    assert OpenRouterKey.objects.only("pk").get().secret.reveal() == KEY


def test_button_leaves_the_relation_alone(user, connected, django_assert_num_queries):
    """What a button looked up does not stand in for the row that a site asks for."""
    visitor = type(user).objects.get()
    show_key(visitor)
    with django_assert_num_queries(1):
        assert visitor.openrouter_key.usage == 0
        assert visitor.openrouter_key.secret.reveal() == KEY


def test_button_looks_again_after_a_change(browser, user, openrouter):
    """What a button showed before does not outlive connecting, disconnecting and pickling."""
    assert show_key(user) is None
    browser.get(start(browser).path, {"code": CODE})
    assert show_key(pickle.loads(pickle.dumps(user))).hint == HINT
    disconnect(user)
    browser.get(start(browser).path, {"code": CODE})
    assert show_key(user).hint == HINT
    disconnect(user)
    assert show_key(user) is None


@pytest.mark.parametrize("place", ["label", "user_id"])
def test_provider_that_repeats_the_key(browser, openrouter, place):
    """LK 171: a key that comes back in another field is not stored or shown in plain text."""
    if place == "label":
        openrouter.grants(label=f"my {KEY}", limit_reset=KEY)
    else:
        body = {"key": KEY, "user_id": KEY}
        openrouter.mock.upsert("POST", f"{API}/auth/keys", json=body)
    browser.get(start(browser).path, {"code": CODE})
    stored = row()
    assert KEY[:30] not in f"{stored['label']}{stored['openrouter_user_id']}"
    assert stored["key_hash"] == fingerprint(KEY)
    assert KEY not in browser.get("/openrouter/status/").content.decode()


def test_times_of_a_site_without_time_zones(browser, connected, settings):
    """Times in the status have a zone, also where the site stores local times."""
    settings.TIME_ZONE = "Europe/Berlin"
    settings.USE_TZ = False
    OpenRouterKey.objects.update(connected_at="2027-01-01 12:00:00")
    body = browser.get("/openrouter/status/").json()
    assert body["connected_at"] == "2027-01-01T12:00:00+01:00"
