"""One pass of re-encrypting, in a process of its own: called by ``rotation.py``.

    python benchmarks/rotation_pass.py WAY BATCH_SIZE NEWEST_KEY OLDER_KEY

It prints seconds and peak memory as JSON. Linux only: it reads /proc.
"""

import json
import sys
import time
from collections.abc import Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import django
from cryptography.fernet import Fernet, MultiFernet
from django.conf import settings
from django.core.management import call_command
from django.db import connection, transaction
from fernet_fields.hkdf import derive_fernet_key

TABLE = "django_openrouter_auth_openrouterkey"


def by_command(keys: list[str], batch_size: int) -> None:
    """Re-encrypt with the command of the package, quiet."""
    settings.FERNET_KEYS = keys
    call_command("openrouter_auth_rotate_keys", batch_size=batch_size, verbosity=0)


def by_bulk_update(keys: list[str], batch_size: int) -> None:
    """Re-encrypt every row by way of Django's ``bulk_update()``.

    On a model of raw bytes, which is the fastest: a field of fernet-fields could not be used, as
    ``bulk_update()`` stores with it what no key opens.
    """
    from benchmarks.raw_keys import RawKey  # noqa: PLC0415 - a model

    fernet = _fernet(keys)
    last = 0
    while batch := list(RawKey.objects.filter(pk__gt=last).order_by("pk")[:batch_size]):
        last = batch[-1].pk
        for row in batch:
            row.secret = fernet.rotate(bytes(row.secret))
        RawKey.objects.bulk_update(batch, ["secret"])


def by_model(keys: list[str], batch_size: int) -> None:
    """Re-encrypt every row as the model invites one to: reveal, assign, ``bulk_update()``."""
    from django_openrouter_auth.models import OpenRouterKey  # noqa: PLC0415 - a model

    settings.FERNET_KEYS = keys
    last = 0
    while batch := list(OpenRouterKey.objects.filter(pk__gt=last).order_by("pk")[:batch_size]):
        last = batch[-1].pk
        for key in batch:
            key.secret = key.secret.reveal()
        OpenRouterKey.objects.bulk_update(batch, ["secret"])


def by_bare_loop(keys: list[str], batch_size: int) -> None:
    """Re-encrypt every row without looking whether it needs that, or is still the same."""
    fernet = _fernet(keys)
    with connection.cursor() as cursor:
        for rows in _batches(cursor, batch_size):
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


WAYS = {
    "command": by_command,
    "bulk_update()": by_bulk_update,
    "our model": by_model,
    "bare loop": by_bare_loop,
}


def _fernet(keys: list[str]) -> MultiFernet:
    return MultiFernet([Fernet(derive_fernet_key(key)) for key in keys])


def _batches(cursor, size: int) -> Iterator[list[tuple[int, bytes]]]:
    last = 0
    while True:
        cursor.execute(
            f"SELECT id, secret FROM {TABLE} WHERE id > %s ORDER BY id LIMIT %s", [last, size]
        )
        rows = cursor.fetchall()
        if not rows:
            return
        last = rows[-1][0]
        yield rows


def main() -> None:
    """Make the pass and print its figures."""
    way, batch_size, *keys = sys.argv[1:]
    django.setup()
    connection.ensure_connection()
    wall, cpu = time.perf_counter(), time.process_time()
    WAYS[way](keys, int(batch_size))
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    # Not ru_maxrss: that begins with what the parent had.
    (peak,) = [
        line.split()[1]
        for line in Path("/proc/self/status").read_text().splitlines()
        if line.startswith("VmHWM:")
    ]
    print(json.dumps({"wall": wall, "cpu": cpu, "peak": int(peak) / 1024}))


if __name__ == "__main__":
    main()
