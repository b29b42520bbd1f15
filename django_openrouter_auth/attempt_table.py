"""The statements of every start and every good callback, as SQL on the table of attempts.

Django takes longer to compile one of them than a database to run it, and a request that runs them
does little else (see ``benchmarks``). All other code reads and writes attempts by querysets.
"""

from datetime import datetime
from typing import Any

from django.contrib.auth import get_user_model
from django.contrib.auth.base_user import AbstractBaseUser
from django.core.exceptions import FieldDoesNotExist
from django.db import connections, router, transaction

from .models import ConnectAttempt, OpenRouterKey


def insert(attempt: ConnectAttempt) -> None:
    """Store a new attempt; from now on its ``state_hash`` names the row."""
    connection = _connection()
    fields = [field for field in ConnectAttempt._meta.concrete_fields if not field.primary_key]
    columns = ", ".join(connection.ops.quote_name(field.column) for field in fields)
    marks = ", ".join(["%s"] * len(fields))
    _run(
        f"INSERT INTO {{attempts}} ({columns}) VALUES ({marks})",  # noqa: S608 - own names, no input
        *(
            field.get_db_prep_save(field.pre_save(attempt, add=True), connection)
            for field in fields
        ),
    )


def find(state_hash: str) -> Any:
    """Return an attempt, or ``None``.

    The row carries ``stored_key_hash`` and ``stored_status`` of the key that its user has now.
    """
    connection = _connection()
    quote = connection.ops.quote_name
    rows = ConnectAttempt.objects.using(connection.alias).raw(
        "SELECT attempt.*, stored.key_hash AS stored_key_hash, stored.status AS stored_status"  # noqa: S608 - own names, no input
        f" FROM {quote(ConnectAttempt._meta.db_table)} attempt"
        f" LEFT JOIN {quote(OpenRouterKey._meta.db_table)} stored"
        " ON stored.user_id = attempt.user_id WHERE attempt.state_hash = %s",
        [state_hash],
    )
    return next(iter(rows), None)


def make_room(
    user: AbstractBaseUser, *, oldest: datetime, most_pending: int, most_ended: int
) -> None:
    """Drop all attempts of a user but those worth keeping.

    Kept are the newest pending attempts that are still alive, those at the exchange, and the
    newest ended or interrupted ones.

    Args:
        user: whose attempts.
        oldest: when an attempt began, or was claimed, that is too old by now.
        most_pending: how many pending attempts to keep.
        most_ended: how many ended or interrupted ones to keep.
    """
    # The inner table is for MySQL and MariaDB, which take no LIMIT in a subquery of IN.
    newest = (
        "SELECT id FROM (SELECT id FROM {{attempts}} WHERE user_id = %s AND {which}"
        " ORDER BY created_at DESC, id DESC LIMIT {number:d}) newest"
    )
    alive = newest.format(which="claimed_at IS NULL AND created_at > %s", number=most_pending)
    is_over = "(outcome <> '' OR claimed_at <= %s)"
    ended = newest.format(which=is_over, number=most_ended)
    owner = _owner(user)
    _run(
        "DELETE FROM {attempts} WHERE user_id = %s AND ("  # noqa: S608 - own names, no input
        f"claimed_at IS NULL AND id NOT IN ({alive}) OR {is_over} AND id NOT IN ({ended}))",
        *(owner, owner, oldest, oldest, owner, oldest),
    )


def claim(attempt: ConnectAttempt, now: datetime, *, most_tries: int, keep_verifier: bool) -> bool:
    """Mark an attempt as claimed, unless it is already; return whether this call did it.

    Args:
        attempt: which.
        now: what to write down as the time.
        most_tries: after so many refused codes it cannot be claimed any more.
        keep_verifier: leave the verifier in the row.
    """
    spent = "" if keep_verifier else ", code_verifier = NULL"
    claimed = _run(
        f"UPDATE {{attempts}} SET claimed_at = %s{spent}"  # noqa: S608 - own names, no input
        " WHERE id = %s AND claimed_at IS NULL AND tries < %s",
        *(now, attempt.pk, most_tries),
    )
    return bool(claimed)


def end(attempt: ConnectAttempt, user: AbstractBaseUser, outcome: str) -> bool:
    """Write down how an attempt of a user ended who may still sign in; return whether it could.

    The same outcome may be written twice: an earlier try may have been stored although its
    confirmation got lost.
    """
    # By its key where it has one: InnoDB would lock the entry of another index before the row,
    # and whoever deletes the row locks them the other way round.
    name, value = ("id", attempt.pk) if attempt.pk else ("state_hash", attempt.state_hash)
    condition, values = _may_sign_in(user)
    ended = _run(
        f"UPDATE {{attempts}} SET outcome = %s, code_verifier = NULL WHERE {name} = %s"  # noqa: S608 - own names, no input
        f" AND user_id = %s AND outcome IN ('', %s) AND {condition}",
        *(outcome, value, _owner(user), outcome, *values),
    )
    return bool(ended)


def _may_sign_in(user: AbstractBaseUser) -> tuple[str, list[Any]]:
    """Return the condition that a user may still sign in, and its parameters."""
    model = get_user_model()
    try:
        is_active: Any = model._meta.get_field("is_active")
    except FieldDoesNotExist:
        return "1 = 1", []
    connection = _connection()
    quote = connection.ops.quote_name
    # A user model that inherits from another one has the column in the other's table.
    holder = is_active.model._meta
    link: Any = model._meta.get_ancestor_link(is_active.model) or model._meta.pk
    condition = (
        f"EXISTS (SELECT 1 FROM {quote(holder.db_table)}"  # noqa: S608 - own names, no input
        f" WHERE {quote(holder.pk.column)} = %s AND {quote(is_active.column)} = %s)"
    )
    # The user may be an instance of the parent, which has no such link; its key is the same.
    owner = getattr(user, link.attname, user.pk)
    return condition, [
        link.get_db_prep_value(owner, connection),
        is_active.get_db_prep_value(True, connection),
    ]


def _owner(user: AbstractBaseUser) -> Any:
    return ConnectAttempt._meta.get_field("user").get_db_prep_value(user.pk, _connection())


def _connection() -> Any:
    return connections[router.db_for_write(ConnectAttempt)]


def _run(statement: str, *values: object) -> int:
    """Run a statement on the table of attempts and return how many rows it touched."""
    connection = _connection()
    operations = connection.ops
    parameters = [
        operations.adapt_datetimefield_value(value) if isinstance(value, datetime) else value
        for value in values
    ]
    table = operations.quote_name(ConnectAttempt._meta.db_table)
    # As querysets do: a failure that is caught must not let half of a transaction through.
    with transaction.mark_for_rollback_on_error(connection.alias), connection.cursor() as cursor:
        cursor.execute(statement.replace("{attempts}", table), parameters)
        return int(cursor.rowcount)
