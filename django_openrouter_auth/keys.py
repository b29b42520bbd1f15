"""A user's stored key: finding it and revealing it."""

from datetime import datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any, NamedTuple

from django.contrib.auth.base_user import AbstractBaseUser
from django.contrib.auth.models import AnonymousUser
from django.db import connections, router
from django.db.models import QuerySet
from django.db.models.query import RawQuerySet
from django.utils import timezone
from django.views.decorators.debug import sensitive_variables

from .exceptions import KeyRejected, KeyUnreadable, NotConnected
from .models import KeyFacts, OpenRouterKey
from .tables import OUR_TABLES, migrated

if TYPE_CHECKING:
    from .client import OpenRouterConnection

User = AbstractBaseUser | AnonymousUser
ACTIVE = OpenRouterKey.Status.ACTIVE


def key_rows() -> "QuerySet[OpenRouterKey]":
    """Return all keys, in the database that is written to: a replica may not know a new one."""
    return OpenRouterKey.objects.using(router.db_for_write(OpenRouterKey))


def open_connection() -> "OpenRouterConnection":
    """Open one short conversation with OpenRouter."""
    # requests takes long to import, and most processes never call OpenRouter.
    from .client import OpenRouterConnection  # noqa: PLC0415 - slow, and often not needed

    return OpenRouterConnection()


def find_key(user: AbstractBaseUser) -> OpenRouterKey | None:
    """Return a user's key row, with the secret left in the database; ``None`` without one."""
    return key_rows().defer("secret").filter(user_id=user.pk).first()


class _ShownFields(NamedTuple):
    hint: str
    status: str
    key_hash: str
    usage: Decimal | None
    limit: Decimal | None
    limit_remaining: Decimal | None
    is_limited: bool | None
    limit_reset: str
    expires_at: datetime | None
    checked_at: datetime | None


class ShownKey(KeyFacts, _ShownFields):
    """What a button or a card shows of a key."""

    __slots__ = ()


class _Remembered(NamedTuple):
    """A look-up that is kept on a user object; copies that are pickled forget it."""

    shown: ShownKey | None

    def __reduce__(self) -> tuple[Any, ...]:
        return (bool, ())


@migrated(*OUR_TABLES)
def show_key(user: Any) -> ShownKey | None:
    """Return what a page shows of a user's key, asking the database once per user object."""
    remembered = getattr(user, "openrouter_shown_key", None)
    if not isinstance(remembered, _Remembered):
        found = [
            ShownKey(*(getattr(row, name) for name in ShownKey._fields))
            for row in _rows_to_show(user)
        ]
        remembered = user.openrouter_shown_key = _Remembered(found[0] if found else None)
    return remembered.shown


def _rows_to_show(user: Any) -> "RawQuerySet[OpenRouterKey]":
    """Return a user's row with what is shown of it.

    In SQL, because each page with a button asks for it, and Django takes longer to compile the
    query than for all the rest of a button.
    """
    alias = router.db_for_write(OpenRouterKey)
    connection = connections[alias]
    quote = connection.ops.quote_name
    columns = ", ".join(map(quote, ("id", *ShownKey._fields)))
    owner = OpenRouterKey._meta.get_field("user").get_db_prep_value(user.pk, connection)
    return OpenRouterKey.objects.using(alias).raw(
        f"SELECT {columns} FROM {quote(OpenRouterKey._meta.db_table)} WHERE user_id = %s",  # noqa: S608 - own names, no input
        [owner],
    )


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
    return read_key_row(user)[1]


@migrated(*OUR_TABLES)
@sensitive_variables()
def read_key_row(user: User | None) -> tuple[OpenRouterKey, str]:
    """Return a user's key row and the key in plain text; raises as ``reveal_key`` does."""
    key: OpenRouterKey | None = None
    if user is not None and user.pk is not None:
        key = key_rows().filter(user_id=user.pk).first()
    if key is None:
        raise NotConnected(stage="use")
    if key.status == OpenRouterKey.Status.REJECTED:
        raise KeyRejected(stage="use")
    try:
        api_key: str = key.secret.reveal()
    except KeyUnreadable as error:
        error.row = identity(key)
        mark_unreadable(*error.row)
        raise
    mark_readable(key)
    return key, api_key


def identity(key: OpenRouterKey) -> tuple[int, str, datetime]:
    """Return what tells a key from one that replaced it, be it the same key connected again."""
    return key.pk, key.key_hash, key.connected_at


def same_key(pk: int, key_hash: str, connected_at: datetime) -> "QuerySet[OpenRouterKey]":
    """Return the very key that was looked at, never one that replaced it."""
    return key_rows().filter(pk=pk, key_hash=key_hash, connected_at=connected_at)


def mark_unreadable(pk: int, key_hash: str, connected_at: datetime) -> None:
    """Write down that a key cannot be decrypted."""
    usable = same_key(pk, key_hash, connected_at).filter(status=ACTIVE)
    usable.update(status=OpenRouterKey.Status.UNREADABLE, updated_at=timezone.now())


def mark_readable(key: OpenRouterKey) -> None:
    """Write down that a key can be decrypted again, where its row said that it cannot."""
    if key.status == OpenRouterKey.Status.UNREADABLE:
        unreadable = same_key(*identity(key)).filter(status=OpenRouterKey.Status.UNREADABLE)
        unreadable.update(status=ACTIVE, check_error="", updated_at=timezone.now())
