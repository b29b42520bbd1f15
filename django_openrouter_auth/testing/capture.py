"""Catching what a site logs and answers, for the search."""

import logging
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any
from unittest.mock import patch

from django.test import AsyncClient, Client
from django.utils.log import AdminEmailHandler


class ErrorMail(AdminEmailHandler):
    """Django's error reports by mail, with all local variables, kept instead of sent."""

    def __init__(self) -> None:
        super().__init__(include_html=True)
        self.setLevel(logging.WARNING)
        self.reports: list[str] = []
        self.is_writing = False

    def emit(self, record: logging.LogRecord) -> None:
        self.is_writing = True
        try:
            super().emit(record)
        finally:
            self.is_writing = False

    def send_mail(self, subject: Any, message: Any, *args: Any, **kwargs: Any) -> None:
        self.reports.append(f"{subject}\n{message}\n{kwargs['html_message']}")


@contextmanager
def capture_logs(records: list[logging.LogRecord], error_mail: ErrorMail) -> Iterator[None]:
    """Hear every logger at every level in a block, without making any of them louder.

    Args:
        records: gets what was heard.
        error_mail: writes Django's error reports about what reaches the root logger.
    """
    handle, is_enabled = logging.Logger.handle, logging.Logger.isEnabledFor

    def hear(logger: logging.Logger, record: logging.LogRecord) -> None:
        # The templates of an error report log every variable that they miss.
        if not error_mail.is_writing:
            records.append(record)
            if is_enabled(logger, record.levelno):
                handle(logger, record)

    with ExitStack() as stack:
        stack.enter_context(patch.object(logging.Logger, "handle", hear))
        stack.enter_context(
            patch.object(logging.Logger, "isEnabledFor", lambda logger, level: True)
        )
        logging.root.addHandler(error_mail)
        stack.callback(logging.root.removeHandler, error_mail)
        yield


@contextmanager
def capture_answers() -> Iterator[list[Any]]:
    """Collect every answer that Django's test clients get in a block."""
    send, asend = Client.request, AsyncClient.request
    answers: list[Any] = []

    def request(client: Client, **environment: Any) -> Any:
        answers.append(send(client, **environment))
        return answers[-1]

    async def arequest(client: AsyncClient, **scope: Any) -> Any:
        answers.append(await asend(client, **scope))
        return answers[-1]

    with ExitStack() as stack:
        stack.enter_context(patch.object(Client, "request", request))
        stack.enter_context(patch.object(AsyncClient, "request", arequest))
        yield answers
