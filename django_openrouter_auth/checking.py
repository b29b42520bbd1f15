"""Asking OpenRouter about a stored key: whose turn it is, the question, and what follows from it.

Only an answer of 401 makes a key ``rejected``. Whatever else goes wrong says nothing about the key.
A verdict is written to the row of the very key that was asked about, and only by the check that
took the latest turn: a reconnect, a disconnect or a later check wins.
"""

import logging
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from django.db.models import Q
from django.utils import timezone
from django.views.decorators.debug import sensitive_variables

from .announcements import announce_rejected
from .exceptions import (
    KeyRejected,
    KeyUnreadable,
    ManagementKey,
    NotConnected,
    OpenRouterAuthError,
    Throttled,
)
from .key_info import KeyInfo
from .keys import key_rows, mark_unreadable, open_connection
from .models import OpenRouterKey

if TYPE_CHECKING:
    from .client import OpenRouterConnection

logger = logging.getLogger("django_openrouter_auth")

CHECK_INTERVAL = timedelta(seconds=30)


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


def stale_keys(older_than: timedelta) -> Any:
    """Return the keys about which OpenRouter said nothing for some time.

    Left out are rejected keys: they stay dead until their owner acts, and would pile up.
    """
    unknown = Q(checked_at=None) | Q(checked_at__lte=timezone.now() - older_than)
    return key_rows().exclude(status=OpenRouterKey.Status.REJECTED).filter(unknown)


@sensitive_variables()
def check_key(key: OpenRouterKey, *, patience: float | None = None) -> KeyInfo:
    """Ask OpenRouter about a stored key and write down what it says.

    Args:
        key: the row.
        patience: seconds for the whole call, if fewer than ``OPENROUTER_AUTH_TIMEOUT`` allows.

    Raises:
        Throttled: the key was asked about less than 30 seconds ago.
        KeyUnreadable: the key cannot be decrypted; OpenRouter was not asked.
        KeyRejected: OpenRouter answered 401.
        ManagementKey: the key could manage the whole account; the row stays as it is.
        NotConnected: the key was replaced or deleted meanwhile.
        ProviderError, OpenRouterAuthError: the key could not be checked and stays as it is.
    """
    turn = take_turn(key)
    answer = ask(turn.api_key, patience=patience)
    settle(turn, answer)
    if isinstance(answer, OpenRouterAuthError):
        raise answer.with_traceback(None)
    return answer


@sensitive_variables()
def take_turn(key: OpenRouterKey) -> Turn:
    """Take the turn to ask about a key, which comes once in 30 seconds; raises as above."""
    began_at = _claim(key)
    try:
        return Turn(key, key.secret.reveal(), began_at)
    except KeyUnreadable:
        mark_unreadable(key.pk, key.key_hash)
        raise


def _claim(key: OpenRouterKey) -> datetime:
    now = timezone.now()
    same = key_rows().filter(pk=key.pk, key_hash=key.key_hash)
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
def ask(api_key: str, *, patience: float | None = None) -> KeyInfo | OpenRouterAuthError:
    """Ask OpenRouter about a key and return its answer, or what went wrong; touches no database."""
    with open_connection() as connection:
        return ask_through(connection, api_key, patience=patience)


@sensitive_variables()
def ask_through(
    connection: "OpenRouterConnection", api_key: str, *, patience: float | None = None
) -> KeyInfo | OpenRouterAuthError:
    """Ask, as above, by a connection that may be used for more than one question."""
    unexpected = ""
    try:
        info = connection.read_key(api_key, patience=patience)
    except OpenRouterAuthError as error:
        return error.with_traceback(None)
    # Django's report of an unhandled exception would show the request, and so the key.
    except Exception as error:  # noqa: BLE001 - as said
        unexpected = type(error).__name__
    if unexpected:
        logger.warning("openrouter check failed: unexpected=%s", unexpected)
        return OpenRouterAuthError(stage="status")
    return ManagementKey(stage="status") if info.is_management_key else info


def settle(turn: Turn, answer: KeyInfo | OpenRouterAuthError) -> None:
    """Write down what OpenRouter said, unless the row is about another key or check by now."""
    now = timezone.now()
    same = key_rows().filter(
        pk=turn.key.pk, key_hash=turn.key.key_hash, check_began_at=turn.began_at
    )
    if isinstance(answer, KeyInfo):
        known = {**answer.as_fields(), "checked_at": now, "check_error": "", "updated_at": now}
        same.update(status=OpenRouterKey.Status.ACTIVE, **known)
    elif isinstance(answer, KeyRejected):
        if not _reject(same, turn.key.pk):
            same.update(checked_at=now, check_error="", updated_at=now)
    else:
        same.update(check_error=answer.code, updated_at=now)
        logger.info("openrouter key not checked: code=%s user=%s", answer.code, turn.key.user_id)


def _reject(same: Any, pk: object) -> bool:
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
    pk, key_hash = error.row
    if isinstance(error, KeyRejected):
        _reject(key_rows().filter(pk=pk, key_hash=key_hash), pk)
    else:
        mark_unreadable(pk, key_hash)


@sensitive_variables()
def confirm_rejection(key: OpenRouterKey, api_key: str) -> KeyRejected | None:
    """Return the error to raise if OpenRouter rejects a key, after it answered 401 to a call.

    Asks at most once in 30 seconds, like any check: a site that goes on calling with a key that
    is not confirmed to be dead must not double its requests.
    """
    try:
        turn = Turn(key, api_key, _claim(key))
    except Throttled:
        same = key_rows().filter(pk=key.pk, key_hash=key.key_hash)
        is_dead = same.filter(status=OpenRouterKey.Status.REJECTED).exists()
    except NotConnected:
        # The key was replaced or deleted meanwhile, so that there is nothing to write down.
        is_dead = isinstance(ask(api_key), KeyRejected)
    else:
        answer = ask(api_key)
        settle(turn, answer)
        is_dead = isinstance(answer, KeyRejected)
    if not is_dead:
        return None
    rejection = KeyRejected(stage="use", status_code=401)
    rejection.row = (key.pk, key.key_hash)
    return rejection
