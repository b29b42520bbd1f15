"""The use cases: begin, complete, enter a code, adopt a key, check and disconnect.

A connection is made in this order, and no step touches the network inside a transaction::

    begin ──> attempt row ──> (OpenRouter) ──> claim ──> exchange ──> GET /key ──> store
"""

import secrets
from contextlib import suppress
from datetime import timedelta
from typing import Any

from django.contrib.auth.base_user import AbstractBaseUser
from django.core.exceptions import ImproperlyConfigured
from django.db import router, transaction
from django.utils import timezone
from django.utils.datastructures import MultiValueDict
from django.views.decorators.debug import sensitive_variables

from .announcements import announce_disconnected
from .attempts import (
    CONNECTED,
    attempt_rows,
    claim_attempt,
    explain_claimed,
    find_attempt,
    find_code_attempt,
    find_pending_code_attempt,
    open_attempt,
)
from .authorization import (
    AuthorizationRequest,
    build_callback_url,
    read_code,
    read_entry,
    require_safe_origin,
    require_usable_settings,
)
from .conf import app_settings, is_api_key
from .exceptions import (
    KeyMalformed,
    KeyUnreadable,
    Misconfigured,
    NoKeyEntered,
    NotConnected,
    OpenRouterAuthError,
)
from .finishing import Connected, exchange_and_store, finish_attempt, verify_and_store
from .introspection import check_key
from .keys import find_key, forget_shown_key, key_rows
from .models import ConnectAttempt, OpenRouterKey

PAGE_PATIENCE = 5

# Begin


@sensitive_variables()
def begin(
    *, user: AbstractBaseUser, browser: str, origin: str, next_url: str = "", key_label: str = ""
) -> str:
    """Start an attempt and return the URL of OpenRouter's consent page for it.

    Args:
        user: who connects.
        browser: the random value that this browser's session holds.
        origin: scheme and host of this site, as OpenRouter and the browser reach it.
        next_url: a path of this site to return to, already checked.
        key_label: the name that the key shall have at OpenRouter, at most 100 characters.

    Raises:
        InsecureCallback: OpenRouter would not return to this origin.
        Misconfigured: a setting that this depends on, or an encryption key, cannot be used.

    Source: OpenRouter OAuth PKCE guide, step 1.
    """
    require_usable_settings()
    require_safe_origin(origin)
    state = secrets.token_urlsafe(32)
    request = AuthorizationRequest.make(app_settings.CODE_CHALLENGE_METHOD, key_label)
    url = request.url(callback_url=build_callback_url(origin, state), state=state)
    _open(
        user,
        mode=ConnectAttempt.Mode.CALLBACK,
        state=state,
        browser=browser,
        request=request,
        next_url=next_url,
    )
    return url


@sensitive_variables()
def begin_code_entry(
    *, user: AbstractBaseUser, browser: str, next_url: str = "", key_label: str = ""
) -> str:
    """Return the URL of the consent page that shows a code, which is then entered here.

    The attempt that already waits for a code in this browser goes on; there is one at a time.

    Raises:
        Misconfigured: a setting that this depends on, or an encryption key, cannot be used.

    Source: OpenRouter OAuth PKCE guide: without a callback a code challenge is required.
    """
    require_usable_settings()
    waiting = find_pending_code_attempt(user, browser)
    if waiting is not None:
        with suppress(KeyUnreadable):
            verifier = waiting.code_verifier.reveal()
            return AuthorizationRequest(verifier, waiting.method, waiting.requested).url()
    request = AuthorizationRequest.make(app_settings.CODE_CHALLENGE_METHOD or "S256", key_label)
    url, mode = request.url(), ConnectAttempt.Mode.CODE
    _open(user, mode=mode, browser=browser, request=request, next_url=next_url)
    return url


@sensitive_variables()
def _open(user: AbstractBaseUser, **values: Any) -> ConnectAttempt:
    try:
        return open_attempt(user, **values)
    except ImproperlyConfigured:
        failure = Misconfigured(stage="start")
    raise failure


# Complete


@sensitive_variables()
def complete(
    *, user: AbstractBaseUser, browser: str | None, state: str, answer: MultiValueDict[str, str]
) -> Connected:
    """Finish an attempt with what OpenRouter sent along: exchange the code and store the key.

    Args:
        user: who is signed in now.
        browser: the random value that this browser's session holds, if any.
        state: the state from the callback's path.
        answer: the query parameters of the callback.

    Raises:
        OpenRouterAuthError: its ``code`` tells what happened; an existing connection is
            untouched. Callbacks that fit no attempt of this user and browser change nothing.

    Source: OpenRouter OAuth PKCE guide, step 2.
    """
    attempt = find_attempt(user, browser, state, answer)
    if attempt.claimed_at is not None:
        if attempt.outcome == CONNECTED and attempt.stored_status == OpenRouterKey.Status.ACTIVE:
            return Connected(next_url=attempt.next_url, is_new=False)
        raise explain_claimed(attempt, attempt.claimed_at)
    claim_attempt(attempt)
    return finish_attempt(
        attempt, user, lambda: exchange_and_store(attempt, user, read_code(answer))
    )


@sensitive_variables()
def enter_code(*, user: AbstractBaseUser, browser: str | None, text: str) -> Connected:
    """Finish an attempt with what a person entered: a code, or the address they returned to.

    Args:
        user: who is signed in now.
        browser: the random value that this browser's session holds, if any.
        text: what was entered.

    Raises:
        OpenRouterAuthError: its ``code`` tells what happened; an existing connection is
            untouched. After ``EnteredCodeRejected`` another code may be entered, five in all.
    """
    entry = read_entry(text)
    if entry.state:
        return complete(user=user, browser=browser, state=entry.state, answer=entry.answer)
    attempt = find_code_attempt(user, browser)
    if attempt.claimed_at is not None:
        raise explain_claimed(attempt, attempt.claimed_at)
    claim_attempt(attempt)
    code = read_code(entry.answer)
    return finish_attempt(attempt, user, lambda: exchange_and_store(attempt, user, code))


@sensitive_variables()
def adopt_key(
    *, user: AbstractBaseUser, text: str, mode: str = ConnectAttempt.Mode.PASTED
) -> Connected:
    """Store a key that somebody already has, if OpenRouter accepts it.

    Args:
        user: whose key it shall be.
        text: the key, as it was entered.
        mode: who entered it: the user (``pasted``) or staff (``admin``).

    Raises:
        KeyMalformed: it cannot be a key; OpenRouter was not asked.
        PastedKeyRejected: OpenRouter does not accept it.
        ManagementKey: it could manage the whole account.
        OpenRouterAuthError: it could not be checked, so it was not stored.
    """
    api_key = text.strip()
    if not api_key:
        raise NoKeyEntered(stage="status")
    if not is_api_key(api_key):
        raise KeyMalformed(stage="status")
    # An attempt like any other: a disconnect meanwhile wins, and how it ended is on record.
    attempt = _open(user, mode=mode)
    return finish_attempt(attempt, user, lambda: verify_and_store(attempt, user, api_key))


# Check


def check(user: AbstractBaseUser, *, patience: float | None = None) -> None:
    """Ask OpenRouter about a user's key and write down what it says.

    Args:
        user: whose key.
        patience: seconds for the whole call, if fewer than ``OPENROUTER_AUTH_TIMEOUT`` allows.

    Raises:
        NotConnected: there is no key, or it was replaced or deleted meanwhile.
        Throttled: the key was asked about less than 30 seconds ago.
        KeyUnreadable, KeyRejected, ManagementKey: as they say.
        OpenRouterAuthError: the key could not be checked, and stays as it is.
    """
    key = key_rows().filter(user_id=user.pk).first()
    if key is None:
        raise NotConnected(stage="status")
    try:
        check_key(key, patience=patience)
    finally:
        forget_shown_key(user)


def checked_key(user: AbstractBaseUser) -> OpenRouterKey | None:
    """Return a user's key row, checked first if ``OPENROUTER_AUTH_CHECK_MAX_AGE`` has passed.

    A person waits for the page: OpenRouter has five seconds. What goes wrong is on the row.
    """
    key = find_key(user)
    if key is None or key.status == OpenRouterKey.Status.UNREADABLE:
        return key
    if key.checked_at is not None:
        age = timezone.now() - key.checked_at
        if timedelta() <= age <= app_settings.CHECK_MAX_AGE:
            return key
    with suppress(OpenRouterAuthError):
        check(user, patience=PAGE_PATIENCE)
    return find_key(user)


# Disconnect


def disconnect(user: AbstractBaseUser) -> list[str]:
    """Delete a user's stored key and unfinished attempts; return the fingerprints of what went.

    Works while OpenRouter is down and for keys that can no longer be read. The keys themselves
    stay alive at OpenRouter: an app cannot revoke them. Mostly that is one, or none.
    """
    with transaction.atomic(using=router.db_for_write(OpenRouterKey)):
        deleted = _delete_key(user)
        attempt_rows().filter(user_id=user.pk, outcome="").delete()
        # Waiting for the attempts may have let an exchange finish: its key goes, too.
        deleted += _delete_key(user)
    forget_shown_key(user)
    for key_hash in deleted:
        announce_disconnected(user, key_hash)
    return deleted


def _delete_key(user: AbstractBaseUser) -> list[str]:
    """Delete a user's key and return its fingerprint; what is deleted is what was looked at."""
    mine = key_rows().filter(user_id=user.pk)
    hashes = list(mine.select_for_update().values_list("key_hash", flat=True))
    mine.delete()
    return hashes
