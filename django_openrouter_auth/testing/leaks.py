"""A search for keys in what a site shows, logs, sends or keeps."""

import base64
import logging
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from itertools import chain
from typing import Any
from urllib.parse import quote

from django.apps import apps
from django.contrib.messages import get_messages
from django.contrib.messages.storage.cookie import CookieStorage
from django.core import mail
from django.db import connections
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.test import Client
from django.test.utils import CaptureQueriesContext

from ..conf import app_settings, is_api_key, session_cookie_name
from ..exceptions import KeyUnreadable
from ..keys import key_rows
from .capture import ErrorMail, capture_answers, capture_logs
from .facts import KEY, OTHER_KEY


def disguises(secret: str) -> Iterator[str]:
    """Return the ways in which a secret is likely to be written."""
    raw = secret.encode()
    yield from {secret, quote(secret, safe=""), raw.hex(), raw.hex().upper()}
    yield "".join(f"%{byte:02X}" for byte in raw)
    # The first and the last characters of base64 depend on what stands before and behind.
    for offset, start in enumerate((0, 2, 3)):
        for encode in (base64.b64encode, base64.urlsafe_b64encode):
            yield encode(b"\0" * offset + raw).decode()[start:-4]
    if len(secret) >= 40:
        # Half a key is too much to show.
        yield secret[: len(secret) // 2]
        yield secret[len(secret) // 2 :]


def _written(what: object) -> str:
    """Return an object by its ``str`` and ``repr``."""
    if isinstance(what, str):
        return what
    texts = []
    for write in (str, repr):
        # A queryset of a request that failed asks the database, maybe for what it no longer gives.
        with suppress(Exception):
            texts.append(write(what))
    return "\n".join(texts)


class LeakScan:
    """Secrets to look for, and where they were found.

    Attributes:
        found: the places, such as ``"KEY in body of GET /chat/"``; never the secret itself.
        records: the log records that were heard so far.
        error_mail: Django's error reports about those that reached the root logger.
    """

    def __init__(self) -> None:
        self.planted: dict[str, list[str]] = {}
        self.records: list[logging.LogRecord] = []
        self.error_mail = ErrorMail()
        self.found: list[str] = []

    def plant(self, **secrets: str) -> None:
        """Look for these from now on, under these names."""
        self.planted |= {name: list(disguises(secret)) for name, secret in secrets.items()}

    def plant_keys(self, *, databases: Iterable[str] | None = None) -> None:
        """Look for ``KEY``, ``OTHER_KEY``, the site's own key and every stored one, if readable.

        A callable ``OPENROUTER_AUTH_SITE_KEY`` is called; one that fails here gives no key.

        Args:
            databases: the aliases of those that may be asked; all of them without it.
        """
        self.plant(KEY=KEY, OTHER_KEY=OTHER_KEY)
        if site_key := _site_key():
            self.plant(SITE_KEY=site_key)
        rows = key_rows()
        if databases is not None and rows.db not in databases:
            return
        for row in rows:
            try:
                self.plant(**{f"key of user {row.user_id}": row.secret.reveal()})
            except KeyUnreadable:
                continue

    def search(self, where: str, what: object) -> None:
        """Look into a text, bytes, or anything else by its ``str`` and ``repr``."""
        haystack = what.decode("latin-1") if isinstance(what, bytes) else _written(what)
        for name, forms in self.planted.items():
            if any(form in haystack for form in forms):
                self.found.append(f"{name} in {self._censor(where)}")

    def _censor(self, where: str) -> str:
        for form in chain.from_iterable(self.planted.values()):
            where = where.replace(form, "(secret)")
        return where

    def search_response(self, where: str, response: Any) -> None:
        """Look into status line, headers, cookies, messages and body of an answer.

        Args:
            where: how to call it.
            response: the answer; a stream is read to its end.
        """
        self.search_head(where, response)
        self.search(f"body of {where}", b"".join(response))

    def search_head(self, where: str, response: Any) -> None:
        """Look into status line, headers, cookies and messages of an answer, not into its body."""
        self.search(f"status line of {where}", response.reason_phrase)
        for name, value in response.items():
            self.search(f"header {name} of {where}", f"{name}: {value}")
        for cookie in response.cookies.values():
            self.search(f"cookie {cookie.key} of {where}", cookie.OutputString())
        request = getattr(response, "wsgi_request", None) or getattr(response, "asgi_request", None)
        if request is not None:
            texts = [str(message) for message in get_messages(request)]
            self.search(f"messages of {where}", texts)
        self.search(f"redirects of {where}", getattr(response, "redirect_chain", []))

    def search_browser(self, where: str, client: Client) -> None:
        """Look into what a browser keeps and what the site keeps about it."""
        self.search(f"cookies {where}", client.cookies.output())
        if "messages" in client.cookies:
            request = HttpRequest()
            request.COOKIES["messages"] = client.cookies["messages"].value
            self.search(
                f"messages {where}", [message.message for message in CookieStorage(request)]
            )
        if session_cookie_name() in client.cookies:
            self.search(f"session {where}", dict(client.session.items()))
        self.search_sessions(where)

    def search_sessions(
        self, where: str = "at the end", *, databases: Iterable[str] | None = None
    ) -> None:
        """Look into every session that the database holds.

        Args:
            where: how to call the moment.
            databases: the aliases of those that may be asked; all of them without it.
        """
        if not apps.is_installed("django.contrib.sessions"):
            return
        rows = apps.get_model("sessions", "Session")._default_manager.all()
        if databases is None or rows.db in databases:
            for row in rows:
                self.search(f"stored session {where}", row.get_decoded())

    def search_logs(self, *, frames: bool = True) -> None:
        """Look into every record and error report so far, and all mail.

        Args:
            frames: whether to look into the local variables of logged exceptions too, as some
                error reporters do, also where Django is told not to show them.
        """
        for record in self.records:
            self.search(f"log of {record.name}", record.getMessage())
            self.search(f"log of {record.name}", vars(record))
            if record.exc_info:
                self.search_exception(f"log of {record.name}", record.exc_info[1], frames=frames)
        for report in self.error_mail.reports:
            self.search("error report", report)
        self.search_mail()

    def search_mail(self) -> None:
        """Look into the mail that was sent."""
        for message in getattr(mail, "outbox", []):
            self.search("mail", message.message().as_string())
            # Above all is encoded for the way; this is what people read.
            self.search("mail", [message.subject, message.body, vars(message)])

    def search_exception(
        self, where: str, error: BaseException | None, *, frames: bool = True
    ) -> None:
        """Look into an exception, those behind it or in its group, and the locals of their frames.

        Args:
            where: how to call it.
            error: the exception, if there is one.
            frames: whether to look into local variables; those of tests, which know the secrets,
                are left out.
        """
        for one in _with_others(error):
            self.search(f"exception in {where}", [str(one), repr(one), one.args, vars(one)])
            trace = one.__traceback__ if frames else None
            while trace is not None:
                name = trace.tb_frame.f_code.co_name
                if not _is_test(trace.tb_frame.f_globals.get("__name__", "")):
                    # One by one: an object that cannot be written must not hide the others.
                    for item in list(trace.tb_frame.f_locals.items()):
                        self.search(f"frame {name} in {where}", item)
                trace = trace.tb_next

    def listen(self) -> AbstractContextManager[None]:
        """Hear every logger at every level in a block, without making any of them louder."""
        return capture_logs(self.records, self.error_mail)

    def require_none(self) -> None:
        """Raise an ``AssertionError`` that names the places where a secret was found."""
        if self.found:
            raise AssertionError(f"A secret leaked: {'; '.join(dict.fromkeys(self.found))}")


@contextmanager
def watch_leaks(*, databases: Iterable[str] = ("default",)) -> Iterator[LeakScan]:
    """Fail a ``with`` block during which a key leaked.

    Looks for ``KEY``, ``OTHER_KEY``, the site's own key and those that are stored at the end:
    in what Django's test clients got, logs, error reports, mail, sessions of the database and SQL
    statements. The body of a streamed answer is left to its reader: hand it to ``assert_no_leak``.
    A callable ``OPENROUTER_AUTH_SITE_KEY`` is called at the end; if it fails, its key is not found.

    Args:
        databases: the aliases of those that the block may use.

    Raises:
        AssertionError: at the end of the block; it names the places and no secret.
    """
    scan = LeakScan()
    with ExitStack() as stack:
        aliases = list(databases)
        captured = [
            stack.enter_context(CaptureQueriesContext(connections[alias])) for alias in aliases
        ]
        answers = stack.enter_context(capture_answers())
        stack.enter_context(scan.listen())
        yield scan
    # A transaction that the block has broken answers no more questions.
    readable = [alias for alias in aliases if not connections[alias].needs_rollback]
    scan.plant_keys(databases=readable)
    for answer in answers:
        asked = answer.request
        method = asked.get("REQUEST_METHOD") or asked.get("method")
        where = f"{method} {asked.get('PATH_INFO') or asked.get('path')}"
        scan.search_head(where, answer)
        if not answer.streaming:
            scan.search(f"body of {where}", answer.content)
    for queries in captured:
        scan.search("SQL", [query["sql"] for query in queries.captured_queries])
    scan.search_logs(frames=False)
    scan.search_sessions(databases=readable)
    scan.require_none()


def assert_no_leak(*things: object, secrets: Iterable[str] = ()) -> None:
    """Look for keys in these things, in the mail that was sent and in sessions of the database.

    Looks for ``KEY``, ``OTHER_KEY``, the site's own key and those that are stored.

    Args:
        *things: answers of Django's test client, with the session and the cookies of that client;
            exceptions; texts, bytes, and anything else by its ``str`` and ``repr``.
        secrets: what else to look for.

    Raises:
        AssertionError: it names the places and no secret.
    """
    scan = LeakScan()
    scan.plant_keys()
    scan.plant(**{f"secret {number}": secret for number, secret in enumerate(secrets, 1)})
    for thing in things:
        if isinstance(thing, HttpResponseBase):
            scan.search_response("the answer", thing)
            if client := getattr(thing, "client", None):
                scan.search_browser("of the client", client)
        elif isinstance(thing, BaseException):
            scan.search_exception("the exception", thing, frames=False)
        else:
            scan.search(type(thing).__name__, thing)
    scan.search_mail()
    scan.search_sessions()
    scan.require_none()


def _site_key() -> str | None:
    """Return the site's own key, if there is one and it can be had here."""
    configured = app_settings.SITE_KEY
    try:
        site_key = configured() if callable(configured) else configured
    except Exception:  # noqa: BLE001 - the site's own code, which may ask where a test must not
        return None
    return site_key if is_api_key(site_key) else None


def _with_others(error: BaseException | None) -> Iterator[BaseException]:
    """Return an exception, those that it came from, and those in its group."""
    waiting, seen = [error], set()
    while waiting:
        found = waiting.pop()
        if found is not None and id(found) not in seen:
            seen.add(id(found))
            yield found
            waiting += [found.__cause__, found.__context__]
            if isinstance(found, BaseExceptionGroup):
                waiting += found.exceptions


def _is_test(module: str) -> bool:
    """Return whether a module is part of a test, which knows the secrets."""
    parts = module.split(".")
    return module.startswith(__package__) or any(
        part in {"tests", "conftest"} or part.startswith("test_") for part in parts
    )
