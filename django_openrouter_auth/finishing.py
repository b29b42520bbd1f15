"""Finishing an attempt that was claimed: obtain a key, store it, write down how that ended."""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from django.contrib.auth.base_user import AbstractBaseUser
from django.views.decorators.debug import sensitive_variables

from .announcements import announce_connected, announce_failed
from .attempts import end_attempt, release_attempt, require_age
from .exceptions import (
    AttemptInterrupted,
    EnteredCodeRejected,
    ExchangeRejected,
    KeyRejected,
    KeyUnreadable,
    LastCodeRejected,
    ManagementKey,
    NewKeyRejected,
    OpenRouterAuthError,
    PastedKeyNotStored,
    PastedKeyRejected,
    StorageFailed,
)
from .introspection import ask
from .key_info import KeyInfo
from .keys import forget_shown_key, open_connection
from .models import ConnectAttempt, OpenRouterKey
from .storing import store_key, stored_hash

logger = logging.getLogger("django_openrouter_auth")

FIRST_CHECK_PATIENCE = 5
SOURCES: dict[str, str] = {
    ConnectAttempt.Mode.CALLBACK: OpenRouterKey.Source.OAUTH,
    ConnectAttempt.Mode.CODE: OpenRouterKey.Source.CODE,
    ConnectAttempt.Mode.PASTED: OpenRouterKey.Source.PASTED,
    ConnectAttempt.Mode.ADMIN: OpenRouterKey.Source.ADMIN,
}
# The key itself was entered, so that none is left over at OpenRouter whatever goes wrong.
ENTERED = (ConnectAttempt.Mode.PASTED, ConnectAttempt.Mode.ADMIN)


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


@sensitive_variables()
def finish_attempt(
    attempt: ConnectAttempt, user: AbstractBaseUser, obtain: Callable[[], Connected]
) -> Connected:
    """Obtain a key for an attempt that was claimed, and write down how that ended."""
    failure: OpenRouterAuthError
    unexpected = ""
    is_entered = attempt.mode in ENTERED
    try:
        require_age(attempt)
        connected = obtain()
    except OpenRouterAuthError as error:
        failure = error
    # The promise is that nothing at all leaves here unhandled: Django's report of an unhandled
    # exception would hold the request, and so the code.
    except Exception as error:  # noqa: BLE001 - its report would hold the code
        unexpected = type(error).__name__
        failure = OpenRouterAuthError(stage="callback", outcome_unknown=not is_entered)
    else:
        forget_shown_key(user)
        announce_connected(user, replaced=connected.replaced_hash is not None)
        return connected
    if isinstance(failure, ExchangeRejected) and attempt.mode == ConnectAttempt.Mode.CODE:
        may_try_again = release_attempt(attempt)
        refused = EnteredCodeRejected if may_try_again else LastCodeRejected
        failure = refused(stage=failure.stage, status_code=failure.status_code)
    if isinstance(failure, StorageFailed) and is_entered:
        failure = PastedKeyNotStored(stage=failure.stage)
    logger.log(
        logging.INFO if failure.level == "info" else logging.WARNING,
        "openrouter connect failed: code=%s stage=%s status=%s user=%s%s",
        failure.code,
        failure.stage,
        failure.status_code,
        attempt.user_id,
        f" unexpected={unexpected}" if unexpected else "",
    )
    failure.next_url = attempt.next_url
    if not isinstance(failure, EnteredCodeRejected):
        end_attempt(attempt, failure)
        announce_failed(user, failure.code)
    raise failure.with_traceback(None)


@sensitive_variables()
def exchange_and_store(attempt: Any, user: AbstractBaseUser, code: str) -> Connected:
    """Exchange a code for a key, have the key checked, and store it."""
    method = attempt.method or None
    verifier = _reveal_verifier(attempt) if method else None
    with open_connection() as connection:
        exchanged = connection.exchange_code(code, verifier, method)
        # The code is spent and the key exists: whatever goes wrong here must not lose it.
        answer = ask(exchanged.api_key, connection, patience=FIRST_CHECK_PATIENCE)
    if isinstance(answer, KeyRejected):
        raise NewKeyRejected(stage="status", outcome_unknown=True)
    if isinstance(answer, ManagementKey):
        raise ManagementKey(stage="status", outcome_unknown=True)
    info = answer if isinstance(answer, KeyInfo) else None
    replaced = store_key(
        attempt,
        user,
        exchanged.api_key,
        info,
        expected_hash=attempt.stored_key_hash,
        source=SOURCES[attempt.mode],
        openrouter_user_id=exchanged.openrouter_user_id,
    )
    return Connected(
        attempt.next_url, is_new=True, is_checked=info is not None, replaced_hash=replaced
    )


@sensitive_variables()
def verify_and_store(attempt: ConnectAttempt, user: AbstractBaseUser, api_key: str) -> Connected:
    """Store a key that was entered, if OpenRouter accepts it."""
    expected = stored_hash(user)
    with open_connection() as connection:
        answer = ask(api_key, connection)
    if isinstance(answer, KeyRejected):
        raise PastedKeyRejected(stage="status", status_code=answer.status_code)
    if isinstance(answer, OpenRouterAuthError):
        raise answer
    replaced = store_key(
        attempt,
        user,
        api_key,
        answer,
        expected_hash=expected,
        source=SOURCES[attempt.mode],
    )
    return Connected(next_url="", is_new=True, replaced_hash=replaced)


def _reveal_verifier(attempt: Any) -> str:
    try:
        verifier: str = attempt.code_verifier.reveal()
    except KeyUnreadable:
        verifier = ""
    if not verifier:
        # The encryption key was taken away while the user was at OpenRouter.
        raise AttemptInterrupted(stage="callback")
    return verifier
