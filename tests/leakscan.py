"""A search for planted secrets in everything that a site shows, logs, sends or keeps."""

import base64
import logging
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import pytest
from django.contrib.messages.storage.cookie import CookieStorage
from django.contrib.sessions.models import Session
from django.core import mail
from django.db import connection
from django.http import HttpRequest
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils.log import AdminEmailHandler


def disguises(secret: str) -> Iterator[str]:
    """Return the ways in which a secret is likely to be written."""
    raw = secret.encode()
    yield from {secret, quote(secret), raw.hex()}
    for offset, start in enumerate((0, 2, 3)):
        for encode in (base64.b64encode, base64.urlsafe_b64encode):
            yield encode(b"\0" * offset + raw).decode()[start:-4]


class ErrorMail(AdminEmailHandler):
    """Django's error reports by mail, with all local variables, kept instead of sent."""

    def __init__(self) -> None:
        super().__init__(include_html=True)
        self.setLevel(logging.WARNING)
        self.reports: list[str] = []
        self.is_writing = False

    def emit(self, record: logging.LogRecord) -> None:
        self.is_writing = True
        super().emit(record)
        self.is_writing = False

    def send_mail(self, subject: Any, message: Any, *args: Any, **kwargs: Any) -> None:
        self.reports.append(f"{subject}\n{message}\n{kwargs['html_message']}")


class LeakScan:
    """Planted secrets, and where they were found."""

    def __init__(self) -> None:
        self.planted: dict[str, list[str]] = {}
        self.records: list[logging.LogRecord] = []
        self.error_mail = ErrorMail()
        self.found: list[str] = []

    def plant(self, **secrets: str) -> None:
        """Look for these from now on."""
        self.planted |= {name: list(disguises(secret)) for name, secret in secrets.items()}

    def search(self, where: str, what: object) -> None:
        """Look into a text, bytes or the ``repr`` of anything else."""
        text = what.decode("latin-1") if isinstance(what, bytes) else str(what)
        haystack = text if isinstance(what, (str, bytes)) else f"{text}\n{what!r}"
        for name, forms in self.planted.items():
            if any(form in haystack for form in forms):
                self.found.append(f"{name} in {where}")

    def search_response(self, where: str, response: Any, *, but: tuple[str, ...] = ()) -> None:
        """Look into status line, headers, cookies (opened too) and body of an answer."""
        for name, value in response.items():
            if name not in but:
                self.search(f"header {name} of {where}", f"{response.reason_phrase} {value}")
        self.search(f"body of {where}", b"".join(response))
        for cookie in response.cookies.values():
            self.search(f"cookie {cookie.key} of {where}", cookie.OutputString())

    def search_browser(self, where: str, client: Client) -> None:
        """Look into what the browser keeps and what the site keeps about it."""
        self.search(f"cookies {where}", client.cookies.output())
        if "messages" in client.cookies:
            request = HttpRequest()
            request.COOKIES["messages"] = client.cookies["messages"].value
            self.search(
                f"messages {where}", [message.message for message in CookieStorage(request)]
            )
        self.search(f"session {where}", dict(client.session.items()))
        for session in Session.objects.all():
            self.search(f"stored session {where}", session.get_decoded())

    def search_logs(self) -> None:
        """Look into every record and error report so far, and the frames behind them."""
        for record in self.records:
            self.search(f"log of {record.name}", record.getMessage())
            self.search(f"log of {record.name}", vars(record))
            if record.exc_info:
                self.search_exception(f"log of {record.name}", record.exc_info[1])
        for report in self.error_mail.reports:
            self.search("error report", report)
        for message in mail.outbox:
            self.search("mail", message.message().as_string())

    def search_exception(self, where: str, error: BaseException | None) -> None:
        """Look into an exception, all that it drags along, and the locals of its frames."""
        while error is not None:
            self.search(f"exception in {where}", [str(error), repr(error), error.args, vars(error)])
            trace = error.__traceback__
            while trace is not None:
                name = trace.tb_frame.f_code.co_name
                # Not the frames of the tests, which know the secrets.
                if not trace.tb_frame.f_globals["__name__"].startswith("tests."):
                    self.search(f"frame {name} in {where}", trace.tb_frame.f_locals)
                trace = trace.tb_next
            error = error.__cause__ or error.__context__


@pytest.fixture
def leaks(monkeypatch: pytest.MonkeyPatch) -> Iterator[LeakScan]:
    """A search that hears every logger at DEBUG; the test fails if anything was found."""
    scan = LeakScan()
    handle = logging.Logger.handle

    def listen(logger: logging.Logger, record: logging.LogRecord) -> None:
        # The templates of an error report log every variable that they miss.
        if not scan.error_mail.is_writing:
            scan.records.append(record)
            handle(logger, record)

    monkeypatch.setattr(logging.Logger, "handle", listen)
    monkeypatch.setattr(logging.Logger, "isEnabledFor", lambda logger, level: True)
    logging.root.addHandler(scan.error_mail)
    yield scan
    logging.root.removeHandler(scan.error_mail)
    scan.search_logs()
    assert scan.found == []


@pytest.fixture
def statements(leaks: LeakScan, db: None) -> Iterator[None]:
    """Every SQL statement with its parameters, searched when the test ends."""
    with CaptureQueriesContext(connection) as queries:
        yield
    leaks.search("SQL", [query["sql"] for query in queries.captured_queries])
