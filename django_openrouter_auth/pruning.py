"""Deleting what attempts leave behind: those that nobody can finish any more, and old records."""

from collections.abc import Iterator
from datetime import timedelta

from django.db.models import QuerySet
from django.utils import timezone

from .attempts import CLOCK_SKEW, LONGEST_FINISH, attempt_rows
from .conf import app_settings
from .models import ConnectAttempt

# More than a batch, because each search may have to read the whole table.
FOUND_AT_ONCE = 10_000


def find_leftovers(older_than: timedelta) -> "dict[str, QuerySet[ConnectAttempt]]":
    """Return the attempts that nobody needs, by kind: ``expired``, ``interrupted``, ``ended``.

    Args:
        older_than: how long ago an ended attempt was started, at least.
    """
    now = timezone.now()
    # The clock of another server may be behind: what is alive there is alive here.
    oldest_alive = now - app_settings.ATTEMPT_MAX_AGE - CLOCK_SKEW
    longest_request = LONGEST_FINISH + timedelta(seconds=sum(app_settings.TIMEOUT))
    rows = attempt_rows()
    unfinished = rows.filter(outcome="")
    return {
        "expired": unfinished.filter(claimed_at=None, created_at__lt=oldest_alive),
        "interrupted": unfinished.filter(claimed_at__lt=oldest_alive - longest_request),
        "ended": rows.exclude(outcome="").filter(created_at__lt=now - older_than),
    }


def delete_in_batches(found: "QuerySet[ConnectAttempt]", batch_size: int) -> Iterator[int]:
    """Delete attempts, a few at a time so that no statement locks many; yield how many went."""
    last = 0
    while True:
        rest = found.filter(pk__gt=last).order_by("pk").values_list("pk", flat=True)
        keys = list(rest[:FOUND_AT_ONCE])
        if not keys:
            return
        for start in range(0, len(keys), batch_size):
            # The conditions once more: what another request has changed meanwhile stays.
            batch = found.filter(pk__in=keys[start : start + batch_size])
            yield batch.delete()[0]
        last = keys[-1]
