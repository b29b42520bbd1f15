"""What all parts need before Django starts, and a database of their own."""

import os
import platform
import ssl
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import django
from django.db import connection
from django.test.utils import setup_databases, teardown_databases

LIBRARIES = (
    "Django",
    "requests",
    "urllib3",
    "cryptography",
    "django-fernet-fields-v2",
    "django-allauth",
    "social-auth-app-django",
    "social-auth-core",
    "Authlib",
    "gunicorn",
)
PROXIES = ("http_proxy", "https_proxy", "all_proxy", "no_proxy")


class UnexpectedAnswerError(Exception):
    """A step did not do what is to be measured, so that its figures would mean nothing."""


@contextmanager
def prepared(database_url: str | None, *, flush: bool = False) -> Iterator[Path]:
    """Start Django on a new, empty database; yield a folder for files.

    Args:
        database_url: as ``DATABASE_URL``; SQLite in that folder where there is none.
        flush: let SQLite wait for the disk at every commit.
    """
    for name in PROXIES:
        os.environ.pop(name, None)
        os.environ.pop(name.upper(), None)
    # For all versions: no file of this machine's user takes part.
    os.environ["NETRC"] = os.devnull
    os.environ["BENCHMARK_FLUSH"] = "1" if flush else ""
    os.environ["DJANGO_SETTINGS_MODULE"] = "benchmarks.settings"
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        os.environ["DATABASE_URL"] = database_url or f"sqlite:///{folder / 'benchmark.sqlite3'}"
        django.setup()
        # A database of its own, also on a server that holds other people's.
        databases = setup_databases(verbosity=0, interactive=False)
        try:
            yield folder
        finally:
            teardown_databases(databases, verbosity=0)


def versions() -> dict[str, str]:
    """Return what it all runs on, by name."""
    found = {"Python": platform.python_version()}
    for name in LIBRARIES:
        # Not every part needs gunicorn.
        with suppress(PackageNotFoundError):
            found[name] = version(name)
    found["OpenSSL"] = ssl.OPENSSL_VERSION.removeprefix("OpenSSL ")
    if connection.vendor == "postgresql":
        found["psycopg"] = version("psycopg")
    return found | {"database": database()}


def database() -> str:
    """Return the database and its version."""
    if connection.vendor == "sqlite":
        return f"SQLite {connection.Database.sqlite_version}"
    with connection.cursor() as cursor:
        cursor.execute("SELECT VERSION()")
        return str(cursor.fetchone()[0]).split(" on ")[0]
