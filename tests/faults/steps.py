"""Every step of a request at which something can break: statements, commits, calls."""

import os
import re
import signal
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from typing import Any
from unittest.mock import patch

from django.db import OperationalError, connection

from django_openrouter_auth import finishing
from django_openrouter_auth.client import OpenRouterConnection

Go = Callable[[], Any]
Act = Callable[[int, str, Go], Any]

VERBS = {"SELECT": "read", "INSERT": "insert", "UPDATE": "change", "DELETE": "delete"}
TABLES = {
    "django_session": "session",
    "auth_user": "user",
    "django_openrouter_auth_connectattempt": "attempt",
    "django_openrouter_auth_openrouterkey": "key",
}
NAME = re.compile(r'(?:FROM|INTO|UPDATE)\s+["`]?(\w+)')
CALLS = "POST /auth/keys", "GET /key"


def name_of(sql: str) -> str:
    """Return what a statement does, in two words."""
    table = NAME.search(sql)
    verb = sql.split(maxsplit=1)[0].upper()
    if table is None:
        return verb.lower()
    return f"{VERBS[verb]} {TABLES[table[1]]}"


@contextmanager
def watched(act: Act) -> Iterator[list[str]]:
    """Let ``act`` do every step in a block, or not do it; yield the names of those begun so far.

    Args:
        act: gets the number of a step, from 0, its name, and what to call in order to do it.
    """
    names: list[str] = []

    def step(name: str, go: Go) -> Any:
        names.append(name)
        return act(len(names) - 1, name, go)

    def statement(execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
        return step(name_of(sql), lambda: execute(sql, params, many, context))

    def around(name: str, function: Any) -> Any:
        return lambda *args, **kwargs: step(name, lambda: function(*args, **kwargs))

    steps: list[tuple[Any, str, str]] = [
        # Django commits without a statement that a wrapper would see.
        (connection, "_commit", "commit"),
        (OpenRouterConnection, "exchange_code", CALLS[0]),
        (finishing, "ask", CALLS[1]),
    ]
    with ExitStack() as stack:
        stack.enter_context(connection.execute_wrapper(statement))
        for owner, attribute, name in steps:
            watch = around(name, getattr(owner, attribute))
            stack.enter_context(patch.object(owner, attribute, watch))
        yield names


def do(number: int, name: str, go: Go) -> Any:
    """Let everything happen."""
    return go()


# What a database can do


def refused(position: int, error: type[Exception] = OperationalError) -> Act:
    """Raise in place of one step; the next one works again."""

    def act(number: int, name: str, go: Go) -> Any:
        if number == position:
            raise error("refused for a test")
        return go()

    return act


def answer_lost(position: int) -> Act:
    """Do a step, and raise all the same."""

    def act(number: int, name: str, go: Go) -> Any:
        result = go()
        if number == position:
            raise OperationalError("the answer got lost for a test")
        return result

    return act


def gone(position: int) -> Act:
    """Raise in place of one step and of all that follow, but for calls of OpenRouter."""

    def act(number: int, name: str, go: Go) -> Any:
        if number >= position and name not in CALLS:
            raise OperationalError("gone for a test")
        return go()

    return act


def cut(position: int) -> Act:
    """Have PostgreSQL end the connection before a step."""

    def act(number: int, name: str, go: Go) -> Any:
        if number == position:
            pid = connection.connection.info.backend_pid
            with closing(connection.copy()) as other, other.cursor() as cursor:
                cursor.execute("SELECT pg_terminate_backend(%s, 10000)", [pid])
        return go()

    return act


def disk_full(position: int) -> Act:
    """Let SQLite find no room from one step on, whatever it writes."""

    def act(number: int, name: str, go: Go) -> Any:
        if number >= position:
            _fill(connection.connection)
        return go()

    return act


def _fill(database: Any) -> None:
    """Let the file grow no more, and each change begin with something that needs room.

    Else a small change would find some in pages that are half empty, sometimes. It is SQLite that
    says no, and ends the transaction. All of it ends with the connection.
    """
    ((size,),) = database.execute("PRAGMA page_count")
    database.execute(f"PRAGMA max_page_count = {size}").close()
    for table in TABLES:
        for event in ("INSERT", "UPDATE", "DELETE"):
            database.execute(
                f"CREATE TEMP TRIGGER IF NOT EXISTS {event}_{table} BEFORE {event} ON main.{table}"
                " BEGIN INSERT INTO filler VALUES (zeroblob(1000000)); END"
            )


# What a machine can do


def killed(position: int) -> Act:
    """Kill this process before a step."""

    def act(number: int, name: str, go: Go) -> Any:
        if number == position:
            os.kill(os.getpid(), signal.SIGKILL)
        return go()

    return act
