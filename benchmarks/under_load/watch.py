"""What the site takes up: memory, descriptors and connections, rows and sessions."""

import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from django.db import connection

from .site import Site

ATTEMPTS = "django_openrouter_auth_connectattempt"
OF_ONE_USER = (
    "SELECT coalesce(max(number), 0)"
    f" FROM (SELECT count(*) AS number FROM {ATTEMPTS} {{}} GROUP BY user_id) of_users"
)
QUESTIONS = {
    "connections": "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
    " AND backend_type = 'client backend' AND pid <> pg_backend_pid()",
    "attempts": f"SELECT count(*) FROM {ATTEMPTS}",
    "pending": f"SELECT count(*) FROM {ATTEMPTS} WHERE claimed_at IS NULL",
    "attempts_of_one_user": OF_ONE_USER.format(""),
    "pending_of_one_user": OF_ONE_USER.format("WHERE claimed_at IS NULL"),
    "attempts_kib": f"SELECT pg_total_relation_size('{ATTEMPTS}') / 1024",
    "keys": "SELECT count(*) FROM django_openrouter_auth_openrouterkey",
    "sessions": "SELECT count(*) FROM django_session",
    "session_bytes": "SELECT round(avg(length(session_data)), 1) FROM django_session",
    "largest_session": "SELECT max(length(session_data)) FROM django_session",
}
# A connection is closed a moment after its last byte, so that the fewest of several looks count.
LOOKS, BETWEEN_LOOKS = 10, 0.1


@dataclass
class Sample:
    """What was taken up after so many callbacks, while nobody visits.

    Attributes:
        pids: of gunicorn's processes, by name.
        rss: KiB of memory of each process of gunicorn.
        private: KiB of it that it shares with no other process.
        descriptors: open files and sockets of each.
        sockets: the sockets among them.
        database: the answers to ``QUESTIONS``.
    """

    callbacks: int
    pids: dict[str, int]
    rss: dict[str, int]
    private: dict[str, int]
    descriptors: dict[str, int]
    sockets: dict[str, int]
    database: dict[str, float]


def take_sample(site: Site, callbacks: int) -> Sample:
    """Look at all of it now."""
    pids = site.processes()
    processes = {name: Path(f"/proc/{pid}") for name, pid in pids.items()}
    memory = {name: _memory(path) for name, path in processes.items()}
    opened = {name: _opened(path) for name, path in processes.items()}
    for _ in range(LOOKS):
        time.sleep(BETWEEN_LOOKS)
        opened = {name: min(opened[name], _opened(processes[name]), key=len) for name in opened}
    return Sample(
        callbacks,
        pids,
        rss={name: found["Rss"] for name, found in memory.items()},
        private={
            name: found["Private_Clean"] + found["Private_Dirty"] for name, found in memory.items()
        },
        descriptors={name: len(found) for name, found in opened.items()},
        sockets={
            name: sum(one.startswith("socket:") for one in found) for name, found in opened.items()
        },
        database={name: float(_ask(sql)) for name, sql in QUESTIONS.items()},
    )


def _memory(process: Path) -> dict[str, int]:
    lines = (process / "smaps_rollup").read_text().splitlines()[1:]
    pairs = (line.split() for line in lines)
    return {name.rstrip(":"): int(size) for name, size, *_ in pairs}


def _opened(process: Path) -> list[str]:
    found = []
    for entry in (process / "fd").iterdir():
        with suppress(FileNotFoundError):  # closed meanwhile
            found.append(str(entry.readlink()))
    return found


def _ask(sql: str) -> Any:
    with connection.cursor() as cursor:
        cursor.execute(sql)
        return cursor.fetchone()[0]
