"""A user's stored key: finding it, revealing it, and calling OpenRouter with it."""

import logging
from datetime import datetime
from typing import TYPE_CHECKING, Any, NamedTuple

from django.contrib.auth.base_user import AbstractBaseUser
from django.contrib.auth.models import AnonymousUser
from django.db import router
from django.utils import timezone
from django.views.decorators.debug import sensitive_variables

from .exceptions import KeyRejected, KeyUnreadable, NotConnected, OpenRouterAuthError
from .models import OpenRouterKey

if TYPE_CHECKING:
    from .client import OpenRouterConnection, OpenRouterSession

logger = logging.getLogger("django_openrouter_auth")

User = AbstractBaseUser | AnonymousUser


def key_rows() -> Any:
    """Return all keys, in the database that is written to: a replica may not know a new one."""
    return OpenRouterKey.objects.using(router.db_for_write(OpenRouterKey))


def open_connection() -> "OpenRouterConnection":
    """Open one short conversation with OpenRouter."""
    # requests takes long to import, and most processes never call OpenRouter.
    from .client import OpenRouterConnection  # noqa: PLC0415 - as said

    return OpenRouterConnection()


def find_key(user: AbstractBaseUser) -> OpenRouterKey | None:
    """Return a user's key row, with the secret left in the database; ``None`` without one."""
    key: OpenRouterKey | None = key_rows().defer("secret").filter(user_id=user.pk).first()
    return key


class ShownKey(NamedTuple):
    """What a button shows of a key."""

    hint: str
    is_usable: bool


class _Remembered(NamedTuple):
    """A look-up that is kept on a user object; copies that are pickled forget it."""

    shown: ShownKey | None

    def __reduce__(self) -> tuple[Any, ...]:
        return (bool, ())


def show_key(user: Any) -> ShownKey | None:
    """Return what a button shows of a user's key, asking the database once per user object."""
    remembered = getattr(user, "openrouter_shown_key", None)
    if not isinstance(remembered, _Remembered):
        rows = key_rows().filter(user_id=user.pk).values_list("hint", "status")
        found = [ShownKey(hint, status == OpenRouterKey.Status.ACTIVE) for hint, status in rows]
        remembered = user.openrouter_shown_key = _Remembered(found[0] if found else None)
    return remembered.shown


def forget_shown_key(user: Any) -> None:
    """Let the next button look again, after the key was stored or deleted."""
    user.openrouter_shown_key = None


def reveal_key(user: User | None) -> str:
    """Return a user's key in plain text.

    Raises:
        NotConnected: the user has no key, or nobody is signed in.
        KeyRejected: OpenRouter rejected the key.
        KeyUnreadable: the key cannot be decrypted; the row says so from now on.
    """
    return _reveal(user)[1]


def open_session(user: User | None) -> "OpenRouterSession":
    """Return a session that calls OpenRouter with a user's key; raises as ``reveal_key`` does."""
    from .client import OpenRouterSession  # noqa: PLC0415 - as in open_connection

    key, api_key = _reveal(user)
    return OpenRouterSession(api_key, is_rejected=lambda: _confirm_rejection(key, api_key))


@sensitive_variables()
def _reveal(user: User | None) -> tuple[OpenRouterKey, str]:
    key: OpenRouterKey | None = None
    if user is not None and user.pk is not None:
        key = key_rows().filter(user_id=user.pk).first()
    if key is None:
        raise NotConnected(stage="use")
    if key.status == OpenRouterKey.Status.REJECTED:
        raise KeyRejected(stage="use")
    try:
        api_key: str = key.secret.reveal()
    except KeyUnreadable:
        _set_status(key, OpenRouterKey.Status.UNREADABLE, unless=OpenRouterKey.Status.REJECTED)
        raise
    if key.status == OpenRouterKey.Status.UNREADABLE:
        _set_status(key, OpenRouterKey.Status.ACTIVE, unless=OpenRouterKey.Status.REJECTED)
    return key, api_key


@sensitive_variables()
def _confirm_rejection(key: OpenRouterKey, api_key: str) -> bool:
    """Ask OpenRouter whether a key is dead, after it answered 401; if so, write it down."""
    try:
        with open_connection() as connection:
            connection.read_key(api_key)
    except KeyRejected:
        _set_status(key, OpenRouterKey.Status.REJECTED, checked_at=timezone.now())
        return True
    except OpenRouterAuthError as error:
        logger.info("openrouter 401 not confirmed: code=%s user=%s", error.code, key.user_id)
    return False


def _set_status(key: OpenRouterKey, status: str, *, unless: str = "", **also: datetime) -> None:
    """Change the status of the very key that was looked at, never of one that replaced it."""
    same = key_rows().filter(pk=key.pk, key_hash=key.key_hash)
    same.exclude(status__in=[status, unless]).update(
        status=status, updated_at=timezone.now(), **also
    )
