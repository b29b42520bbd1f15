"""Asking OpenRouter about many stored keys, several at a time.

The database stays with the thread that runs this; the workers do nothing but wait for OpenRouter.
"""

import time
from collections import Counter
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import ExitStack
from datetime import timedelta
from queue import SimpleQueue
from typing import TYPE_CHECKING

from django.views.decorators.debug import sensitive_variables

from .checking import CHECK_INTERVAL, Turn, ask_through, settle, stale_keys, take_turn
from .exceptions import (
    KeyRejected,
    KeyUnreadable,
    OpenRouterAuthError,
    ProviderError,
    RateLimited,
)
from .key_info import KeyInfo
from .keys import key_rows, open_connection
from .models import OpenRouterKey

if TYPE_CHECKING:
    from .client import OpenRouterConnection

PAGE = 200
LONGEST_PAUSE = 600
MOST_FAILURES = 20

ACCEPTED = "accepted"
REJECTED = "rejected"
UNREADABLE = "unreadable"
NOT_CHECKED = "not checked"
SKIPPED = "skipped"


class GaveUp(Exception):
    """Raised when going on makes no sense; the text says why."""


class BulkCheck:
    """One run over the stale keys.

    Args:
        older_than: how long ago a key was last checked at the least.
        limit: how many keys to check at the most; ``None`` for all.
        workers: how many keys to ask about at the same time.
        pause: waits for a number of seconds.

    Attributes:
        counts: how many keys came to which end so far.
    """

    def __init__(
        self,
        older_than: timedelta,
        *,
        limit: int | None = None,
        workers: int = 8,
        pause: Callable[[float], object] = time.sleep,
    ) -> None:
        self.older_than, self.limit, self.workers = older_than, limit, workers
        self.counts: Counter[str] = Counter()
        self._pause = pause
        self._postponed_pks: list[int] = []
        self._is_second_round = False
        self._failures = 0
        self._asked_to_wait = 0

    def total(self) -> int:
        """Return how many keys there are to check."""
        number: int = stale_keys(self.older_than).count()
        return number if self.limit is None else min(number, self.limit)

    def run(self) -> Generator[int, None, None]:
        """Check the keys and yield, now and then, how many more are done.

        Stopped at any moment, it waits for the questions under way and writes the answers down.

        Raises:
            GaveUp: OpenRouter cannot be reached, or asks for a longer wait than makes sense.
        """
        with ExitStack() as stack:
            connections: SimpleQueue[OpenRouterConnection] = SimpleQueue()
            for _ in range(self.workers):
                connections.put(stack.enter_context(open_connection()))
            pool = stack.enter_context(ThreadPoolExecutor(self.workers))
            under_way: dict[Future[KeyInfo | OpenRouterAuthError], Turn] = {}
            stack.callback(self._drain, under_way)
            for keys in (self._stale(), self._postponed()):
                for key in keys:
                    yield self._begin(key, pool, connections, under_way)
                    while len(under_way) >= self.workers:
                        yield self._collect(under_way)
                while under_way:
                    yield self._collect(under_way)

    def _stale(self) -> Iterator[OpenRouterKey]:
        """Read the stale keys in the order of the primary key, a page at a time."""
        left, last = self.limit, 0
        while left is None or left > 0:
            size = PAGE if left is None else min(PAGE, left)
            rows = stale_keys(self.older_than).filter(pk__gt=last).order_by("pk")
            page = list(rows[:size])
            if not page:
                return
            yield from page
            last = page[-1].pk
            left = left if left is None else left - len(page)

    def _postponed(self) -> Iterator[OpenRouterKey]:
        """Read, once more, the keys for which OpenRouter had no time."""
        self._is_second_round = True
        if self._postponed_pks:
            self._pause(CHECK_INTERVAL.seconds)
        for first in range(0, len(self._postponed_pks), PAGE):
            yield from key_rows().filter(pk__in=self._postponed_pks[first : first + PAGE])

    @sensitive_variables()
    def _begin(
        self,
        key: OpenRouterKey,
        pool: ThreadPoolExecutor,
        connections: "SimpleQueue[OpenRouterConnection]",
        under_way: dict[Future[KeyInfo | OpenRouterAuthError], Turn],
    ) -> int:
        """Start asking about a key; return how many keys are done by that, none or one."""
        try:
            turn = take_turn(key)
        except OpenRouterAuthError as error:
            self.counts[UNREADABLE if isinstance(error, KeyUnreadable) else SKIPPED] += 1
            return 1
        under_way[pool.submit(_ask, connections, turn.api_key)] = turn
        return 0

    def _collect(self, under_way: dict[Future[KeyInfo | OpenRouterAuthError], Turn]) -> int:
        """Wait for answers, write them down, and return how many keys are done by that."""
        done, _ = wait(under_way, return_when=FIRST_COMPLETED)
        finished = sum(self._settle(under_way.pop(future), future.result()) for future in done)
        if self._failures >= MOST_FAILURES:
            raise GaveUp("OpenRouter cannot be reached, or does not answer as it should.")
        if self._asked_to_wait:
            self._rest()
        return finished

    def _settle(self, turn: Turn, answer: KeyInfo | OpenRouterAuthError) -> bool:
        """Write an answer down; return whether the key is done with."""
        settle(turn, answer)
        self._failures = self._failures + 1 if _is_outage(answer) else 0
        if isinstance(answer, RateLimited):
            wanted = answer.retry_after or CHECK_INTERVAL.seconds
            self._asked_to_wait = max(self._asked_to_wait, wanted)
            if not self._is_second_round:
                self._postponed_pks.append(turn.key.pk)
                return False
        self.counts[_end_of(answer)] += 1
        return True

    def _rest(self) -> None:
        """Wait as long as OpenRouter asked for."""
        seconds, self._asked_to_wait = self._asked_to_wait, 0
        if seconds > LONGEST_PAUSE:
            raise GaveUp(f"OpenRouter asks to be left alone for {seconds} seconds.")
        self._pause(seconds)

    def _drain(self, under_way: dict[Future[KeyInfo | OpenRouterAuthError], Turn]) -> None:
        """Write down the answers to questions that were under way when the run was stopped."""
        wait(under_way)
        for future, turn in under_way.items():
            self._settle(turn, future.result())


@sensitive_variables()
def _ask(
    connections: "SimpleQueue[OpenRouterConnection]", api_key: str
) -> KeyInfo | OpenRouterAuthError:
    connection = connections.get()
    try:
        return ask_through(connection, api_key)
    finally:
        connections.put(connection)


def _is_outage(answer: KeyInfo | OpenRouterAuthError) -> bool:
    return isinstance(answer, ProviderError) and not isinstance(answer, RateLimited)


def _end_of(answer: KeyInfo | OpenRouterAuthError) -> str:
    if isinstance(answer, KeyInfo):
        return ACCEPTED
    return REJECTED if isinstance(answer, KeyRejected) else NOT_CHECKED
