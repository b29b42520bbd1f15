"""Asking OpenRouter about many stored keys, several at a time.

The database stays with the thread that runs this; the workers do nothing but wait for OpenRouter.
"""

import math
import time
from collections import Counter
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import ExitStack
from datetime import timedelta
from queue import SimpleQueue
from typing import TYPE_CHECKING

from django.utils import timezone
from django.views.decorators.debug import sensitive_variables

from .exceptions import (
    KeyRejected,
    KeyUnreadable,
    OpenRouterAuthError,
    ProviderUnavailable,
    RateLimited,
    TLSError,
)
from .introspection import CHECK_INTERVAL, Turn, ask, settle, stale_keys, take_turn
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
        self._began_at = timezone.now()
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
            under_way: dict[Future[KeyInfo | OpenRouterAuthError], Turn] = {}
            stack.callback(self._count_postponed)
            # Left last, the pool ends first: by then every question that was put is answered.
            stack.callback(self._settle_answered, under_way)
            pool = stack.enter_context(ThreadPoolExecutor(self.workers))
            for keys in (self._stale(), self._postponed()):
                for key in keys:
                    yield self._begin(key, pool, connections, under_way)
                    while len(under_way) >= self.workers:
                        yield self._collect(under_way)
                while under_way:
                    yield self._collect(under_way)

    def _stale(self) -> Iterator[OpenRouterKey]:
        """Read the stale keys, a page at a time; those whose last check failed come last.

        So a key that fails again and again stands in nobody's way, whatever the limit.
        """
        left = math.inf if self.limit is None else self.limit
        last = 0
        while left > 0:
            rows = stale_keys(self.older_than).filter(check_error="", pk__gt=last).order_by("pk")
            page = list(rows[: min(PAGE, left)])
            if not page:
                break
            yield from page
            last, left = page[-1].pk, left - len(page)
        while left > 0:
            rows = stale_keys(self.older_than).exclude(check_error="")
            waiting = rows.filter(check_began_at__lte=self._began_at - CHECK_INTERVAL)
            page = list(waiting.order_by("check_began_at", "pk")[: min(PAGE, left)])
            if not page:
                break
            yield from page
            left -= len(page)

    def _postponed(self) -> Iterator[OpenRouterKey]:
        """Read, once more, the keys for which OpenRouter had no time."""
        self._is_second_round = True
        if self._postponed_pks:
            self._pause(CHECK_INTERVAL.seconds)
        while self._postponed_pks:
            yield from key_rows().filter(pk=self._postponed_pks.pop())

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
        # On record before it starts: whoever stops the run in between loses no answer.
        future: Future[KeyInfo | OpenRouterAuthError] = Future()
        under_way[future] = turn
        pool.submit(_ask, future, connections, turn.api_key)
        return 0

    def _collect(self, under_way: dict[Future[KeyInfo | OpenRouterAuthError], Turn]) -> int:
        """Wait for answers, write them down, and return how many keys are done by that."""
        done, _ = wait(under_way, return_when=FIRST_COMPLETED)
        finished = sum(self._settle(under_way.pop(future), future.result()) for future in done)
        if self._failures >= MOST_FAILURES:
            raise GaveUp("OpenRouter cannot be reached, or does not answer as it should.")
        if self._asked_to_wait:
            # The wait may be long, and the run be stopped in it.
            finished += self._drain(under_way)
            self._rest()
        return finished

    def _settle(self, turn: Turn, answer: KeyInfo | OpenRouterAuthError) -> bool:
        """Write an answer down; return whether the key is done with."""
        settle(turn, answer)
        self._failures = self._failures + 1 if _is_outage(answer) else 0
        wanted = _wanted_wait(answer)
        if wanted:
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

    def _count_postponed(self) -> None:
        """Count the keys that were to have another turn, where the run ended before."""
        if self._postponed_pks:
            self.counts[NOT_CHECKED] += len(self._postponed_pks)

    def _drain(self, under_way: dict[Future[KeyInfo | OpenRouterAuthError], Turn]) -> int:
        """Wait for all questions under way, and write the answers down."""
        wait(under_way)
        return self._settle_answered(under_way)

    def _settle_answered(self, under_way: dict[Future[KeyInfo | OpenRouterAuthError], Turn]) -> int:
        """Write down the answers that have come."""
        ended = {future: under_way.pop(future) for future in list(under_way) if future.done()}
        return sum(self._settle(turn, future.result()) for future, turn in ended.items())


@sensitive_variables()
def _ask(
    future: Future[KeyInfo | OpenRouterAuthError],
    connections: "SimpleQueue[OpenRouterConnection]",
    api_key: str,
) -> None:
    connection = connections.get()
    try:
        future.set_result(ask(api_key, connection))
    # Whoever waits for the answer is told, as by a future of the pool itself.
    except BaseException as error:  # noqa: BLE001 - raised again where the answer is awaited
        future.set_exception(error)
    finally:
        connections.put(connection)


def _is_outage(answer: KeyInfo | OpenRouterAuthError) -> bool:
    """Return whether an answer says something about OpenRouter, and not about one key."""
    return isinstance(answer, (ProviderUnavailable, TLSError))


def _wanted_wait(answer: KeyInfo | OpenRouterAuthError) -> int:
    """Return for how many seconds OpenRouter wants to be left alone; mostly 0."""
    if isinstance(answer, KeyInfo):
        return 0
    return answer.retry_after or (CHECK_INTERVAL.seconds if isinstance(answer, RateLimited) else 0)


def _end_of(answer: KeyInfo | OpenRouterAuthError) -> str:
    if isinstance(answer, KeyInfo):
        return ACCEPTED
    return REJECTED if isinstance(answer, KeyRejected) else NOT_CHECKED
