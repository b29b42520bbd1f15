"""How a property is tried: how often, and each time on the same database."""

from collections.abc import Iterator
from contextlib import contextmanager

from django.db import transaction
from hypothesis import HealthCheck, settings


def examples(number: int) -> settings:
    """Return settings for so many examples, or as many as the profile makes of them.

    Args:
        number: how many the profile for every day tries.
    """
    wanted = max(1, number * settings().max_examples // 100)
    # A busy machine is slow; that says nothing about what is tried.
    return settings(max_examples=wanted, suppress_health_check=[HealthCheck.too_slow])


@contextmanager
def untouched_database() -> Iterator[None]:
    """Undo at the end of a block what it wrote, so that no example sees another one's rows."""
    with transaction.atomic():
        yield
        transaction.set_rollback(True)
