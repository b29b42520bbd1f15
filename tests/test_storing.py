"""Storing a key: which row is written, how often it is tried, and what is told of it."""

from types import SimpleNamespace

import pytest
from django.db import DatabaseError
from django.utils import timezone

from django_openrouter_auth import storing
from django_openrouter_auth.exceptions import StorageFailed
from django_openrouter_auth.fields import fingerprint
from django_openrouter_auth.models import ConnectAttempt, OpenRouterKey
from django_openrouter_auth.storing import store_key

from .connecting import KEY, OTHER_KEY


@pytest.fixture
def store(user):
    """Store the key of an attempt that was claimed."""

    def store(expected_hash=None):
        attempt = ConnectAttempt.objects.create(user=user, created_at=timezone.now())
        return store_key(attempt, user, KEY, None, expected_hash=expected_hash, source="oauth")

    return store


def give(user, api_key, **values):
    """Give a user a key; return its fingerprint."""
    derived = OpenRouterKey.derive(user.pk, api_key)
    OpenRouterKey.objects.create(user=user, **derived, **values)
    return derived["key_hash"]


def test_nothing_known(store):
    """Of a key about which nothing is known, nothing is said."""
    assert store() is None
    row = OpenRouterKey.objects.get()
    assert (row.openrouter_user_id, row.check_error, row.checked_at) == ("", "", None)


def test_replaced_at_once(user, store, monkeypatch):
    """Where nobody interferes one try is enough."""
    monkeypatch.setattr(storing, "STORE_TRIES", 1)
    old = give(user, OTHER_KEY, check_error="old")
    assert store(old) == old
    assert OpenRouterKey.objects.get().check_error == ""


def test_same_key(user, store):
    """The key that is there already replaces none."""
    assert store(give(user, KEY)) is None


def test_same_key_from_another_tab(user, store):
    """Where another tab has just stored the same key, both tell which one they replaced."""
    give(user, KEY)
    assert store(fingerprint(OTHER_KEY)) == fingerprint(OTHER_KEY)


def test_key_of_two_users(user, other_user, store):
    """Of two users with one key, who replaces it leaves the other alone."""
    old = give(user, OTHER_KEY)
    give(other_user, OTHER_KEY)
    assert store(old) == old
    assert OpenRouterKey.objects.get(user=other_user).secret.reveal() == OTHER_KEY


def test_database_that_refuses(user, store, monkeypatch, caplog):
    """The log says of each try why it failed, and for whom."""
    monkeypatch.setattr(storing, "STORE_TRIES", 1)

    def refuse(*args):
        raise DatabaseError("secret")

    monkeypatch.setattr(storing, "_write_key", refuse)
    with pytest.raises(StorageFailed) as caught:
        store()
    assert (caught.value.stage, caught.value.outcome_unknown) == ("save", True)
    assert caplog.messages == [f"openrouter key not stored: DatabaseError user={user.pk}"]


def test_attempt_that_is_gone(user):
    """Without its attempt no key is stored, and OpenRouter has one that nobody uses."""
    attempt = ConnectAttempt(pk=1, user=user)
    with pytest.raises(StorageFailed) as caught:
        store_key(attempt, user, KEY, None, expected_hash=None, source="oauth")
    assert (caught.value.stage, caught.value.outcome_unknown) == ("save", True)
    assert not OpenRouterKey.objects.exists()


@pytest.fixture
def connection(monkeypatch):
    """A connection to the database that routers name, on which everything fails."""
    known = SimpleNamespace(in_atomic_block=False, closed=0, opened=[])

    def close():
        known.closed += 1

    def atomic(using):
        known.opened.append(using)
        raise DatabaseError

    known.close_if_unusable_or_obsolete = close
    router = SimpleNamespace(db_for_write=lambda model: f"of {model.__name__}")
    monkeypatch.setattr(storing, "router", router)
    monkeypatch.setattr(storing, "connections", {"of OpenRouterKey": known})
    monkeypatch.setattr(storing, "transaction", SimpleNamespace(atomic=atomic))
    monkeypatch.setattr(storing, "STORE_TRIES", 1)
    return known


@pytest.mark.parametrize("inside", [False, True])
def test_lost_connection(store, connection, inside):
    """A connection that failed is opened anew, unless somebody else's transaction is on it."""
    connection.in_atomic_block = inside
    with pytest.raises(StorageFailed):
        store()
    assert connection.opened == ["of OpenRouterKey"]
    assert connection.closed == (0 if inside else 1)
