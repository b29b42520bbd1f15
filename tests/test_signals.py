"""What receivers are told, and when."""

import logging
from contextlib import contextmanager

import pytest
from django.contrib.auth.models import User
from django.db import OperationalError, connection, transaction
from django.test.utils import CaptureQueriesContext

from django_openrouter_auth import announcements, services, signals, storing
from django_openrouter_auth.exceptions import KeyRejected, OpenRouterAuthError
from django_openrouter_auth.introspection import confirm_rejection
from django_openrouter_auth.keys import find_key
from django_openrouter_auth.models import OpenRouterKey
from django_openrouter_auth.shortcuts import get_session

from .connecting import API, CODE, KEY, OTHER_KEY, message_text, outcome, row, start

NAMES = ("key_connected", "key_disconnected", "key_rejected", "connect_failed")


@contextmanager
def heard(name):
    """Collect what a signal says."""
    told = []

    def receive(sender, signal, **facts):
        assert sender is OpenRouterKey
        told.append(facts)

    signal = getattr(signals, name)
    signal.connect(receive)
    yield told
    signal.disconnect(receive)


@pytest.fixture
def commit(django_capture_on_commit_callbacks):
    """A block at whose end the transaction counts as committed."""
    return lambda: django_capture_on_commit_callbacks(execute=True)


def test_connected(user, browser, openrouter, commit):
    """``key_connected`` says who connected, which row it is, and that none was replaced."""
    path = start(browser).path
    with heard("key_connected") as told, commit():
        browser.get(path, {"code": CODE})
    assert told == [{"user": user, "key": OpenRouterKey.objects.get(), "replaced": False}]


def test_reconnected(browser, connected, openrouter, commit):
    """``replaced`` is true where another key was stored before."""
    openrouter.grants(OTHER_KEY)
    path = start(browser).path
    with heard("key_connected") as told, commit():
        browser.get(path, {"code": CODE})
    assert [facts["replaced"] for facts in told] == [True]


def test_pasted(user, openrouter, commit):
    """A pasted key is a connection like any other."""
    with heard("key_connected") as told, commit():
        services.adopt_key(user=user, text=KEY)
    assert [facts["user"] for facts in told] == [user]


def test_used_before(browser, connected, openrouter, commit):
    """A callback that was used before tells nothing again."""
    path = start(browser).path
    browser.get(path, {"code": CODE})
    with heard("key_connected") as told, commit():
        browser.get(path, {"code": CODE})
    assert told == []


def test_disconnected(user, connected, commit):
    """``key_disconnected`` says whose key it was, by its fingerprint."""
    with heard("key_disconnected") as told, commit():
        services.disconnect(user)
    assert told == [{"user": user, "key_hash": connected.key_hash}]


def test_nothing_to_disconnect(user, commit):
    """Where no key was, nobody is told of one."""
    with heard("key_disconnected") as told, commit():
        services.disconnect(user)
    assert told == []


def test_disconnected_in_the_admin(user, connected, admin_client, commit):
    """Deleting a key in the admin is told as well."""
    url = f"/admin/django_openrouter_auth/openrouterkey/{connected.pk}/delete/"
    with heard("key_disconnected") as told, commit():
        admin_client.post(url, {"post": "yes"})
    assert [facts["user"] for facts in told] == [user]


def test_rejected_by_a_check(user, connected, openrouter, commit):
    """``key_rejected`` comes once, when the key turns, not with each check that finds it so."""
    openrouter.forgets()
    with heard("key_rejected") as told, commit():
        for _ in range(3):
            with pytest.raises(KeyRejected):
                services.check(user)
            OpenRouterKey.objects.update(check_began_at=None)
    assert told == [{"user": user, "key": OpenRouterKey.objects.get()}]


def test_rejected_during_use(user, connected, openrouter, commit):
    """``key_rejected`` comes once for a key that is used by many sessions."""
    openrouter.forgets()
    openrouter.mock.post(f"{API}/chat/completions", status=401)
    sessions = [get_session(user) for _ in range(3)]
    with heard("key_rejected") as told, commit():
        for session in sessions:
            with pytest.raises(KeyRejected):
                session.post("chat/completions", json={})
    assert len(told) == 1


def test_rejection_that_was_overtaken(user, connected, openrouter, commit):
    """A verdict that is not written down is not told either."""
    key = find_key(user)
    services.disconnect(user)
    openrouter.forgets()
    with heard("key_rejected") as told, commit():
        confirm_rejection(key, KEY)
        announcements.announce_rejected(key.pk)
    assert told == []


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        ({"error": "access_denied"}, "access_denied"),
        ({}, "code_missing"),
        ({"code": CODE}, "exchange_rejected"),
    ],
)
def test_failed(user, browser, openrouter, commit, answer, code):
    """``connect_failed`` comes for every attempt that ended without a key, a denial included."""
    openrouter.refuses()
    path = start(browser).path
    with heard("connect_failed") as told, commit():
        browser.get(path, answer)
        browser.get(path, answer)
    assert told == [{"user": user, "code": code}]


def test_foreign_callback(browser, openrouter, commit):
    """A callback that ends no attempt tells nothing."""
    with heard("connect_failed") as told, commit():
        browser.get(f"/openrouter/callback/{'x' * 43}/", {"code": CODE})
    assert told == []


def test_entered_codes(browser, openrouter, commit):
    """A refused code that can be entered again is no end; the fifth is."""
    openrouter.refuses()
    browser.get("/openrouter/code/")
    with heard("connect_failed") as told:
        for tries in range(5):
            assert told == [], tries
            with commit():
                browser.post("/openrouter/code/", {"code": "wrong"})
    assert [facts["code"] for facts in told] == ["exchange_rejected"]


def test_refused_key(user, openrouter, commit):
    """A pasted key that OpenRouter rejects is an attempt that failed."""
    openrouter.forgets()
    with heard("connect_failed") as told, commit(), pytest.raises(OpenRouterAuthError):
        services.adopt_key(user=user, text=KEY)
    assert told == [{"user": user, "code": "key_rejected"}]


@pytest.mark.parametrize("name", NAMES)
def test_receiver_that_raises(user, browser, openrouter, commit, caplog, name):
    """A receiver that raises harms nothing: the flow goes on and the next receiver is told."""

    def fail(**facts):
        raise RuntimeError

    signal = getattr(signals, name)
    signal.connect(fail)
    with heard(name) as told, commit(), caplog.at_level(logging.CRITICAL):
        assert browser.get(start(browser).path, {"code": CODE}).status_code == 303
        assert OpenRouterKey.objects.exists()
        openrouter.forgets()
        browser.post("/openrouter/check/")
        browser.post("/openrouter/disconnect/")
        assert browser.get(start(browser).path, {"error": "access_denied"}).status_code == 303
    signal.disconnect(fail)
    assert len(told) == 1


@pytest.mark.django_db(transaction=True)
def test_after_commit(user, connected):
    """Receivers hear after the commit, and nothing of what was rolled back."""
    with heard("key_disconnected") as told:
        with transaction.atomic():
            services.disconnect(user)
            assert told == []
            transaction.set_rollback(True)
        assert told == []
        with transaction.atomic():
            services.disconnect(user)
        assert len(told) == 1


@pytest.mark.parametrize("name", NAMES)
def test_no_secret(user, browser, openrouter, commit, leaks, name):
    """ST 155: neither arguments nor their representations hold a key, a code or a ciphertext."""
    path = start(browser).path
    with heard(name) as told, commit():
        browser.get(path, {"code": CODE})
        leaks.plant(key=KEY, code=CODE, ciphertext=row()["secret"].decode())
        openrouter.forgets()
        browser.post("/openrouter/check/")
        browser.post("/openrouter/disconnect/")
        browser.get(start(browser).path, {"error": "access_denied"})
    (facts,) = told
    leaks.search("arguments", facts)
    for fact in facts.values():
        leaks.search("argument", vars(fact) if hasattr(fact, "__dict__") else fact)


def test_disconnected_before_anybody_was_told(user, commit):
    """Who disconnects at the same moment is not announced as connected without a row."""
    with heard("key_connected") as told, commit():
        announcements.announce_connected(user, replaced=False)
    assert told == []


@pytest.mark.parametrize("kept", [True, False])
def test_database_that_is_gone(browser, openrouter, monkeypatch, caplog, transactional_db, kept):
    """T26: a database that is gone before receivers are told changes nothing for the user."""

    def fail(*args, **kwargs):
        raise OperationalError

    path = start(browser).path
    monkeypatch.setattr(announcements.transaction, "on_commit", fail)
    if not kept:
        monkeypatch.setattr(storing, "_write_key", fail)
    with heard("key_connected"):
        response = browser.get(path, {"code": CODE})
    assert outcome(response) == (("success", "connected") if kept else ("error", "storage_failed"))
    assert ("you can delete it" in message_text(response)) is not kept
    told = [text for text in caplog.messages if "receivers" in text]
    assert told == ["openrouter receivers not told: OperationalError"]


@pytest.mark.parametrize("error", [OperationalError, transaction.TransactionManagementError])
def test_failure_that_somebody_must_hear_of(user, monkeypatch, db, error):
    """T26: where a transaction of the site's is open, a failure to tell is not passed over."""

    def fail(*args, **kwargs):
        raise error

    monkeypatch.setattr(announcements.transaction, "on_commit", fail)
    with pytest.raises(error):
        announcements.announce_disconnected(user, "0" * 64)


def test_no_cost_without_receivers(user, connected, openrouter):
    """Where nobody listens, no row is looked up to be told."""
    with CaptureQueriesContext(connection) as queries:
        announcements.announce_connected(user, replaced=False)
        announcements.announce_rejected(connected.pk)
    assert queries.captured_queries == []


def test_receivers_of_this_model(user, connected, commit):
    """A receiver may ask for what is sent about this model only."""
    told = []

    def receive(sender, user, key, **others):
        told.append((user.username, key.pk))

    for signal in (signals.key_connected, signals.key_rejected):
        signal.connect(receive, sender=OpenRouterKey)
    with commit():
        announcements.announce_connected(user, replaced=False)
        announcements.announce_rejected(connected.pk)
    for signal in (signals.key_connected, signals.key_rejected):
        signal.disconnect(receive, sender=OpenRouterKey)
    assert told == [("ann", connected.pk)] * 2


def test_one_query_for_a_rejection(user, connected, commit):
    """Key and user of a rejection are looked up together."""
    with heard("key_rejected") as told, CaptureQueriesContext(connection) as queries, commit():
        announcements.announce_rejected(connected.pk)
        assert len(queries) == 1
    assert told[0]["user"] == user
    assert len(queries) == 1


def test_deleted_user(user, connected, openrouter, commit):
    """A user who is gone when receivers would be told brings nothing down."""
    User.objects.all().delete()
    with heard("key_rejected") as told, commit():
        announcements.announce_rejected(connected.pk)
    assert told == []
