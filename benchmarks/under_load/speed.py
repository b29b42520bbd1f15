"""How many visitors the site serves, and how long they wait, at several latencies of the provider.

First each kind of request alone, then whole visits, in which each kind waits for the others.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count, cycle
from statistics import quantiles

from .ledger import Ledger
from .provider import Provider
from .site import Site, session_key
from .visitors import CALLBACK, PAGE, START, Figures, Started, Visit, Visitor, visit

LATENCIES = (0.0, 0.05, 0.2)
ALONE, TOGETHER = "alone", "in whole visits"
KINDS = (START, CALLBACK, PAGE)
WARM_UP = 3.0


@dataclass
class Speed:
    """One line of the table; times are milliseconds.

    Attributes:
        latency: how long each answer of the provider took; a callback waits for two.
    """

    latency: float
    mix: str
    kind: str
    requests: int
    per_second: float
    p50: float
    p95: float
    p99: float

    @classmethod
    def of(cls, latency: float, mix: str, kind: str, figures: Figures) -> "Speed":
        """Sum up the requests of a kind."""
        seconds = figures.seconds[kind]
        p50, p95, p99 = percentiles(seconds, 50, 95, 99)
        rate = len(seconds) / figures.elapsed
        return cls(latency * 1000, mix, kind, len(seconds), rate, p50, p95, p99)


def percentiles(seconds: list[float], *which: int) -> list[float]:
    """Return percentiles in milliseconds."""
    cuts = quantiles(seconds, n=100, method="inclusive") if len(seconds) > 1 else seconds * 99
    return [cuts[one - 1] * 1000 if cuts else float("nan") for one in which]


class _Users:
    """Users who have not done anything yet, in their order."""

    def __init__(self, users: int) -> None:
        self._users, self._numbers = users, count()
        self.started: list[tuple[int, Started]] = []

    def next(self) -> int:
        return next(self._numbers) % self._users

    def starts(self) -> Iterator[Visit]:
        """Yield visits that only press the button."""
        while True:
            number = self.next()

            def press(visitor: Visitor, number: int = number) -> None:
                self.started.append((number, visitor.start(session_key(number))))

            yield press

    def pages(self) -> Iterator[Visit]:
        """Yield loads of the page, by who has pressed the button and by who may not have."""
        for number, _ in cycle(self.started):
            for one in (number, self.next()):
                yield lambda visitor, one=one: visitor.load_page(session_key(one))

    def whole_visits(self, ledger: Ledger) -> Iterator[Visit]:
        """Yield visits from the page, over OpenRouter, to the page."""
        while True:
            number = self.next()

            def connect(visitor: Visitor, number: int = number) -> None:
                visitor.load_page(session_key(number))
                message = ledger.finish(visitor, number, visitor.start(session_key(number)))
                visitor.load_page(session_key(number), connected=True, told=message)

            yield connect


def measure_speed(
    site: Site, provider: Provider, ledger: Ledger, *, users: int, clients: int, seconds: float
) -> list[Speed]:
    """Measure each latency in turn; return the lines of the table."""
    people = _Users(users)
    ledger.note(visit(site.port, clients, people.whole_visits(ledger), WARM_UP))
    lines = []
    for latency in LATENCIES:
        provider.answer_after(latency)
        people.started.clear()
        starts = visit(site.port, clients, people.starts(), seconds)
        callbacks = visit(site.port, clients, ledger.callbacks_of(people.started), seconds)
        pages = visit(site.port, clients, people.pages(), seconds)
        together = visit(site.port, clients, people.whole_visits(ledger), seconds)
        for figures in (starts, callbacks, pages, together):
            ledger.note(figures)
        alone = zip(KINDS, (starts, callbacks, pages), strict=True)
        lines += [Speed.of(latency, ALONE, kind, figures) for kind, figures in alone]
        lines += [Speed.of(latency, TOGETHER, kind, together) for kind in KINDS]
    provider.answer_after(0)
    return lines
