"""The life of an attempt's row: opened, found again, claimed by one request, ended.

Sessions are last-write-wins, so that two callbacks at once could both take an attempt out of one.
A row can be claimed by one conditional UPDATE, and only once.
"""

import logging
import re
import secrets
from datetime import datetime, timedelta
from typing import Any

from django.contrib.auth.base_user import AbstractBaseUser
from django.db import Error, router
from django.db.models import F, QuerySet
from django.utils import timezone
from django.utils.crypto import constant_time_compare
from django.utils.datastructures import MultiValueDict

from . import attempt_table
from .authorization import AuthorizationRequest
from .conf import app_settings
from .exceptions import (
    AttemptInProgress,
    AttemptInterrupted,
    AttemptUsed,
    ModeMismatch,
    OpenRouterAuthError,
    StateExpired,
    StateUnknown,
    UserMismatch,
)
from .fields import fernet, fingerprint
from .models import ConnectAttempt

logger = logging.getLogger("django_openrouter_auth")

STATE = re.compile(r"[A-Za-z0-9_-]{43}")
CONNECTED = "connected"
ENDED_ATTEMPTS_KEPT = 20
CLOCK_SKEW = timedelta(minutes=1)
LONGEST_FINISH = timedelta(minutes=1)
CODE_TRIES = 5


def attempt_rows() -> "QuerySet[ConnectAttempt]":
    """Return all attempts, in the database that is written to."""
    return ConnectAttempt.objects.using(router.db_for_write(ConnectAttempt))


def _row_of(attempt: ConnectAttempt) -> "QuerySet[ConnectAttempt]":
    return attempt_rows().filter(state_hash=attempt.state_hash)


def open_attempt(
    user: AbstractBaseUser,
    *,
    mode: str,
    state: str = "",
    browser: str = "",
    request: AuthorizationRequest | None = None,
    next_url: str = "",
) -> ConnectAttempt:
    """Store a pending attempt, and drop those of the user that are too old or too many.

    An attempt that needs no return, because the key itself was entered, is claimed from the start.

    Raises:
        ImproperlyConfigured: the encryption keys cannot be used.
    """
    # Also where there is no verifier to encrypt: the key that follows could not be stored.
    fernet()
    now = timezone.now()
    attempt = ConnectAttempt(
        user_id=user.pk,
        mode=mode,
        state_hash=fingerprint(state or secrets.token_urlsafe(32)),
        browser_hash=fingerprint(browser),
        code_verifier=request and request.code_verifier,
        method=(request and request.method) or "",
        requested=request.requested if request else {},
        next_url=next_url,
        created_at=now,
        claimed_at=None if request else now,
    )
    attempt_table.make_room(
        user,
        oldest=now - app_settings.ATTEMPT_MAX_AGE,
        most_pending=app_settings.MAX_PENDING_ATTEMPTS - 1,
        most_ended=ENDED_ATTEMPTS_KEPT,
    )
    attempt_table.insert(attempt)
    return attempt


def find_attempt(
    user: AbstractBaseUser, browser: str | None, state: str, answer: MultiValueDict[str, str]
) -> Any:
    """Return the attempt on which row, browser, user and mode agree, with the key stored now.

    Raises:
        StateUnknown: there is no such attempt of this browser, or another state came along.
        UserMismatch: another user started it in this browser.
        ModeMismatch: it was not started for a callback.
    """
    echoed = answer.getlist("state")
    if not STATE.fullmatch(state) or any(value != state for value in echoed):
        raise StateUnknown(stage="callback")
    attempt = attempt_table.find(fingerprint(state))
    if attempt is None or browser is None:
        raise StateUnknown(stage="callback")
    # The browser comes first: only the browser that started it may learn whose attempt it is.
    if not constant_time_compare(attempt.browser_hash, fingerprint(browser)):
        raise StateUnknown(stage="callback")
    if attempt.user_id != user.pk:
        raise UserMismatch(stage="callback")
    if attempt.mode != ConnectAttempt.Mode.CALLBACK:
        raise ModeMismatch(stage="callback")
    return attempt


def _code_attempts(browser: str) -> Any:
    """Return the attempts for which a code is entered in a browser, the newest first."""
    of_browser = attempt_rows().filter(
        browser_hash=fingerprint(browser), mode=ConnectAttempt.Mode.CODE
    )
    # As attempt_table.find() does.
    of_browser = of_browser.annotate(stored_key_hash=F("user__openrouter_key__key_hash"))
    return of_browser.order_by("-created_at", "-pk")


def find_pending_code_attempt(user: AbstractBaseUser, browser: str) -> Any:
    """Return the attempt for which a code can still be entered in a browser, or ``None``."""
    oldest = timezone.now() - app_settings.ATTEMPT_MAX_AGE
    alive = _code_attempts(browser).filter(claimed_at=None, created_at__gt=oldest)
    return alive.filter(user_id=user.pk).first()


def find_code_attempt(user: AbstractBaseUser, browser: str | None) -> Any:
    """Return the attempt to which a code that was entered belongs.

    Raises:
        StateUnknown: no code is waited for in this browser.
        AttemptUsed: the attempt has already ended.
        UserMismatch: another user started it in this browser.
    """
    attempts = _code_attempts(browser or "")
    # What can still be finished comes first: it is what the page shows.
    attempt = attempts.filter(claimed_at=None).first() or attempts.first()
    if attempt is None or browser is None:
        raise StateUnknown(stage="callback")
    if attempt.user_id != user.pk:
        raise UserMismatch(stage="callback")
    if attempt.outcome:
        raise AttemptUsed(stage="callback")
    return attempt


def claim_attempt(attempt: ConnectAttempt) -> None:
    """Take an attempt, so that no other request can.

    Its verifier leaves the database, unless a refused code may be entered again.

    Raises:
        AttemptInProgress: another request was faster.
        StateUnknown: the attempt has just been dropped.
    """
    # A refused code may be followed by another one, which needs the verifier as well.
    keep_verifier = attempt.mode == ConnectAttempt.Mode.CODE
    if attempt_table.claim(
        attempt, timezone.now(), most_tries=CODE_TRIES, keep_verifier=keep_verifier
    ):
        return
    if _row_of(attempt).exists():
        raise AttemptInProgress(stage="callback")
    raise StateUnknown(stage="callback")


def release_attempt(attempt: ConnectAttempt) -> bool:
    """Let another code be entered after one was refused, five in all; return whether it may."""
    mine = _row_of(attempt).filter(outcome="")
    mine.update(tries=F("tries") + 1)
    return bool(mine.filter(tries__lt=CODE_TRIES).update(claimed_at=None))


def require_age(attempt: ConnectAttempt) -> None:
    """Refuse an attempt that is too old, or from the future by more than clocks differ.

    Raises:
        StateExpired: as said.
    """
    if not -CLOCK_SKEW <= timezone.now() - attempt.created_at <= app_settings.ATTEMPT_MAX_AGE:
        raise StateExpired(stage="callback")


def explain_claimed(attempt: ConnectAttempt, claimed_at: datetime) -> OpenRouterAuthError:
    """Return why an attempt that was claimed before cannot be finished again."""
    if attempt.outcome:
        return AttemptUsed(stage="callback")
    longest = LONGEST_FINISH + timedelta(seconds=sum(app_settings.TIMEOUT))
    if timezone.now() - claimed_at < longest:
        return AttemptInProgress(stage="callback")
    return AttemptInterrupted(stage="callback", outcome_unknown=True)


def end_attempt(attempt: ConnectAttempt, failure: OpenRouterAuthError) -> None:
    """Write down how an attempt failed; a database that refuses is no reason to fail again."""
    try:
        mine = _row_of(attempt).filter(outcome="")
        mine.update(outcome=failure.code, code_verifier=None)
    except Error:
        logger.warning("openrouter attempt not closed: user=%s", attempt.user_id)
