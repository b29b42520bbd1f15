"""The site with its visitors, OpenRouter, a clock that is set by hand, and what is expected."""

import logging
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from itertools import chain
from typing import Any
from unittest.mock import patch
from urllib.parse import parse_qs, urlsplit

from django.contrib.auth import BACKEND_SESSION_KEY, HASH_SESSION_KEY, SESSION_KEY
from django.contrib.auth.models import User
from django.contrib.messages import get_messages
from django.db import connection
from django.test import Client, override_settings

from django_openrouter_auth.exceptions import KeyUnreadable
from django_openrouter_auth.fields import fingerprint
from django_openrouter_auth.models import ConnectAttempt, OpenRouterKey
from django_openrouter_auth.testing import LeakScan

from ..connecting import SITE, is_clean
from .provider import ModelledProvider
from .reference import Attempt, Reference, Stored, Visitor
from .trying import untouched_database

USERS = ("ann", "bob")
# Who is signed in where at first: one user in two browsers, another one in a third.
BROWSERS = ("ann", "ann", "bob")
BACKEND = "django.contrib.auth.backends.ModelBackend"


@dataclass
class Trip:
    """A user's way to OpenRouter: the attempt, and the page to which the site sent its user."""

    attempt: Attempt
    location: str

    @property
    def path(self) -> str:
        """The path under which the site awaits the user back."""
        return urlsplit(parse_qs(urlsplit(self.location).query)["callback_url"][0]).path


class World:
    """Everything at its beginning, for one example; ``close`` ends it."""

    def __init__(self) -> None:
        self.reference = Reference()
        self.provider = ModelledProvider()
        self.scan = LeakScan()
        # Reports by mail are slow to write, and have tests of their own.
        self.scan.error_mail.setLevel(logging.CRITICAL)
        self.exchanges = 0
        self.open = ExitStack()
        self.open.enter_context(untouched_database())
        self.open.enter_context(self.provider.mock)
        self.open.enter_context(self.scan.listen())
        self.open.enter_context(
            override_settings(FERNET_KEYS=self.reference.ring, OPENROUTER_AUTH_SITE_URL=SITE)
        )
        self.open.enter_context(patch("django.utils.timezone.now", lambda: self.reference.now))
        self.users = {name: User.objects.create(username=name) for name in USERS}
        self.clients = [Client() for _ in BROWSERS]
        self.visitors = [Visitor() for _ in BROWSERS]
        for browser, name in enumerate(BROWSERS):
            self.log_in(browser, name)

    def close(self) -> None:
        """Undo everything, and look for secrets in what was logged."""
        with self.open:
            self.scan.search_logs()
            self.scan.require_none()

    # Browsers

    def log_in(self, browser: int, name: str) -> None:
        """Sign somebody in; whoever else was signed in is signed out, session and all."""
        self.clients[browser].force_login(self.users[name])
        visitor = self.visitors[browser]
        known = visitor.browser if visitor.user in {None, name} else None
        self.visitors[browser] = Visitor(name, known)

    def log_out(self, browser: int) -> None:
        """Sign out."""
        self.clients[browser].logout()
        self.visitors[browser] = Visitor()

    def take_over(self, browser: int, name: str) -> None:
        """Become another user in the same session, as staff does in order to help."""
        session = self.clients[browser].session
        session[SESSION_KEY] = str(self.users[name].pk)
        session[BACKEND_SESSION_KEY] = BACKEND
        session[HASH_SESSION_KEY] = self.users[name].get_session_auth_hash()
        session.save()
        self.visitors[browser].user = name

    def send(self, browser: int, method: str, path: str, **data: str) -> Any:
        """Send a request; return the answer, which is no error and holds no secret."""
        response = getattr(self.clients[browser], method)(path, data)
        self.provider.meanwhile = None
        assert response.status_code < 500
        stored: Any = get_messages(response.wsgi_request)
        response.told = {message.extra_tags for message in stored._queued_messages}
        response.waiting = {message.extra_tags for message in stored}
        self.plant()
        is_bounce = "/callback/" in path and response.status_code == 200
        search = self.scan.search_head if is_bounce else self.scan.search_response
        search("an answer", response)
        self.scan.search_browser("of a visitor", self.clients[browser])
        return response

    def tells(self, response: Any, code: str) -> None:
        """Check that an answer leads on to a clean address, and what it says."""
        assert is_clean(response)
        # What is still to be read is not said twice.
        assert response.told <= {code}
        assert code in response.waiting

    def plant(self) -> None:
        """Look for all secrets that have come up so far."""
        for name, secret in self.provider.secrets.items():
            if name not in self.scan.planted:
                self.scan.plant(**{name: secret})

    # Attempts

    @property
    def verdict(self) -> str:
        """What OpenRouter said last about a key."""
        return next(iter(self.provider.verdicts[-1:]), "")

    def begun(self, attempt: Attempt, location: str) -> Trip:
        """Return the trip that begins with an attempt, whose verifier is secret from now on."""
        for row in ConnectAttempt.objects.filter(code_verifier__isnull=False):
            with suppress(KeyUnreadable):
                self.scan.plant(**{f"verifier {row.pk}": row.code_verifier.reveal()})
        return Trip(attempt, location)

    def approve(self, trip: Trip) -> str:
        """Let the user who began a trip say yes at OpenRouter, and return the code."""
        code = self.provider.approve(trip.location, trip.attempt.user)
        self.plant()
        return code

    def browser_of(self, trip: Trip) -> int:
        """Return the browser in which a trip began; any, where it has been forgotten."""
        known = [visitor.browser for visitor in self.visitors]
        return known.index(trip.attempt.browser) if trip.attempt.browser in known else 0

    def finish(self, attempt: Attempt, before: int) -> str:
        """Let the reference finish an attempt with the exchange that must have taken place."""
        self.exchanges += 1
        exchange = self.provider.exchanges[before]
        return self.reference.finish(attempt, exchange, self.verdict)

    # What holds at any time

    def check_rows(self) -> None:
        """Every user has the key that the reference says, readable if it can be, and own."""
        rows = {row.user.username: row for row in OpenRouterKey.objects.select_related("user")}
        assert rows.keys() == self.reference.stored.keys()
        for name, row in rows.items():
            expected: Stored = self.reference.stored[name]
            assert (row.key_hash, row.status) == (fingerprint(expected.key), expected.status)
            assert self.provider.owners[expected.key] == name
            assert revealed(row) == (expected.key if self.reference.is_readable(expected) else "")

    def check_exchanges(self) -> None:
        """OpenRouter was asked when it had to be, and never twice for the same thing."""
        exchanges = self.provider.exchanges
        assert len(exchanges) == self.exchanges
        granted = [one for one in exchanges if one.key]
        assert len({one.code for one in granted}) == len(granted)
        assert len({one.verifier for one in granted}) == len(granted)

    def check_tables(self) -> None:
        """No table of ours and no session holds a secret in plain text."""
        for model in (OpenRouterKey, ConnectAttempt):
            with connection.cursor() as cursor:
                cursor.execute(f"SELECT * FROM {model._meta.db_table}")
                values = chain.from_iterable(cursor.fetchall())
                held = [bytes(one) if isinstance(one, memoryview) else one for one in values]
            self.scan.search(f"table of {model.__name__}", str(held))
        self.scan.require_none()


def revealed(row: OpenRouterKey) -> str:
    """Return the key in a row, or nothing where it cannot be read."""
    try:
        return str(row.secret.reveal())
    except KeyUnreadable:
        return ""
