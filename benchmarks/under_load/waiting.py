"""Whether the page of other users is served while callbacks wait for a slow provider."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import count
from pathlib import Path

from .ledger import Ledger
from .provider import Provider
from .site import Site, Workers, served, session_key
from .speed import percentiles
from .visitors import PAGE, Figures, Visitor, WrongAnswerError, visit

LATENCY = 30.0
# So many callbacks wait at the same time, with each setting of gunicorn.
CASES = {
    Workers("2 workers, sync", 2): (0, 1, 2),
    Workers("2 workers of 4 threads", 2, 4): (0, 3, 5, 7, 8),
    Workers("2 workers of 8 threads", 2, 8): (0, 7, 11, 15, 16),
    Workers("2 workers of 8 threads, bounded", 2, 8, bounded=True): (0, 7, 11, 15, 16),
}
TRIES, PAGES, AT_A_TIME = 3, 20, 4
PATIENCE = 1.0
ARRIVAL = 3.0


@dataclass
class Served:
    """One line of the table.

    Attributes:
        waiting: how many callbacks wait for the provider.
        pages: how many pages other users asked for, in all tries.
        served: how many of them came within a second.
        p95: milliseconds, of those that came.
    """

    workers: str
    waiting: int
    pages: int
    served: int
    p95: float


def measure_waiting(folder: Path, provider: Provider, ledger: Ledger) -> list[Served]:
    """Try each setting with more and more waiting callbacks; return the lines of the table."""
    numbers = count(1)
    lines = []
    for workers, cases in CASES.items():
        with served(folder, workers, provider.api_url) as site:
            ledger.note(visit(site.port, 1, [_load_page] * 8))
            lines += [
                _measure(site, provider, ledger, workers.name, waiting, numbers)
                for waiting in cases
            ]
    return lines


def _measure(
    site: Site, provider: Provider, ledger: Ledger, name: str, waiting: int, numbers: Iterator[int]
) -> Served:
    seconds: list[float] = []
    for _ in range(TRIES):
        with _waiting_callbacks(site, provider, ledger, [next(numbers) for _ in range(waiting)]):
            figures = visit(site.port, AT_A_TIME, [_try_page] * PAGES)
        seconds += figures.seconds[PAGE]
        ledger.note(figures)
    return Served(name, waiting, TRIES * PAGES, len(seconds), *percentiles(seconds, 95))


@contextmanager
def _waiting_callbacks(
    site: Site, provider: Provider, ledger: Ledger, numbers: list[int]
) -> Iterator[None]:
    """Let users wait for the provider in their callbacks, until the end of the block."""
    provider.answer_after(0)
    visitor = Visitor(site.port)
    started = [(number, visitor.start(session_key(number))) for number in numbers]
    provider.answer_after(LATENCY)
    figures = Figures()
    hanging = threading.Thread(
        target=lambda: figures.add(visit(site.port, len(started), ledger.callbacks_of(started)))
    )
    hanging.start()
    # Where a busy worker takes more than it has threads for, some never get as far as the provider.
    deadline = time.monotonic() + ARRIVAL
    while provider.counts()["waiting"] < len(numbers) and time.monotonic() < deadline:
        time.sleep(0.01)
    try:
        yield
    finally:
        provider.answer_after(0)
        provider.release()
        hanging.join()
        ledger.note(figures)


def _load_page(visitor: Visitor) -> None:
    visitor.load_page(session_key(0))


def _try_page(visitor: Visitor) -> None:
    """Ask for the page, and give up after a second: that is what is measured, and not wrong."""
    with suppress(TimeoutError):
        answer = visitor.ask(PAGE, "GET", "/page/", session_key(0), patience=PATIENCE)
        if answer.status != 200:
            raise WrongAnswerError(f"{PAGE}: status {answer.status}")
