"""An hour of a site with 100,000 users, all of whom connect, as fast as the machine can.

Most connect at once. Some give up, say no, press the button three times, load the callback twice or
connect twice; and one user connects again and again, as a program would.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from itertools import count, islice

from django.core.management import call_command
from django.db.models import F

from django_openrouter_auth.models import ConnectAttempt

from .ledger import Ledger
from .provider import Provider
from .site import Site, session_key
from .visitors import Visit, Visitor, visit
from .watch import Sample, take_sample

PARTS = 10
WARM_UP = 500
RESTLESS = 0
RESTLESS_EVERY = 100
RECORD_DAYS = 31


@dataclass
class Soak:
    """What was taken up from the end of the warm-up to the end.

    Attributes:
        per_second: callbacks per second, with all that goes along with them.
        left: attempts that the daily job leaves of all these after 31 days.
    """

    users: int
    samples: list[Sample] = field(default_factory=list)
    per_second: float = 0.0
    left: int = 0

    def growth(self, name: str) -> float:
        """Return by how much a process grew over the second half, in KiB per 1,000 callbacks."""
        middle, end = self.samples[len(self.samples) // 2], self.samples[-1]
        return (end.rss[name] - middle.rss[name]) / (end.callbacks - middle.callbacks) * 1000


def soak(
    site: Site, provider: Provider, ledger: Ledger, *, users: int, callbacks: int, clients: int
) -> Soak:
    """Let users connect until there were so many callbacks, and take samples in between."""
    visits = _visits(ledger, users)
    ledger.note(visit(site.port, clients, islice(visits, WARM_UP)))
    made = Soak(users, [take_sample(site, ledger.callbacks)])
    elapsed, before = 0.0, ledger.callbacks
    for part in range(1, PARTS + 1):
        target = before + callbacks * part // PARTS
        figures = visit(site.port, clients, _until(target, ledger, visits))
        ledger.note(figures)
        elapsed += figures.elapsed
        made.samples.append(take_sample(site, ledger.callbacks))
    made.per_second = (ledger.callbacks - before) / elapsed
    ledger.compare(provider)
    made.left = _left_after_a_month()
    return made


def _until(callbacks: int, ledger: Ledger, visits: Iterator[Visit]) -> Iterator[Visit]:
    while ledger.callbacks < callbacks:
        yield next(visits)


def _left_after_a_month() -> int:
    """Return how many attempts the daily job leaves, 31 days on."""
    age = timedelta(days=RECORD_DAYS)
    ConnectAttempt.objects.update(
        created_at=F("created_at") - age, claimed_at=F("claimed_at") - age
    )
    call_command("openrouter_auth_prune_attempts", verbosity=0)
    return ConnectAttempt.objects.count()


def _visits(ledger: Ledger, users: int) -> Iterator[Visit]:
    for turn in count():
        number = RESTLESS if turn % RESTLESS_EVERY == 0 else 1 + turn % (users - 1)
        yield _Story(ledger, number, turn % 20)


@dataclass
class _Story:
    """What a user does; one in twenty each does something out of the ordinary."""

    ledger: Ledger
    number: int
    kind: int

    def __call__(self, visitor: Visitor) -> None:
        key = session_key(self.number)
        match self.kind:
            case 1:  # gives up, for good
                visitor.start(key)
                return
            case 2:  # says no, and yes the next time
                visitor.deny(visitor.start(key))
            case 3:  # presses the button three times
                visitor.start(key)
                visitor.start(key)
            case 4:  # connects twice
                self.ledger.finish(visitor, self.number, visitor.start(key))
        times = 2 if self.kind == 5 else 1
        message = self.ledger.finish(visitor, self.number, visitor.start(key), times=times)
        visitor.load_page(key, connected=True, told=message)
