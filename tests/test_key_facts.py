"""What follows from the facts about a key, to the second and to the cent."""

from datetime import timedelta
from decimal import Decimal

import pytest
from django.utils import timezone

from django_openrouter_auth import models
from django_openrouter_auth.keys import (
    find_key,
    identity,
    mark_readable,
    mark_unreadable,
    same_key,
    show_key,
)
from django_openrouter_auth.models import OpenRouterKey

from .connecting import KEY

NOW = timezone.now()
DAYS, SECOND = timedelta(days=14), timedelta(seconds=1)


@pytest.mark.parametrize(
    ("left", "soon", "expired"),
    [
        (DAYS + SECOND, False, False),
        (DAYS, True, False),
        (SECOND, True, False),
        (timedelta(), True, True),
        (-SECOND, True, True),
        (None, False, False),
    ],
)
def test_end_of_a_key(monkeypatch, left, soon, expired):
    """A key expires soon from two weeks before, and has expired at that very moment."""
    monkeypatch.setattr(models.timezone, "now", lambda: NOW)
    key = OpenRouterKey(expires_at=None if left is None else NOW + left)
    assert (key.expires_soon, key.is_expired) == (soon, expired)


@pytest.mark.parametrize(
    ("is_limited", "remaining", "used_up"),
    [
        (True, "0", True),
        (True, "-1", True),
        (True, "0.01", False),
        (True, None, False),
        (None, "0", False),
        (False, "0", False),
    ],
)
def test_used_up(is_limited, remaining, used_up):
    """A limit is used up where nothing is left of it; what is not known is not claimed."""
    remaining = remaining and Decimal(remaining)
    assert OpenRouterKey(is_limited=is_limited, limit_remaining=remaining).is_used_up is used_up


@pytest.fixture
def stored(user):
    """A key of the user."""
    return OpenRouterKey.objects.create(user=user, **OpenRouterKey.derive(user.pk, KEY))


def test_ciphertext_stays_in_the_database(user, stored):
    """Who looks for a key does not load its secret."""
    assert find_key(user).get_deferred_fields() == {"secret"}


def test_the_very_key(user, other_user):
    """A key is known by row, fingerprint and time, so that none is taken for another."""
    mine, twin = (
        OpenRouterKey.objects.create(
            user=owner, connected_at=NOW, **OpenRouterKey.derive(owner.pk, KEY)
        )
        for owner in (user, other_user)
    )
    assert list(same_key(*identity(mine))) == [mine]
    assert list(same_key(*identity(twin))) == [twin]
    assert not same_key(mine.pk, "other", NOW)
    assert not same_key(mine.pk, mine.key_hash, NOW - SECOND)


@pytest.mark.parametrize(
    ("mark", "before", "after"),
    [
        (lambda key: mark_unreadable(*identity(key)), "active", "unreadable"),
        (mark_readable, "unreadable", "active"),
    ],
)
def test_marks_have_a_time(user, stored, mark, before, after):
    """The row says when it was found that a key cannot be read, or can be again."""
    OpenRouterKey.objects.update(status=before, updated_at=NOW - DAYS)
    stored.refresh_from_db()
    mark(stored)
    stored.refresh_from_db()
    assert stored.status == after
    assert stored.updated_at > NOW - DAYS


def test_button_asks_once(user, stored, django_assert_num_queries):
    """However many buttons a page has, one query finds the key."""
    with django_assert_num_queries(1):
        assert show_key(user) is show_key(user)
