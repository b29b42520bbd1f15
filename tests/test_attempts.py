"""Limits of an attempt's life to the second, and which of several attempts is meant."""

from datetime import timedelta

import pytest
from django.db import DatabaseError
from django.utils import timezone

from django_openrouter_auth import attempts
from django_openrouter_auth.attempts import (
    claim_attempt,
    end_attempt,
    explain_claimed,
    find_pending_code_attempt,
    require_age,
)
from django_openrouter_auth.exceptions import (
    AttemptInProgress,
    AttemptInterrupted,
    CodeMissing,
    StateExpired,
)
from django_openrouter_auth.fields import fingerprint
from django_openrouter_auth.models import ConnectAttempt

from .connecting import CODE, outcome, start

NOW = timezone.now()
MINUTE, SECOND = timedelta(minutes=1), timedelta(seconds=1)


@pytest.fixture
def clock(monkeypatch):
    """A clock that stands still."""
    monkeypatch.setattr(attempts.timezone, "now", lambda: NOW)


@pytest.mark.parametrize("age", [30 * MINUTE, timedelta(), -MINUTE])
def test_age_that_is_allowed(clock, age):
    """An attempt lives for half an hour; a clock may be a minute behind the one that began it."""
    require_age(ConnectAttempt(created_at=NOW - age))


@pytest.mark.parametrize("age", [30 * MINUTE + SECOND, -MINUTE - SECOND])
def test_age_that_is_not(clock, age):
    """A second more is too much."""
    with pytest.raises(StateExpired):
        require_age(ConnectAttempt(created_at=NOW - age))


@pytest.mark.parametrize(
    ("ago", "expected"),
    [
        (94 * SECOND, AttemptInProgress),
        (95 * SECOND, AttemptInterrupted),
        (96 * SECOND, AttemptInterrupted),
    ],
)
def test_how_long_a_request_may_take(clock, ago, expected):
    """Whoever took an attempt has a minute beside the two timeouts; then it was interrupted."""
    failure = explain_claimed(ConnectAttempt(), NOW - ago)
    assert type(failure) is expected
    assert failure.outcome_unknown is (expected is AttemptInterrupted)


def waiting(user, number, **values):
    """Store an attempt that waits for a code in the browser "b"."""
    return ConnectAttempt.objects.create(
        user=user,
        mode=ConnectAttempt.Mode.CODE,
        state_hash=str(number),
        browser_hash=fingerprint("b"),
        **values,
    )


def test_newest_by_time(user):
    """Of several attempts the one that began last is meant, whichever was stored last."""
    newest = waiting(user, 1, created_at=NOW)
    waiting(user, 2, created_at=NOW - MINUTE)
    assert find_pending_code_attempt(user, "b") == newest


def test_newest_of_one_moment(user):
    """Where they began at the same time it is the one that was stored last."""
    for number in range(3):
        newest = waiting(user, number, created_at=NOW)
    assert find_pending_code_attempt(user, "b") == newest


def test_code_for_a_callback(browser, openrouter):
    """A code that is entered finishes no attempt that waits for a callback."""
    start(browser)
    response = browser.post("/openrouter/code/", {"code": CODE})
    assert outcome(response) == ("error", "state_unknown")
    assert not openrouter.exchanges
    assert ConnectAttempt.objects.get().claimed_at is None


def test_verifier_of_an_ended_attempt(user):
    """Whatever ends an attempt, its verifier goes."""
    attempt = waiting(user, 1, created_at=NOW, code_verifier="v" * 43)
    end_attempt(attempt, CodeMissing(stage="callback"))
    attempt.refresh_from_db()
    assert (attempt.outcome, attempt.code_verifier) == ("code_missing", None)


@pytest.mark.parametrize(
    ("mode", "is_kept"),
    [(ConnectAttempt.Mode.CALLBACK, False), (ConnectAttempt.Mode.CODE, True)],
)
def test_verifier_of_a_claimed_attempt(user, mode, is_kept):
    """Whoever claims an attempt takes its verifier out, unless another code may be entered."""
    attempt = waiting(user, 1, created_at=NOW, code_verifier="v" * 43)
    attempt.mode = mode
    claim_attempt(attempt)
    attempt.refresh_from_db()
    assert attempt.claimed_at is not None
    assert (attempt.code_verifier is not None) is is_kept


def test_time_of_a_claim(user, clock):
    """Querysets find the time that the statement of a claim has written."""
    claim_attempt(waiting(user, 1, created_at=NOW))
    assert ConnectAttempt.objects.filter(claimed_at=NOW).exists()


def test_attempt_that_cannot_be_closed(user, monkeypatch, caplog):
    """A database that does not let an attempt be closed is worth a line in the log."""
    attempt = waiting(user, 1, created_at=NOW)

    def refuse():
        raise DatabaseError

    monkeypatch.setattr(attempts, "attempt_rows", refuse)
    end_attempt(attempt, CodeMissing(stage="callback"))
    assert caplog.messages == [f"openrouter attempt not closed: user={user.pk}"]
