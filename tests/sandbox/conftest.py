import datetime as dt
import json as js

import pytest
from django.urls import reverse
from django.utils import timezone

from django_openrouter_auth.sandbox.models import SandboxKey, SandboxSwitches

from . import ACCOUNT


class Clock:
    """A clock that tests can move."""

    def __init__(self, now):
        self.moment = now

    def now(self):
        """Stand in for ``django.utils.timezone.now``."""
        return self.moment

    def move(self, **delta):
        """Move on by the arguments of a ``timedelta``."""
        self.moment += dt.timedelta(**delta)


@pytest.fixture
def clock(monkeypatch):
    """Stop the clock on a Wednesday at noon."""
    stopped = Clock(dt.datetime(2026, 7, 15, 12, 0, tzinfo=dt.UTC))
    monkeypatch.setattr(timezone, "now", stopped.now)
    return stopped


@pytest.fixture
def naps(monkeypatch):
    """Collect what the sandbox would have slept, in seconds."""
    slept = list[float]()
    monkeypatch.setattr("time.sleep", slept.append)
    return slept


@pytest.fixture
def turn(db):
    """Turn switches: ``turn(chat_fault="slow")``."""

    def turn(**values):
        switches = SandboxSwitches.load()
        for name, value in values.items():
            setattr(switches, name, value)
        switches.full_clean()
        switches.save()

    return turn


@pytest.fixture
def call(client):
    """Call the API: ``call("api_key", key=key)`` is a GET, with ``json`` it is a POST."""

    def call(name, *, key=None, json=None, method=None, headers=None):
        headers = dict(headers or {})
        if key is not None:
            headers["Authorization"] = f"Bearer {key}"
        method = method or ("GET" if json is None else "POST")
        return client.generic(
            method,
            reverse(f"openrouter_sandbox:{name}"),
            "" if json is None else js.dumps(json),
            content_type="application/json",
            headers=headers,
        )

    return call


@pytest.fixture
def key(db):
    """Mint a key without a limit and return it in plain text."""
    return SandboxKey.mint(account=ACCOUNT, name="OAuth: test")[1]


@pytest.fixture
def ada(client):
    """Return a browser that is signed in to the sandbox."""
    client.post(reverse("openrouter_sandbox:sign_in"), {"account": ACCOUNT})
    return client
