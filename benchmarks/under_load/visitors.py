"""Visitors of the site: signed in, each with a session of its own, and as cheap as can be.

A visitor writes bytes to a socket and reads until the site closes it: every request has a
connection of its own, as behind nginx without ``keepalive``. No library parses the answers, so that
this side takes little of the processors that the site needs.
"""

import itertools
import re
import socket
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from urllib.parse import parse_qs, urlsplit

HOST = "app.example"
PAGE, START, CALLBACK = "button page", "start", "callback"
TOKEN = "t" * 32
FORM = f"csrfmiddlewaretoken={TOKEN}".encode()
DENIED = "error=access_denied"
PATIENCE = 60.0
MOST_WRONG = 20
MESSAGES = re.compile(rb"\r\nSet-Cookie: messages=([^;]*);", re.IGNORECASE)
LOCATION = re.compile(rb"\r\nLocation: ([^\r]*)\r", re.IGNORECASE)

_numbers = itertools.count()


class WrongAnswerError(Exception):
    """The site did something else than it was asked for."""


class TooManyWrongError(Exception):
    """So much went wrong that figures would mean nothing."""


@dataclass
class Answer:
    """What the site said, and after how many seconds."""

    status: int
    head: bytes
    body: bytes
    seconds: float

    def found(self, pattern: re.Pattern[bytes]) -> str:
        """Return what the head says, or an empty string."""
        match = pattern.search(self.head)
        return match[1].decode() if match else ""


@dataclass
class Figures:
    """What a group of visitors saw.

    Attributes:
        seconds: how long each request took, by kind.
        wrong: how often which answer was wrong.
        elapsed: from the first request to the end of the last one.
    """

    seconds: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    wrong: Counter[str] = field(default_factory=Counter)
    elapsed: float = 0.0

    def add(self, other: "Figures") -> None:
        """Put the figures of another visitor to these."""
        for kind, seconds in other.seconds.items():
            self.seconds[kind] += seconds
        self.wrong += other.wrong


@dataclass
class Started:
    """An attempt whose user is at OpenRouter."""

    session_key: str
    path: str
    challenge: str

    def new_code(self) -> str:
        """Return a code that the stand-in takes for this attempt, once."""
        return f"{self.challenge}.{next(_numbers)}"


class Visitor:
    """Somebody at a browser, who notes down how long the site took.

    Args:
        port: where the site listens.
    """

    def __init__(self, port: int) -> None:
        self._address = "127.0.0.1", port
        self.figures = Figures()

    def load_page(self, session_key: str, *, connected: bool | None = None, told: str = "") -> None:
        """Load the page with the button, which tells whether the user is connected.

        Args:
            told: the cookie of a message that waits to be shown.
        """
        cookies = f"; messages={told}" if told else ""
        answer = self.ask(PAGE, "GET", "/page/", session_key, cookies=cookies)
        self._require(PAGE, answer, 200)
        if connected is not None and connected != (b"sk-or-v1-" in answer.body):
            raise WrongAnswerError(f"{PAGE}: connected is not {connected}")
        if told and b"OpenRouter is connected" not in answer.body:
            raise WrongAnswerError(f"{PAGE}: no word of the connection")

    def start(self, session_key: str) -> Started:
        """Press the button."""
        answer = self.ask(START, "POST", "/openrouter/connect/", session_key, body=FORM)
        self._require(START, answer, 303)
        sent = parse_qs(urlsplit(answer.found(LOCATION)).query)
        path = urlsplit(sent["callback_url"][0]).path
        return Started(session_key, path, sent["code_challenge"][0])

    def come_back(self, started: Started, code: str) -> str:
        """Come back from OpenRouter with a code; return the cookie of the message about it."""
        return self._return(started, f"code={code}", "/page/")

    def deny(self, started: Started) -> None:
        """Come back from OpenRouter without a code."""
        self._return(started, DENIED, "/openrouter/")

    def _return(self, started: Started, query: str, location: str) -> str:
        path = f"{started.path}?{query}"
        kind = "denial" if query == DENIED else CALLBACK
        answer = self.ask(kind, "GET", path, started.session_key)
        self._require(kind, answer, 303)
        if answer.found(LOCATION) != location:
            raise WrongAnswerError(f"{kind}: on to {answer.found(LOCATION)}")
        return answer.found(MESSAGES)

    def _require(self, kind: str, answer: Answer, status: int) -> None:
        if answer.status != status:
            raise WrongAnswerError(f"{kind}: status {answer.status}")

    def ask(
        self,
        kind: str,
        method: str,
        path: str,
        session_key: str,
        *,
        cookies: str = "",
        body: bytes = b"",
        patience: float = PATIENCE,
    ) -> Answer:
        """Send a request and wait for the whole answer.

        Raises:
            OSError: the site did not take it, or gave no answer in time.
        """
        head = (
            f"{method} {path} HTTP/1.1\r\nHost: {HOST}\r\nConnection: close\r\n"
            "Accept: text/html,application/xhtml+xml,*/*;q=0.8\r\nAccept-Language: en\r\n"
            f"Cookie: sessionid={session_key}; csrftoken={TOKEN}{cookies}\r\n"
        )
        if body:
            form = "application/x-www-form-urlencoded"
            head += f"Content-Type: {form}\r\nContent-Length: {len(body)}\r\n"
        began = time.perf_counter()
        with socket.create_connection(self._address, timeout=patience) as connection:
            connection.sendall(f"{head}\r\n".encode() + body)
            received = []
            while more := connection.recv(65536):
                received.append(more)
        seconds = time.perf_counter() - began
        self.figures.seconds[kind].append(seconds)
        head_of_answer, _, text = b"".join(received).partition(b"\r\n\r\n")
        status = int(head_of_answer[9:12] or 0)
        return Answer(status, head_of_answer + b"\r\n", text, seconds)


Visit = Callable[[Visitor], object]


def visit(
    port: int, clients: int, visits: Iterable[Visit], seconds: float = float("inf")
) -> Figures:
    """Let so many visitors at a time pay visits, each the next one as soon as one is over.

    Args:
        visits: what there is to do; ends the measurement when it ends.
        seconds: when no more visits are begun.

    Raises:
        TooManyWrongError: as it says; a few wrong answers are in the figures.
    """
    figures, lock, remaining = Figures(), threading.Lock(), iter(visits)
    began = time.perf_counter()

    def next_visit() -> Visit | None:
        with lock:
            is_over = time.perf_counter() - began > seconds
            return None if is_over or is_hopeless() else next(remaining, None)

    def is_hopeless() -> bool:
        return sum(one.figures.wrong.total() for one in visitors) > MOST_WRONG

    def pay_visits(visitor: Visitor) -> None:
        while one := next_visit():
            try:
                one(visitor)
            except (WrongAnswerError, OSError) as error:
                visitor.figures.wrong[str(error) or type(error).__name__] += 1

    visitors = [Visitor(port) for _ in range(clients)]
    threads = [threading.Thread(target=pay_visits, args=(one,), daemon=True) for one in visitors]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    figures.elapsed = time.perf_counter() - began
    for visitor in visitors:
        figures.add(visitor.figures)
    if is_hopeless():
        raise TooManyWrongError(f"gave up after {dict(figures.wrong)}")
    return figures
