"""Counting what a request does: SQL statements, commits and decryptions."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from unittest import mock

from cryptography.fernet import Fernet
from django.db import DEFAULT_DB_ALIAS, connections

# They open and close transactions; COMMIT is no statement for Django, so none of them count.
TRANSACTION = ("BEGIN", "COMMIT", "ROLLBACK", "SAVEPOINT", "RELEASE")
WRITES = ("INSERT", "UPDATE", "DELETE")
# The columns that hold a key: encrypted in the first two versions, in plain text in the others.
KEY_COLUMNS = ("secret", "api_key", "token", "extra_data", "access_token")
QUOTES = ('"', "`")


@dataclass
class Observation:
    """What one request did.

    Attributes:
        commits: how often changed rows were committed, which waits for the disk.
    """

    statements: list[str] = field(default_factory=list)
    commits: int = 0
    decryptions: int = 0

    @property
    def reads_key(self) -> bool:
        """Whether a statement names a column that holds a key."""
        names = [f"{quote}{column}{quote}" for column in KEY_COLUMNS for quote in QUOTES]
        return any(name in sql for sql in self.statements for name in names)


@contextmanager
def observing() -> Iterator[Observation]:
    """Count what is done in the block."""
    seen = Observation()
    connection = connections[DEFAULT_DB_ALIAS]
    decrypt, commit = Fernet.decrypt, connection.commit
    uncommitted = False

    def count_statement(
        execute: Callable[..., Any], sql: str, params: Any, many: bool, context: dict[str, Any]
    ) -> Any:
        nonlocal uncommitted
        result = execute(sql, params, many, context)
        if not sql.startswith(TRANSACTION):
            seen.statements.append(sql)
        # Nothing is written to the disk for a statement that found no rows; while the result of
        # an INSERT … RETURNING is not fetched, SQLite counts none for it.
        found = sql.startswith("INSERT") or context["cursor"].rowcount != 0
        if sql.startswith(WRITES) and found:
            if connection.in_atomic_block:
                uncommitted = True
            else:
                seen.commits += 1
        return result

    def count_commit() -> None:
        nonlocal uncommitted
        commit()
        seen.commits += uncommitted
        uncommitted = False

    def count_decryption(self: Fernet, *args: Any, **kwargs: Any) -> bytes:
        seen.decryptions += 1
        return decrypt(self, *args, **kwargs)

    with (
        connection.execute_wrapper(count_statement),
        mock.patch.object(connection, "commit", count_commit),
        mock.patch.object(Fernet, "decrypt", count_decryption),
    ):
        yield seen
