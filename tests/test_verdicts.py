"""Turns to ask about a key, and what is written down of each answer."""

import logging
from contextlib import contextmanager
from datetime import timedelta

import pytest
from django.utils import timezone

from django_openrouter_auth import introspection
from django_openrouter_auth.exceptions import KeyRejected, ProviderUnavailable, Throttled
from django_openrouter_auth.introspection import (
    Turn,
    ask,
    check_key,
    confirm_rejection,
    settle,
    take_turn,
)
from django_openrouter_auth.key_info import KeyInfo
from django_openrouter_auth.keys import identity
from django_openrouter_auth.models import OpenRouterKey

from .connecting import KEY

NOW = timezone.now()
LONG_AGO = NOW - timedelta(days=1)


class Line:
    """A connection to OpenRouter that answers, and remembers what it was asked."""

    def __init__(self, answer):
        self.answer, self.asked = answer, []

    def read_key(self, api_key, *, patience=None):
        self.asked.append((api_key, patience))
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


@pytest.fixture
def key(user, monkeypatch):
    """A key that was looked at long ago, on a clock that stands still."""
    monkeypatch.setattr(introspection.timezone, "now", lambda: NOW)
    key = OpenRouterKey.objects.create(
        user=user, connected_at=LONG_AGO, **OpenRouterKey.derive(user.pk, KEY)
    )
    OpenRouterKey.objects.update(checked_at=LONG_AGO, check_error="old", updated_at=LONG_AGO)
    return key


@pytest.fixture
def line(monkeypatch):
    """Let connections that are opened lead to a line of ours."""

    def line(answer):
        line = Line(answer)

        @contextmanager
        def open_connection():
            yield line

        monkeypatch.setattr(introspection, "open_connection", open_connection)
        return line

    return line


def state(key):
    """Return what the row says about its last check."""
    key.refresh_from_db()
    return key.status, key.checked_at, key.check_error, key.updated_at


@pytest.mark.parametrize(("ago", "left"), [(0, 30), (10, 20), (29.7, 1)])
def test_time_to_wait(key, ago, left):
    """Who asks too early learns how long to wait, at least a second."""
    OpenRouterKey.objects.update(check_began_at=NOW - timedelta(seconds=ago))
    with pytest.raises(Throttled) as caught:
        take_turn(key)
    assert caught.value.retry_after == left


def turn(key):
    """Return a turn that has just been taken."""
    OpenRouterKey.objects.update(check_began_at=NOW)
    return Turn(key, KEY, NOW)


def test_good_answer(key):
    """A good answer is written down, and clears what went wrong before."""
    assert settle(turn(key), KeyInfo(label="l"))
    assert state(key) == ("active", NOW, "", NOW)
    assert key.label == "l"


@pytest.mark.parametrize("before", ["active", "rejected"])
def test_rejection(key, before):
    """A rejection is an answer like any other, also where it is not the first."""
    OpenRouterKey.objects.update(status=before)
    assert settle(turn(key), KeyRejected(stage="status"))
    assert state(key) == ("rejected", NOW, "", NOW)


def test_no_answer(key, caplog):
    """Where there was no answer, the row says why and when, and the log whose key it is."""
    caplog.set_level(logging.INFO, "django_openrouter_auth")
    assert settle(turn(key), ProviderUnavailable(stage="status"))
    assert state(key) == ("active", LONG_AGO, "provider_unavailable", NOW)
    code = "provider_unavailable"
    assert caplog.messages == [f"openrouter key not checked: code={code} user={key.user_id}"]


@pytest.mark.parametrize("answer", [KeyInfo(), KeyRejected(stage="status"), ProviderUnavailable()])
def test_overtaken(key, answer):
    """A turn that somebody else has taken since writes nothing."""
    late = turn(key)
    OpenRouterKey.objects.update(check_began_at=NOW + timedelta(seconds=31))
    assert not settle(late, answer)
    assert state(key) == ("active", LONG_AGO, "old", LONG_AGO)


def test_question(key, line):
    """The key itself is asked about, with the patience of whoever asks."""
    asked = line(KeyInfo(label="l"))
    assert check_key(key, patience=7) == KeyInfo(label="l")
    assert asked.asked == [(KEY, 7)]


def test_connection_that_is_open(key, line):
    """A connection that is open already is used, and no other one opened."""
    other, mine = line(KeyInfo()), Line(KeyInfo())
    check_key(key, mine)
    assert (other.asked, mine.asked) == ([], [(KEY, None)])


def test_what_nobody_foresaw(caplog):
    """Of an exception that nobody foresaw, the log has the class."""
    failure = ask(KEY, Line(RuntimeError(KEY)))
    assert (failure.code, failure.stage) == ("internal", "status")
    assert caplog.messages == ["openrouter check failed: unexpected=RuntimeError"]


def test_confirmation(key, line):
    """A rejection is confirmed within five seconds, and says which row it is about."""
    asked = line(KeyRejected(stage="status"))
    rejection = confirm_rejection(key, KEY)
    assert asked.asked == [(KEY, 5)]
    assert (rejection.stage, rejection.status_code) == ("use", 401)
    assert rejection.row == identity(key)
