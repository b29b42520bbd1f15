"""Re-encrypting stored keys with the newest encryption key."""

from collections.abc import Iterator
from operator import add
from typing import NamedTuple

from django.db import connections, reset_queries, transaction
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import BinaryField, ExpressionWrapper, F

from .fields import reencryption
from .models import OpenRouterKey

BATCH_SIZE = 1000


class RotationCounts(NamedTuple):
    """What became of rows.

    Attributes:
        rotated: re-encrypted with the newest key; in a dry run, those that would be.
        newest: encrypted with the newest key already.
        unreadable: opened by no key, and left as they are.
        changed: replaced or deleted by somebody else meanwhile, and left to them.
    """

    rotated: int = 0
    newest: int = 0
    unreadable: int = 0
    changed: int = 0

    def plus(self, other: "RotationCounts") -> "RotationCounts":
        """Return the sums."""
        return RotationCounts(*map(add, self, other))


class _Change(NamedTuple):
    """One row: its new ciphertext, and what was read, as the database gave it."""

    token: bytes
    pk: int
    held: bytes | str


def count_keys(using: str) -> int:
    """Return how many keys a database holds."""
    return OpenRouterKey.objects.using(using).count()


def rotate_keys(
    using: str, *, batch_size: int = BATCH_SIZE, dry_run: bool = False
) -> Iterator[RotationCounts]:
    """Re-encrypt all keys of a database, and yield the counts of each batch once it is stored.

    A row is written only where it still holds what was read, so that a reconnect meanwhile is
    never undone. Stopped at any moment, it leaves every row readable by the keys in use.

    Raises:
        ImproperlyConfigured: where the encryption keys cannot be used.
        Error: whatever the database refuses; earlier batches stay stored.
    """
    reencrypt = reencryption()
    for rows in _batches(using, batch_size):
        changes: list[_Change] = []
        newest = unreadable = 0
        for pk, held in rows:
            token = held.encode() if isinstance(held, str) else held
            fresh = reencrypt(token)
            if fresh is None:
                unreadable += 1
            elif fresh is token:
                newest += 1
            else:
                changes.append(_Change(fresh, pk, held))
        # Neither reading nor encrypting holds a lock: the transaction is the writing alone.
        written = len(changes) if dry_run else _write(connections[using], changes)
        yield RotationCounts(written, newest, unreadable, len(changes) - written)
        # With DEBUG, Django keeps the text of every statement.
        reset_queries()


def _batches(using: str, size: int) -> Iterator[list[tuple[int, bytes | str]]]:
    """Read primary keys and raw ciphertext in the order of the primary key."""
    raw = ExpressionWrapper(F("secret"), output_field=BinaryField())
    rows = OpenRouterKey.objects.using(using).order_by("pk").values_list("pk", raw)
    batch = list(rows[:size])
    while batch:
        # SQLite may hold text where bytes belong, and compares text with text only.
        yield [(pk, held if isinstance(held, str) else bytes(held)) for pk, held in batch]
        batch = list(rows.filter(pk__gt=batch[-1][0])[:size])


def _write(connection: BaseDatabaseWrapper, changes: list[_Change]) -> int:
    """Store the new ciphertext of rows that still hold the old one; return how many did."""
    if not changes:
        return 0
    table = connection.ops.quote_name(OpenRouterKey._meta.db_table)
    update = f"UPDATE {table} SET secret = "  # noqa: S608 - the name is the model's own
    with transaction.atomic(using=connection.alias), connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            # One statement for all rows, and a text in place of an array of bytes: on a million
            # rows each saves seconds (see benchmarks/).
            tokens, pks, held = zip(*changes, strict=True)
            cursor.execute(
                f"{update} new.token::bytea FROM unnest("
                " string_to_array(%s, ' '), %s::bigint[], string_to_array(%s, ' ')"
                ") AS new (token, pk, held)"
                f" WHERE {table}.id = new.pk AND {table}.secret = decode(new.held, 'hex')",
                # What is held may be any bytes; a new token is always base64.
                [b" ".join(tokens).decode(), list(pks), " ".join(map(bytes.hex, held))],
            )
        else:
            cursor.executemany(f"{update} %s WHERE id = %s AND secret = %s", changes)
        return int(cursor.rowcount)
