"""The use cases of the flow: begin, complete and disconnect.

A connection is made in this order, and no step touches the network inside a transaction::

    begin ──> attempt row ──> (OpenRouter) ──> claim ──> exchange ──> GET /key ──> store
"""

import logging
import secrets
from dataclasses import dataclass
from typing import Any

from django.contrib.auth.base_user import AbstractBaseUser
from django.core.exceptions import ImproperlyConfigured
from django.db import router, transaction
from django.utils.datastructures import MultiValueDict
from django.views.decorators.debug import sensitive_variables

from .attempts import (
    CONNECTED,
    attempt_rows,
    claim_attempt,
    end_attempt,
    explain_claimed,
    find_attempt,
    open_attempt,
    require_age,
)
from .authorization import build_authorization_url, read_code, require_safe_start
from .conf import app_settings
from .exceptions import (
    AttemptInterrupted,
    KeyRefusedAtConnect,
    KeyRejected,
    KeyUnreadable,
    ManagementKey,
    Misconfigured,
    OpenRouterAuthError,
)
from .keys import forget_shown_key, key_rows, open_connection
from .models import OpenRouterKey
from .pkce import make_code_challenge, make_code_verifier
from .storing import store_key, stored_hash

logger = logging.getLogger("django_openrouter_auth")

FIRST_CHECK_PATIENCE = 5


@dataclass(frozen=True)
class Connected:
    """What a finished attempt came to.

    Attributes:
        next_url: where the user wanted to go, or an empty string.
        is_new: whether this request made the connection, rather than an earlier one.
        is_checked: whether OpenRouter confirmed the key.
        replaced_hash: fingerprint of the key that was stored before, or ``None``.
    """

    next_url: str
    is_new: bool
    is_checked: bool = True
    replaced_hash: str | None = None


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
    require_safe_start(origin)
    state = secrets.token_urlsafe(32)
    method = app_settings.CODE_CHALLENGE_METHOD
    verifier = make_code_verifier() if method is not None else None
    challenge = make_code_challenge(verifier, method) if verifier and method else None
    url = build_authorization_url(origin, state, challenge, method, key_label)
    try:
        open_attempt(
            user,
            state=state,
            browser=browser,
            code_verifier=verifier,
            method=method,
            next_url=next_url,
        )
    except ImproperlyConfigured:
        failure = Misconfigured(stage="start")
    else:
        return url
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
    failure: OpenRouterAuthError
    unexpected = ""
    try:
        require_age(attempt)
        return _exchange_and_store(attempt, user, read_code(answer))
    except OpenRouterAuthError as error:
        failure = error
    # The promise is that nothing at all leaves here unhandled: Django's report of an unhandled
    # exception would hold the request, and so the code.
    except Exception as error:  # noqa: BLE001 - as said
        unexpected = type(error).__name__
        failure = OpenRouterAuthError(stage="callback", outcome_unknown=True)
    logger.log(
        logging.INFO if failure.level == "info" else logging.WARNING,
        "openrouter connect failed: code=%s stage=%s status=%s user=%s%s",
        failure.code,
        failure.stage,
        failure.status_code,
        attempt.user_id,
        f" unexpected={unexpected}" if unexpected else "",
    )
    end_attempt(attempt, failure)
    failure.next_url = attempt.next_url
    raise failure.with_traceback(None)


@sensitive_variables()
def _exchange_and_store(attempt: Any, user: AbstractBaseUser, code: str) -> Connected:
    method = attempt.method or None
    verifier = _reveal_verifier(attempt) if method else None
    with open_connection() as connection:
        exchanged = connection.exchange_code(code, verifier, method)
        is_refused, info = False, None
        try:
            info = connection.read_key(exchanged.api_key, patience=FIRST_CHECK_PATIENCE)
        except KeyRejected:
            is_refused = True
        # The code is spent and the key exists: whatever went wrong here must not lose it.
        except Exception as error:  # noqa: BLE001 - as said
            logger.info("openrouter new key not checked: %s user=%s", type(error).__name__, user.pk)
    if is_refused:
        raise KeyRefusedAtConnect(stage="status", outcome_unknown=True)
    if info is not None and info.is_management_key:
        raise ManagementKey(stage="status", outcome_unknown=True)
    replaced = store_key(attempt, user, exchanged, info)
    forget_shown_key(user)
    return Connected(attempt.next_url, True, info is not None, replaced)


def _reveal_verifier(attempt: Any) -> str:
    try:
        verifier: str = attempt.code_verifier.reveal()
    except KeyUnreadable:
        verifier = ""
    if not verifier:
        # The encryption key was taken away while the user was at OpenRouter.
        raise AttemptInterrupted(stage="callback")
    return verifier


# Disconnect


def disconnect(user: AbstractBaseUser) -> str | None:
    """Delete a user's stored key and unfinished attempts; return the key's fingerprint.

    Works while OpenRouter is down and for keys that can no longer be read. The key itself stays
    alive at OpenRouter: an app cannot revoke it.
    """
    with transaction.atomic(using=router.db_for_write(OpenRouterKey)):
        key_hash = stored_hash(user)
        mine = key_rows().filter(user_id=user.pk)
        mine.delete()
        attempt_rows().filter(user_id=user.pk, outcome="").delete()
        # Waiting for the attempts may have let an exchange finish: its key goes, too.
        mine.delete()
    forget_shown_key(user)
    return key_hash
