"""What the visitors did, to be compared with what the site and the provider have on record."""

import threading
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from functools import partial
from hashlib import sha256

from django.db.models import Count

from django_openrouter_auth.models import ConnectAttempt, OpenRouterKey

from .provider import Provider, key_of
from .visitors import DENIED, Figures, Started, Visit, Visitor

ORDINARY_ENDS = {"", "connected", DENIED.partition("=")[2]}


class Ledger:
    """The codes with which each user came back, and what was wrong.

    Attributes:
        callbacks: how many codes there were.
        wrong: how often which answer or record was wrong.
    """

    def __init__(self) -> None:
        self.callbacks = 0
        self.wrong: Counter[str] = Counter()
        self._codes: dict[int, set[str]] = defaultdict(set)
        self._lock = threading.Lock()

    def finish(self, visitor: Visitor, number: int, started: Started, *, times: int = 1) -> str:
        """Let the user with a number come back; return the cookie of the message.

        Args:
            times: how often the callback is loaded, one after the other.
        """
        code = started.new_code()
        with self._lock:
            self.callbacks += 1
            self._codes[number].add(code)
        message = visitor.come_back(started, code)
        for _ in range(times - 1):
            visitor.come_back(started, code)
        return message

    def callbacks_of(self, started: Iterable[tuple[int, Started]]) -> Iterator[Visit]:
        """Yield visits of users who come back, once each."""
        for number, one in started:
            yield partial(self.finish, number=number, started=one)

    def note(self, figures: Figures) -> None:
        """Keep what was wrong with the answers that visitors got."""
        self.wrong += figures.wrong

    def compare(self, provider: Provider) -> None:
        """Make sure that every code was exchanged once, and every key stored for its user."""
        counts = provider.counts()
        self._expect("codes exchanged", counts["exchanged"], self.callbacks)
        for trouble in ("used twice", "refused", "waiting"):
            self._expect(f"requests to the provider {trouble}", counts[trouble], 0)
        unfinished = ConnectAttempt.objects.filter(outcome="", claimed_at__isnull=False)
        self._expect("attempts without an end", unfinished.count(), 0)
        ends = ConnectAttempt.objects.values_list("outcome").annotate(Count("pk"))
        for end in {end for end, _ in ends} - ORDINARY_ENDS:
            self._expect(f"attempts that ended as {end}", dict(ends)[end], 0)
        stored = OpenRouterKey.objects.values_list("user__username", "key_hash", "status")
        expected = {
            f"user{number}": {sha256(key_of(code).encode()).hexdigest() for code in codes}
            for number, codes in self._codes.items()
        }
        strange = sum(
            key_hash not in expected.get(name, ()) or status != "active"
            for name, key_hash, status in stored
        )
        self._expect("keys of other users, or not active", strange, 0)
        self._expect("users with a key", len(stored), len(expected))

    def _expect(self, what: str, found: int, expected: int) -> None:
        if found != expected:
            self.wrong[f"{what}: {found}, not {expected}"] += 1
