"""All runs: both versions in turn, over HTTP and over HTTPS."""

import json
import os
import platform
import ssl
from collections.abc import Callable
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

from django.conf import settings
from django.db import connection

from . import flow, provider
from .flow import HANDWRITTEN, OURS, Journey, Run, Version

WARM_UPS = 5
BOTH = (OURS, HANDWRITTEN)
LIBRARIES = ("Django", "requests", "urllib3", "cryptography", "django-fernet-fields-v2")


@dataclass
class Measured:
    """The runs of each version, and one more of each in which statements were counted.

    Attributes:
        cold: milliseconds of each version's very first callback over HTTPS in this process.
        versions: what it all ran on.
        load: how many programs wanted a processor, over the minute before the end.
    """

    http: dict[str, list[Run]] = field(default_factory=dict)
    https: dict[str, list[Run]] = field(default_factory=dict)
    counted: dict[str, Run] = field(default_factory=dict)
    cold: dict[str, float] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=dict)
    load: float = 0.0

    @property
    def session_bytes(self) -> int:
        """Bytes that ours adds to a session, as JSON: before compression and signature."""
        run = self.counted[OURS.name]
        before, after = (
            json.dumps(held, separators=(",", ":"))
            for held in (run.session_before, run.session_after)
        )
        return len(after) - len(before)


def measure(application: Callable[..., Any], folder: Path, *, runs: int, tls_runs: int) -> Measured:
    """Run both versions in turn and return the figures."""
    measured = Measured(versions=_versions())
    with provider.running() as standin:
        _use(standin)
        measured.counted = {
            one.name: Journey(application, one, standin, observe=True).make() for one in BOTH
        }
        _in_turn(application, standin, WARM_UPS)
        measured.http = _in_turn(application, standin, runs)
    certificate, bundle = provider.make_certificate(folder)
    os.environ["REQUESTS_CA_BUNDLE"] = str(bundle)
    with provider.running(certificate) as standin:
        _use(standin)
        warm = _in_turn(application, standin, WARM_UPS)
        measured.cold = {
            name: made[0].timings[flow.FIRST_CALLBACK].wall * 1000 for name, made in warm.items()
        }
        measured.https = _in_turn(application, standin, tls_runs)
    measured.load = os.getloadavg()[0]
    return measured


def _use(standin: provider.Provider) -> None:
    # Both read settings on every use, so this needs no restart.
    settings.OPENROUTER_AUTH_API_URL = settings.HANDWRITTEN_API_URL = standin.api_url


def _in_turn(
    application: Callable[..., Any], standin: provider.Provider, runs: int
) -> dict[str, list[Run]]:
    """Run both versions alternately, each as often first: the machine is not always as fast."""
    made: dict[str, list[Run]] = {one.name: [] for one in BOTH}
    for number in range(runs):
        order: tuple[Version, ...] = BOTH if number % 2 else BOTH[::-1]
        for one in order:
            made[one.name].append(Journey(application, one, standin).make())
    return made


def _versions() -> dict[str, str]:
    if connection.vendor == "sqlite":
        database = f"SQLite {connection.Database.sqlite_version}"
    else:
        with connection.cursor() as cursor:
            cursor.execute("SELECT VERSION()")
            database = str(cursor.fetchone()[0]).split(" on ")[0]
    return {
        "Python": platform.python_version(),
        **{name: version(name) for name in LIBRARIES},
        "OpenSSL": ssl.OPENSSL_VERSION.removeprefix("OpenSSL "),
        "database": database,
    }
