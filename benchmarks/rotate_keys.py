"""Measure re-encrypting stored keys, beside a bare loop that only rotates.

    python benchmarks/rotate_keys.py [--rows N] [--passes N] [--database-url URL]

See ``benchmarks/README.rst`` for what is measured and how. Linux only: it reads /proc. The exit
status is 0 whether or not the goals are met, and 1 when something could not be measured.
"""

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import django
from cryptography.fernet import Fernet, MultiFernet
from django.conf import settings
from django.core.management import call_command
from django.db import connection, transaction
from django.test.utils import setup_databases, teardown_databases
from fernet_fields.hkdf import derive_fernet_key

SPEED_GOAL = 0.75
MEMORY_GOAL = 16.0
COMMAND, BARE_LOOP = "command", "bare loop"
TABLE = "django_openrouter_auth_openrouterkey"
API_KEY = "sk-or-v1-" + "0123456789abcdef" * 4

# Users and keys are made by the server itself; the first pass makes each ciphertext another.
USERS = """
    INSERT INTO auth_user (username, first_name, last_name, email, password, is_superuser,
                           is_staff, is_active, date_joined)
    WITH RECURSIVE numbers(number) AS (
        SELECT 1 UNION ALL SELECT number + 1 FROM numbers WHERE number < %s
    )
    SELECT CAST(number AS varchar(20)), '', '', '', '', false, false, true, CURRENT_TIMESTAMP
    FROM numbers
"""


def rotate_by_command(keys: list[str], batch_size: int) -> None:
    """Re-encrypt with the command of the package, quiet."""
    settings.FERNET_KEYS = keys
    call_command("openrouter_auth_rotate_keys", batch_size=batch_size, verbosity=0)


def rotate_by_bare_loop(keys: list[str], batch_size: int) -> None:
    """Re-encrypt every row without looking whether it needs that, or is still the same."""
    fernet = MultiFernet([Fernet(derive_fernet_key(key)) for key in keys])
    last = 0
    with connection.cursor() as cursor:
        while True:
            cursor.execute(
                f"SELECT id, secret FROM {TABLE} WHERE id > %s ORDER BY id LIMIT %s",
                [last, batch_size],
            )
            rows = cursor.fetchall()
            if not rows:
                return
            last = rows[-1][0]
            changes = [(fernet.rotate(bytes(secret)), pk) for pk, secret in rows]
            with transaction.atomic():
                if connection.vendor == "postgresql":
                    # One text in place of an array: the cheapest form that was found.
                    tokens, pks = zip(*changes, strict=True)
                    cursor.execute(
                        f"UPDATE {TABLE} SET secret = new.token::bytea"
                        " FROM unnest(string_to_array(%s, ' '), %s::bigint[]) AS new (token, pk)"
                        f" WHERE {TABLE}.id = new.pk",
                        [b" ".join(tokens).decode(), list(pks)],
                    )
                else:
                    cursor.executemany(f"UPDATE {TABLE} SET secret = %s WHERE id = %s", changes)


WAYS: dict[str, Callable[[list[str], int], None]] = {
    COMMAND: rotate_by_command,
    BARE_LOOP: rotate_by_bare_loop,
}


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--rows", type=int, default=1_000_000, help="keys (default: 1000000)")
    parser.add_argument("--passes", type=int, default=3, help="of each way (default: 3)")
    parser.add_argument("--batch-size", type=int, default=1000, help="of both (default: 1000)")
    parser.add_argument(
        "--database-url",
        default=os.environ.get("DATABASE_URL"),
        help="as DATABASE_URL, its default; SQLite in a temporary file where neither is given",
    )
    # One pass in a process of its own, as this script calls itself.
    parser.add_argument("--one-pass", choices=WAYS, help=argparse.SUPPRESS)
    parser.add_argument("--keys", nargs=2, help=argparse.SUPPRESS)
    parser.add_argument("--name", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if min(arguments.rows, arguments.passes, arguments.batch_size) < 1:
        parser.error("at least one row, one pass and one row in a batch are needed")
    return arguments


def encryption_key(number: int) -> str:
    """Return the encryption key to which a pass rotates."""
    return f"encryption-key-of-the-benchmarks-{number:032}"


def make_keys(rows: int) -> None:
    """Fill the table of keys, all of them encrypted with the key number 0."""
    token = Fernet(derive_fernet_key(encryption_key(0))).encrypt(API_KEY.encode())
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
    names = ", ".join(values)
    marks = ", ".join(["%s"] * len(values))
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(USERS, [rows])
        cursor.execute(
            f"INSERT INTO {TABLE} (user_id, connected_at, updated_at, {names})"
            f" SELECT id, CURRENT_TIMESTAMP, CURRENT_TIMESTAMP, {marks} FROM auth_user",
            list(values.values()),
        )


def tidy() -> None:
    """Let every pass begin alike: PostgreSQL leaves the old version of each row behind."""
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            cursor.execute(f"VACUUM (ANALYZE) {TABLE}")
            cursor.execute("CHECKPOINT")


def one_pass(way: str, keys: list[str], batch_size: int) -> dict[str, float]:
    """Run one pass in this process; return seconds and peak memory in MiB."""
    connection.ensure_connection()
    wall, cpu = time.perf_counter(), time.process_time()
    WAYS[way](keys, batch_size)
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    # Not ru_maxrss: that begins with what the parent had.
    (peak,) = [
        line.split()[1]
        for line in Path("/proc/self/status").read_text().splitlines()
        if line.startswith("VmHWM:")
    ]
    return {"wall": wall, "cpu": cpu, "peak": int(peak) / 1024}


def in_a_process(way: str, number: int, batch_size: int) -> dict[str, float]:
    """Rotate to the key with a number, in a process of its own."""
    tidy()
    command = [
        *(sys.executable, __file__, "--one-pass", way, "--batch-size", str(batch_size)),
        *("--keys", encryption_key(number), encryption_key(number - 1)),
        *("--name", str(connection.settings_dict["NAME"])),
    ]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    figures: dict[str, float] = json.loads(done.stdout)
    return figures


def check(number: int, rows: int) -> None:
    """Make sure that a pass did its work: every row opens with the newest key alone."""
    fernet = Fernet(derive_fernet_key(encryption_key(number)))
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT COUNT(*), MIN(id), MAX(id) FROM {TABLE}")
        count, *ends = cursor.fetchone()
        assert count == rows
        for pk in ends:
            cursor.execute(f"SELECT secret FROM {TABLE} WHERE id = %s", [pk])
            assert fernet.decrypt(bytes(cursor.fetchone()[0])) == API_KEY.encode()


def measure(arguments: argparse.Namespace) -> None:
    """Run all passes and print the figures."""
    size = arguments.batch_size
    empty = in_a_process(COMMAND, 1, size)["peak"]
    make_keys(arguments.rows)
    in_a_process(BARE_LOOP, 1, size)
    made: dict[str, list[dict[str, float]]] = {way: [] for way in WAYS}
    number = 1
    for turn in range(arguments.passes):
        # Each as often first: the machine is not always as fast.
        for way in list(WAYS)[:: -1 if turn % 2 else 1]:
            number += 1
            made[way].append(in_a_process(way, number, size))
            check(number, arguments.rows)
    again = in_a_process(COMMAND, number, size)
    print_report(arguments, made, again, empty)


def print_report(
    arguments: argparse.Namespace,
    made: dict[str, list[dict[str, float]]],
    again: dict[str, float],
    empty: float,
) -> None:
    """Print speed, memory and the goals."""
    rows = arguments.rows
    for way, passes in made.items():
        each = ", ".join(f"{figures['wall']:.1f}" for figures in passes)
        cpu = median(figures["cpu"] for figures in passes)
        wall = median(figures["wall"] for figures in passes)
        print(
            f"{way:<12}{rows / wall:>8,.0f} rows/s  median {wall:.1f} s (passes: {each} s), "
            f"processor time {cpu:.1f} s"
        )
    walls = {way: median(figures["wall"] for figures in made[way]) for way in made}
    speed = walls[BARE_LOOP] / walls[COMMAND]
    print(
        f"speed: {speed:.2f} of the bare loop  (goal: >= {SPEED_GOAL})  {_met(speed >= SPEED_GOAL)}"
    )
    peak = max(figures["peak"] for figures in made[COMMAND])
    grown = peak - empty
    print(
        f"peak memory: {peak:.1f} MiB, {empty:.1f} MiB with no rows, growth {grown:.1f} MiB  "
        f"(goal: < {MEMORY_GOAL:.0f})  {_met(grown < MEMORY_GOAL)}"
    )
    print(f"run again with nothing left to do: {rows / again['wall']:,.0f} rows/s")
    names = ["Django", "cryptography", *(["psycopg"] if connection.vendor == "postgresql" else [])]
    libraries = ", ".join(f"{name} {version(name)}" for name in names)
    print(f"{rows:,} rows, batches of {arguments.batch_size:,}, {_database()}")
    print(f"Python {platform.python_version()}, {libraries}, load {os.getloadavg()[0]:.1f}")


def _met(met: bool) -> str:
    return "met" if met else "NOT MET"


def _database() -> str:
    if connection.vendor == "sqlite":
        return f"SQLite {connection.Database.sqlite_version}"
    with connection.cursor() as cursor:
        cursor.execute("SELECT VERSION()")
        return str(cursor.fetchone()[0]).split(" on ")[0]


def main() -> int:
    """Measure, print and return the exit status."""
    arguments = _arguments()
    os.environ["DJANGO_SETTINGS_MODULE"] = "benchmarks.settings"
    if arguments.one_pass:
        django.setup()
        connection.settings_dict["NAME"] = arguments.name
        print(json.dumps(one_pass(arguments.one_pass, arguments.keys, arguments.batch_size)))
        return 0
    with tempfile.TemporaryDirectory() as folder:
        os.environ["DATABASE_URL"] = (
            arguments.database_url or f"sqlite:///{Path(folder) / 'benchmark.sqlite3'}"
        )
        django.setup()
        # A database of its own, also on a server that holds other people's.
        databases = setup_databases(verbosity=0, interactive=False)
        try:
            measure(arguments)
        except subprocess.CalledProcessError as error:
            print(f"Could not measure: a pass ended with {error.returncode}", file=sys.stderr)
            return 1
        finally:
            teardown_databases(databases, verbosity=0)
    return 0


if __name__ == "__main__":
    sys.exit(main())
