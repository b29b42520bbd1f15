"""The site under load: gunicorn, and users who are signed in."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

from django.conf import settings
from django.contrib.auth import BACKEND_SESSION_KEY, HASH_SESSION_KEY, SESSION_KEY, get_user_model
from django.contrib.sessions.backends.db import SessionStore
from django.contrib.sessions.models import Session
from django.db import connection
from django.utils import timezone

from tests.processes import free_port, is_listening, running

ROOT = Path(__file__).resolve().parent.parent.parent
AT_ONCE = 5000


@dataclass(frozen=True)
class Workers:
    """Settings of gunicorn.

    Attributes:
        bounded: whether a worker takes no more requests than it has threads
            (``worker_connections``, and no connections kept alive).
    """

    name: str
    workers: int
    threads: int = 1
    bounded: bool = False

    @property
    def options(self) -> list[str]:
        """Return these settings as arguments of gunicorn."""
        options = ["--workers", str(self.workers), "--threads", str(self.threads)]
        if self.bounded:
            options += ["--worker-connections", str(self.threads), "--keep-alive", "0"]
        return options


@dataclass
class Site:
    """A site that is being served."""

    port: int
    master: int

    def processes(self) -> dict[str, int]:
        """Return the pids of gunicorn's master and of its workers, by name."""
        children = Path(f"/proc/{self.master}/task/{self.master}/children").read_text().split()
        workers = {f"worker {number}": int(pid) for number, pid in enumerate(children, 1)}
        return {"master": self.master, **workers}


def database_url(url: str) -> str:
    """Return the URL of the database that was made for this measurement."""
    return urlunsplit(urlsplit(url)._replace(path=f"/{connection.settings_dict['NAME']}"))


@contextmanager
def served(folder: Path, workers: Workers, api_url: str) -> Iterator[Site]:
    """Serve the site, with ``timeout`` as documented and otherwise gunicorn's own settings."""
    port = free_port()
    # fmt: off
    command = [
        sys.executable, "-m", "gunicorn", "--bind", f"127.0.0.1:{port}", "--timeout", "60",
        *workers.options, "django.core.wsgi:get_wsgi_application()",
    ]
    # fmt: on
    # Newer ones put a socket into HOME, where two of them would meet.
    environment = {
        **os.environ,
        "BENCHMARK_API_URL": api_url,
        "DATABASE_URL": database_url(os.environ["DATABASE_URL"]),
        "HOME": str(folder),
        "PYTHONPATH": str(ROOT),
    }
    log = folder / "gunicorn.log"
    with running(command, log, lambda: is_listening(port), cwd=folder, env=environment) as process:
        yield Site(port, process.pid)


def session_key(number: int) -> str:
    """Return the key of the session of the user with a number."""
    return f"sessionofuser{number:019}"


def sign_in(users: int) -> None:
    """Make users who are signed in, each in a session of its own, as if they had done it."""
    store, expires_at = SessionStore(), timezone.now() + timedelta(days=14)
    user_model = get_user_model()
    held = {BACKEND_SESSION_KEY: settings.AUTHENTICATION_BACKENDS[0]}
    for first in range(0, users, AT_ONCE):
        numbers = range(first, min(first + AT_ONCE, users))
        made = user_model.objects.bulk_create(
            user_model(username=f"user{number}", password="!") for number in numbers
        )
        held[HASH_SESSION_KEY] = made[0].get_session_auth_hash()
        Session.objects.bulk_create(
            Session(
                session_key=session_key(number),
                session_data=store.encode({SESSION_KEY: str(user.pk), **held}),
                expire_date=expires_at,
            )
            for number, user in zip(numbers, made, strict=True)
        )
    with connection.cursor() as cursor:
        cursor.execute("VACUUM ANALYZE")
