"""Celery tasks that ask OpenRouter about stored keys; arguments and results hold no secret.

Every task may run twice or die half-way: what was checked meanwhile is no longer stale, and the
database lets a key be asked about once in 30 seconds. So a task is acknowledged when it is done,
and one that waits for its next try says so by one message, however many keys it has left.
"""

import math
from collections import Counter
from datetime import timedelta
from typing import TYPE_CHECKING, Any, NoReturn

from celery import Task, shared_task
from celery.utils.time import get_exponential_backoff_interval
from django.db.models import F, QuerySet
from django.views.decorators.debug import sensitive_variables

from .. import introspection
from ..exceptions import (
    OpenRouterAuthError,
    ProviderUnavailable,
    RateLimited,
    Throttled,
)
from ..keys import key_rows, open_connection
from ..models import OpenRouterKey

if TYPE_CHECKING:
    from ..client import OpenRouterConnection

RANGE_SIZE = 100
MAX_RETRIES = 8
FIRST_WAIT, LONGEST_WAIT = 30, 900
# With the longest wait on top still less than the hour after which a Redis broker, as Celery sets
# it up, takes a waiting task for lost and hands it out again.
LONGEST_RETRY_AFTER = 1800
SURVIVES_ITS_WORKER = {"acks_late": True, "reject_on_worker_lost": True, "ignore_result": True}
ACTIVE = OpenRouterKey.Status.ACTIVE.value
UNCHANGED = "unchanged"


@shared_task(
    bind=True,
    name="django_openrouter_auth.contrib.celery.check_key",
    rate_limit="10/s",
    max_retries=MAX_RETRIES,
    **SURVIVES_ITS_WORKER,
)
def check_key(self: Task, pk: Any, stale_after_hours: float | None = None) -> str:
    """Ask OpenRouter about one key and write down what it says.

    Args:
        pk: the primary key of the row; nothing happens if it is gone.
        stale_after_hours: ask only if the last answer is older; ``None``: ask in any case.

    Returns:
        ``"active"``, ``"unchanged"`` if there was no need to ask, or the code of what went wrong.
    """
    rows = key_rows() if stale_after_hours is None else _stale(stale_after_hours)
    key = rows.filter(pk=pk).first()
    # Whoever had the turn while this task waited has got an answer.
    if key is None or (self.request.retries and _is_answered(key)):
        return UNCHANGED
    try:
        with open_connection() as connection:
            return _ask(key, connection)
    except Throttled as error:
        if (key := rows.filter(pk=pk).first()) is None or _is_answered(key):
            return UNCHANGED
        _try_again(self, error)
    except (RateLimited, ProviderUnavailable) as error:
        _try_again(self, error)


@shared_task(name="django_openrouter_auth.contrib.celery.check_stale_keys", **SURVIVES_ITS_WORKER)
def check_stale_keys(stale_after_hours: float = 24) -> int:
    """Enqueue a task for every 100 keys about which OpenRouter said nothing for some time.

    Args:
        stale_after_hours: how old the last answer must be.

    Returns:
        how many tasks were enqueued.
    """
    pks = _stale(stale_after_hours).order_by("pk").values_list("pk", flat=True)
    count = 0
    found = list(pks[:RANGE_SIZE])
    while found:
        check_range.delay(found[0], found[-1], stale_after_hours)
        count += 1
        found = list(pks.filter(pk__gt=found[-1])[:RANGE_SIZE])
    return count


@shared_task(
    bind=True,
    name="django_openrouter_auth.contrib.celery.check_range",
    rate_limit="1/s",
    max_retries=MAX_RETRIES,
    **SURVIVES_ITS_WORKER,
)
def check_range(self: Task, first: Any, last: Any, stale_after_hours: float) -> dict[str, int]:
    """Ask OpenRouter about the stale keys among those from one primary key to another.

    Stops where OpenRouter has enough or does not answer, and goes on later with what is left.

    Returns:
        how often each outcome of :func:`check_key` came up.
    """
    stale = _stale(stale_after_hours).filter(pk__gte=first, pk__lte=last)
    # What was asked about last comes last: one key that always fails stands in nobody's way.
    longest_ago_first = (F("check_began_at").asc(nulls_first=True), "pk")
    outcomes: Counter[str] = Counter()
    trouble: OpenRouterAuthError | None = None
    pks = list(stale.order_by(*longest_ago_first).values_list("pk", flat=True)[:RANGE_SIZE])
    with open_connection() as connection:
        for pk in pks:
            key = stale.filter(pk=pk).first()
            try:
                outcomes[UNCHANGED if key is None else _ask(key, connection)] += 1
            except Throttled as error:
                # Whoever has the turn may have died in it.
                trouble = error
            except (RateLimited, ProviderUnavailable) as error:
                trouble = error
                break
    if trouble is not None:
        _try_again(self, trouble)
    return dict(outcomes)


def _stale(hours: float) -> QuerySet[OpenRouterKey]:
    """Return the keys with an older answer; an age of zero or none at all is a mistake."""
    if not (math.isfinite(hours) and 0 < hours <= 365 * 24):
        raise ValueError("stale_after_hours must be a number of hours above 0 and up to 8760.")
    return introspection.stale_keys(timedelta(hours=hours))


def _is_answered(key: OpenRouterKey) -> bool:
    """Return whether the latest check of a key got an answer."""
    asked, answered = key.check_began_at, key.checked_at
    return asked is not None and answered is not None and answered >= asked


@sensitive_variables()
def _ask(key: OpenRouterKey, connection: "OpenRouterConnection") -> str:
    """Return what came of asking about a key.

    Raises:
        Throttled, RateLimited, ProviderUnavailable: asking later may help.
    """
    try:
        introspection.check_key(key, connection)
    except (Throttled, RateLimited, ProviderUnavailable):
        raise
    except OpenRouterAuthError as error:
        return error.code
    return ACTIVE


def _try_again(task: Task, error: OpenRouterAuthError) -> NoReturn:
    """Put a task off, unless it was put off too often or for too long already."""
    wait = error.retry_after or 0
    if wait > LONGEST_RETRY_AFTER:
        raise error
    if not isinstance(error, Throttled):
        # Sooner it would not be this key's turn. The jitter keeps tasks from coming back together.
        backoff = get_exponential_backoff_interval(
            FIRST_WAIT, task.request.retries, LONGEST_WAIT, full_jitter=True
        )
        wait = max(wait, round(introspection.CHECK_INTERVAL.total_seconds())) + backoff
    raise task.retry(exc=error, countdown=wait)
