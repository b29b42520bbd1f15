"""Re-encrypting stored keys: the command beside ``bulk_update()`` and beside a bare loop."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from cryptography.fernet import Fernet
from django.db import connection, transaction
from fernet_fields.hkdf import derive_fernet_key

from django_openrouter_auth.fields import owner_fingerprint

from .figures import Figure, Goal, Part, ratio_goal
from .provider import EXCHANGED
from .rotation_pass import TABLE
from .versions import OURS

COMMAND, BULK_UPDATE = "command", "bulk_update()"
MODEL, BARE_LOOP = "our model", "bare loop"
# In the tables the command is ours.
COLUMNS = {
    COMMAND: OURS.name,
    BULK_UPDATE: BULK_UPDATE,
    MODEL: MODEL,
    BARE_LOOP: BARE_LOOP,
}
BATCH_SIZE = 1000
GOALS = {"sqlite": 7.0, "postgresql": 4.0}
BARE_GOAL, MEMORY_GOAL = 0.75, 16
API_KEY = EXCHANGED["key"]
SCRIPT = Path(__file__).resolve().parent / "rotation_pass.py"

# Users and keys are made by the server itself; the first pass makes each ciphertext another.
USERS = """
    INSERT INTO auth_user (username, first_name, last_name, email, password, is_superuser,
                           is_staff, is_active, date_joined)
    WITH RECURSIVE numbers(number) AS (
        SELECT 1 UNION ALL SELECT number + 1 FROM numbers WHERE number < %s
    )
    SELECT 'rotated' || CAST(number AS varchar(20)), '', '', '', '', false, false, true,
           CURRENT_TIMESTAMP
    FROM numbers
"""
KEYS = f"""
    INSERT INTO {TABLE} (user_id, connected_at, updated_at, {{names}})
    SELECT id, CURRENT_TIMESTAMP, CURRENT_TIMESTAMP, {{marks}}
    FROM auth_user WHERE username LIKE 'rotated%%'
"""

Passes = dict[str, list[dict[str, float]]]


def measure_speed(rows: int, passes: int) -> list[Part]:
    """Re-encrypt the same rows in each way in turn."""
    _make_keys(rows)
    _bind_keys()
    made: Passes = {way: [] for way in COLUMNS}
    number = 1
    _in_a_process(BARE_LOOP, number)
    ways = list(COLUMNS)
    for turn in range(passes):
        first = turn % len(ways)
        for way in ways[first:] + ways[:first]:
            number += 1
            made[way].append(_in_a_process(way, number))
            _check(number, rows)
    figures = [
        Figure(
            f"rows per second of {unit}",
            {
                COLUMNS[way]: [rows / figures[clock] for figures in found]
                for way, found in made.items()
            },
        )
        for clock, unit in (("wall", "the clock"), ("cpu", "processor time"))
    ]
    goals = [
        ratio_goal(f"rotation, rows per second: of {way}", limit, figures[:1], way, at_least=True)
        for way, limit in (
            (BULK_UPDATE, GOALS[connection.vendor]),
            (MODEL, GOALS[connection.vendor]),
            (BARE_LOOP, BARE_GOAL),
        )
    ]
    note = f"{passes} passes of each way over {rows:,} rows, batches of {BATCH_SIZE:,}"
    return [Part("Re-encrypting stored keys", figures, [goal for goal in goals if goal], [note])]


def measure_memory(rows: int) -> list[Part]:
    """Re-encrypt many rows with the command, and compare its memory with that for none."""
    _remove_keys()
    empty = _in_a_process(COMMAND, 1)
    _make_keys(rows)
    _in_a_process(BARE_LOOP, 1)
    full = _in_a_process(COMMAND, 2)
    _check(2, rows)
    again = _in_a_process(COMMAND, 2)
    _remove_keys()
    speeds = {
        "rows per second": full,
        "rows per second, nothing left to do": again,
    }
    figures = [
        Figure(name, {OURS.name: [rows / figures["wall"]]}) for name, figures in speeds.items()
    ]
    figures.append(Figure("peak memory, no rows", {OURS.name: [empty["peak"]]}, "MiB"))
    figures.append(Figure("peak memory", {OURS.name: [full["peak"]]}, "MiB"))
    grown = Goal("rotation: MiB that memory grows", MEMORY_GOAL, {"": full["peak"] - empty["peak"]})
    return [Part(f"Re-encrypting {rows:,} rows with the command", figures, [grown])]


def _encryption_key(number: int) -> str:
    """Return the encryption key to which a pass rotates."""
    return f"encryption-key-of-the-benchmarks-{number:032}"


def _remove_keys() -> None:
    with connection.cursor() as cursor:
        cursor.execute(f"DELETE FROM {TABLE}")


def _make_keys(rows: int) -> None:
    """Fill the table of keys, all of them encrypted with the key number 0."""
    _remove_keys()
    token = Fernet(derive_fernet_key(_encryption_key(0))).encrypt(API_KEY.encode())
    values: dict[str, Any] = {
        "secret": token,
        "key_hash": "0" * 64,
        "hint": "sk-or-v1-012...def",
        "owner_hash": "0" * 64,
        "requested": "{}",
        "source": "oauth",
        "status": "active",
        **dict.fromkeys(("openrouter_user_id", "label", "limit_reset", "check_error"), ""),
    }
    sql = KEYS.format(names=", ".join(values), marks=", ".join(["%s"] * len(values)))
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("DELETE FROM auth_user WHERE username LIKE 'rotated%'")
        cursor.execute(USERS, [rows])
        cursor.execute(sql, list(values.values()))


def _bind_keys() -> None:
    """Tie each key to its owner, without which the model does not reveal it."""
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(f"SELECT user_id, id FROM {TABLE}")
        bound = [(owner_fingerprint(user_id, API_KEY), pk) for user_id, pk in cursor.fetchall()]
        cursor.executemany(f"UPDATE {TABLE} SET owner_hash = %s WHERE id = %s", bound)


def _in_a_process(way: str, number: int) -> dict[str, float]:
    """Rotate to the key with a number, in a process of its own."""
    if connection.vendor == "postgresql":
        # Every pass begins alike: PostgreSQL leaves the old version of each row behind.
        with connection.cursor() as cursor:
            cursor.execute(f"VACUUM (ANALYZE) {TABLE}")
            cursor.execute("CHECKPOINT")
    done = subprocess.run(
        [
            *(sys.executable, str(SCRIPT), way, str(BATCH_SIZE)),
            *(_encryption_key(number), _encryption_key(number - 1)),
        ],
        env=os.environ | {"BENCHMARK_DATABASE": str(connection.settings_dict["NAME"])},
        check=True,
        stdout=subprocess.PIPE,
        text=True,
    )
    figures: dict[str, float] = json.loads(done.stdout)
    return figures


def _check(number: int, rows: int) -> None:
    """Make sure that a pass did its work: every row opens with the newest key alone."""
    fernet = Fernet(derive_fernet_key(_encryption_key(number)))
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT COUNT(*), MIN(id), MAX(id) FROM {TABLE}")
        count, *ends = cursor.fetchone()
        assert count == rows
        for pk in ends:
            cursor.execute(f"SELECT secret FROM {TABLE} WHERE id = %s", [pk])
            assert fernet.decrypt(bytes(cursor.fetchone()[0])) == API_KEY.encode()
