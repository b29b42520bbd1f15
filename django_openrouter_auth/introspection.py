"""Asking OpenRouter about a stored key: whose turn it is, the question, and what follows from it.

Only an answer of 401 makes a key ``rejected``. Whatever else goes wrong says nothing about the key.
A verdict is written to the row of the very key that was asked about, and only by the check that
took the latest turn: a reconnect, a disconnect or a later check wins.
"""

import logging
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from django.db.models import Q, QuerySet
from django.utils import timezone
from django.views.decorators.debug import sensitive_variables

from .announcements import announce_rejected
from .exceptions import (
    KeyChanged,
    KeyRejected,
    KeyUnreadable,
    ManagementKey,
    NotConnected,
    OpenRouterAuthError,
    Throttled,
)
from .key_info import KeyInfo
from .keys import (
    identity,
    key_rows,
    mark_readable,
    mark_unreadable,
    open_connection,
    same_key,
)
from .models import OpenRouterKey

if TYPE_CHECKING:
    from .client import OpenRouterConnection

logger = logging.getLogger("django_openrouter_auth")

CHECK_INTERVAL = timedelta(seconds=30)
# Somebody waits for an answer, maybe in a transaction that now holds the row.
CONFIRM_PATIENCE = 5


@dataclass(frozen=True)
class Turn:
    """The turn to ask OpenRouter about one key.

    Attributes:
        key: the row, as it was when the turn was taken.
        api_key: the key itself.
        began_at: when the turn was taken.
    """

    key: OpenRouterKey
    api_key: str = field(repr=False)
    began_at: datetime


def stale_keys(older_than: timedelta) -> "QuerySet[OpenRouterKey]":
    """Return the keys about which OpenRouter said nothing for some time.

    Left out are rejected keys: they stay dead until their owner acts, and would pile up.
    """
    unknown = Q(checked_at=None) | Q(checked_at__lte=timezone.now() - older_than)
    return key_rows().exclude(status=OpenRouterKey.Status.REJECTED).filter(unknown)


@sensitive_variables()
def check_key(
    key: OpenRouterKey,
    connection: "OpenRouterConnection | None" = None,
    *,
    patience: float | None = None,
) -> KeyInfo:
    """Ask OpenRouter about a stored key and write down what it says.

    Args:
        key: the row.
        connection: one that is open already; ``None`` opens one for this question.
        patience: seconds for the whole call, if fewer than ``OPENROUTER_AUTH_TIMEOUT`` allows.

    Raises:
        Throttled: the key was asked about less than 30 seconds ago.
        KeyUnreadable: the key cannot be decrypted; OpenRouter was not asked.
        KeyRejected: OpenRouter answered 401.
        ManagementKey: the key could manage the whole account; the row stays as it is.
        NotConnected: the key was replaced or deleted before OpenRouter was asked.
        KeyChanged: it was replaced, deleted or checked once more while OpenRouter was asked.
        ProviderError, OpenRouterAuthError: the key could not be checked and stays as it is.
    """
    turn = take_turn(key)
    with ExitStack() as stack:
        connection = connection or stack.enter_context(open_connection())
        answer = ask(turn.api_key, connection, patience=patience)
    if not settle(turn, answer):
        raise KeyChanged(stage="status")
    if isinstance(answer, OpenRouterAuthError):
        raise answer.with_traceback(None)
    return answer


@sensitive_variables()
def take_turn(key: OpenRouterKey) -> Turn:
    """Take the turn to ask about a key, which comes once in 30 seconds.

    Raises:
        Throttled: somebody had it less than 30 seconds ago.
        NotConnected: the key was replaced or deleted meanwhile.
        KeyUnreadable: the key cannot be decrypted, which the row says from now on.
    """
    began_at = _claim(key)
    try:
        turn = Turn(key, key.secret.reveal(), began_at)
    except KeyUnreadable:
        mark_unreadable(*identity(key))
        # As any check that failed: the next run asks about others first.
        same_key(*identity(key)).update(check_error=KeyUnreadable.code)
        raise
    # Whatever OpenRouter says, or does not say: the key itself is there again.
    mark_readable(key)
    return turn


def _claim(key: OpenRouterKey) -> datetime:
    now = timezone.now()
    same = same_key(*identity(key))
    # Clocks of several servers differ a little; a time far ahead is a clock that was set back.
    is_free = (
        Q(check_began_at=None)
        | Q(check_began_at__lte=now - CHECK_INTERVAL)
        | Q(check_began_at__gt=now + CHECK_INTERVAL)
    )
    if same.filter(is_free).update(check_began_at=now):
        return now
    last = same.values_list("check_began_at", flat=True).first()
    if last is None:
        raise NotConnected(stage="status")
    left = (last + CHECK_INTERVAL - now).total_seconds()
    raise Throttled(stage="status", retry_after=max(1, round(left)))


@sensitive_variables()
def ask(
    api_key: str, connection: "OpenRouterConnection", *, patience: float | None = None
) -> KeyInfo | OpenRouterAuthError:
    """Ask OpenRouter about a key and return its answer, or what went wrong; touches no database."""
    unexpected = ""
    try:
        info = connection.read_key(api_key, patience=patience)
    except OpenRouterAuthError as error:
        return error.with_traceback(None)
    # Django's report of an unhandled exception would show the request, and so the key.
    except Exception as error:  # noqa: BLE001 - its report would hold the key
        unexpected = type(error).__name__
    if unexpected:
        logger.warning("openrouter check failed: unexpected=%s", unexpected)
        return OpenRouterAuthError(stage="status")
    return ManagementKey(stage="status") if info.is_management_key else info


def settle(turn: Turn, answer: KeyInfo | OpenRouterAuthError) -> bool:
    """Write down what OpenRouter said; return whether the row was still about the same check."""
    now = timezone.now()
    same = same_key(*identity(turn.key)).filter(check_began_at=turn.began_at)
    if isinstance(answer, KeyInfo):
        known = {**answer.as_fields(), "checked_at": now, "check_error": "", "updated_at": now}
        return bool(same.update(status=OpenRouterKey.Status.ACTIVE, **known))
    if isinstance(answer, KeyRejected):
        return _reject(same, turn.key.pk) or bool(
            same.update(checked_at=now, check_error="", updated_at=now)
        )
    logger.info("openrouter key not checked: code=%s user=%s", answer.code, turn.key.user_id)
    return bool(same.update(check_error=answer.code, updated_at=now))


def _reject(same: "QuerySet[OpenRouterKey]", pk: int) -> bool:
    """Mark a key as rejected and tell, if it was not before."""
    now = timezone.now()
    rejected = OpenRouterKey.Status.REJECTED
    known = {"checked_at": now, "check_error": "", "updated_at": now}
    is_new = bool(same.exclude(status=rejected).update(status=rejected, **known))
    if is_new:
        announce_rejected(pk)
    return is_new


def repeat_verdict(error: OpenRouterAuthError) -> None:
    """Write down once more what was found out about a key.

    Args:
        error: what a view raised. Under ``ATOMIC_REQUESTS`` what it wrote about the key was
            rolled back with all the rest, and the next request would find it out again.
    """
    if error.row is None:
        return
    if isinstance(error, KeyRejected):
        _reject(same_key(*error.row), error.row[0])
    else:
        mark_unreadable(*error.row)


@sensitive_variables()
def confirm_rejection(key: OpenRouterKey, api_key: str) -> KeyRejected | None:
    """Return the error to raise if OpenRouter rejects a key, after it answered 401 to a call.

    Asks at most once in 30 seconds, like any check: a site that goes on calling with a key that
    is not confirmed to be dead must not double its requests.
    """
    try:
        turn = Turn(key, api_key, _claim(key))
    except Throttled:
        is_dead = same_key(*identity(key)).filter(status=OpenRouterKey.Status.REJECTED).exists()
    except NotConnected:
        # The key was replaced or deleted meanwhile, so that there is nothing to write down.
        is_dead = isinstance(_ask_once(api_key), KeyRejected)
    else:
        answer = _ask_once(api_key)
        settle(turn, answer)
        is_dead = isinstance(answer, KeyRejected)
    if not is_dead:
        return None
    rejection = KeyRejected(stage="use", status_code=401)
    rejection.row = identity(key)
    return rejection


@sensitive_variables()
def _ask_once(api_key: str) -> KeyInfo | OpenRouterAuthError:
    with open_connection() as connection:
        return ask(api_key, connection, patience=CONFIRM_PATIENCE)
