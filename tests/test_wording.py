"""Facts about a key in words for people."""

import re
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from django.template import Context, Template
from django.utils import timezone, translation

from django_openrouter_auth.models import OpenRouterKey
from django_openrouter_auth.wording import age_in_words, as_moment, terms_in_words

LIMITED = {"limit": Decimal(10), "limit_remaining": Decimal("6.5"), "is_limited": True}
UNLIMITED = {"limit": None, "limit_remaining": None, "is_limited": False}
UNKNOWN = {"limit": None, "limit_remaining": None, "is_limited": None}
NO_LIMIT = "No limit: this key can spend all of your OpenRouter credit"


@pytest.fixture(autouse=True)
def utc(settings):
    """A site in UTC."""
    settings.TIME_ZONE = "UTC"


@pytest.mark.parametrize(
    ("facts", "words", "used"),
    [
        (LIMITED, "US$\xa03.50 of US$\xa010.00 used", "3.5"),
        (
            LIMITED | {"limit_reset": "monthly"},
            "US$\xa03.50 of US$\xa010.00 used, resets monthly",
            "3.5",
        ),
        (
            LIMITED | {"limit_reset": "fortnightly"},
            "US$\xa03.50 of US$\xa010.00 used, resets fortnightly",
            "3.5",
        ),
        (LIMITED | {"limit_remaining": Decimal(-1)}, "US$\xa011.00 of US$\xa010.00 used", "11"),
        (LIMITED | {"limit_remaining": Decimal(12)}, "US$\xa00.00 of US$\xa010.00 used", "0"),
        (LIMITED | {"limit_remaining": None}, "US$\xa010.00", None),
        (
            LIMITED | {"limit_remaining": None, "limit_reset": "daily"},
            "US$\xa010.00, resets daily",
            None,
        ),
        (LIMITED | {"limit": Decimal(0), "limit_remaining": Decimal(0)}, "US$\xa00.00", None),
        (UNLIMITED, NO_LIMIT, None),
        (UNKNOWN, "not known", None),
    ],
)
def test_limit(facts, words, used):
    """The limit is told with the part that is used of it; a meter shows it where both are known."""
    key = OpenRouterKey(status="active", usage=Decimal(99), **facts)
    assert key.limit_in_words == words
    assert key.limit_used == (used and Decimal(used))
    html = render(key, "limit")
    assert words in html
    meter = re.search(r'<meter [^>]*max="100"[^>]*value="(\d+)" aria-label="Spending limit">', html)
    assert (meter and int(meter[1])) == (used and round(Decimal(used) * 10))


def render(key, part):
    """Render a part of the pages for a key."""
    return Template(f'{{% include "openrouter_auth/{part}.html" %}}').render(Context({"key": key}))


@pytest.mark.parametrize(
    ("facts", "words"),
    [
        ({"status": "active"}, "Active"),
        ({"status": "rejected"}, "Rejected by OpenRouter"),
        ({"status": "unreadable"}, "Unreadable"),
    ],
)
def test_status(facts, words):
    """A state is told by the word that the admin has for it."""
    key = OpenRouterKey(**facts)
    assert f">{words}</span>" in render(key, "status")
    assert key.get_status_display() == words


def test_status_of_an_expired_key():
    """An expired key is not called active."""
    key = OpenRouterKey(status="active", expires_at=timezone.now() - timedelta(days=1))
    assert ">Expired</span>" in render(key, "status")


@pytest.mark.parametrize(
    ("age", "words"),
    [
        (timedelta(seconds=-5), "just now"),
        (timedelta(seconds=59), "just now"),
        (timedelta(minutes=1), "1 minute ago"),
        (timedelta(minutes=59), "59 minutes ago"),
        (timedelta(hours=1), "1 hour ago"),
        (timedelta(hours=23), "23 hours ago"),
        (timedelta(days=1), "1 day ago"),
        (timedelta(days=400), "400 days ago"),
    ],
)
def test_age(monkeypatch, age, words):
    """How long ago a check was is told in the largest unit that fits."""
    now = datetime(2026, 1, 2, 3, 4, tzinfo=UTC)
    monkeypatch.setattr(timezone, "now", lambda: now)
    assert age_in_words(now - age) == words
    assert OpenRouterKey(checked_at=now - age).checked_in_words == words


def test_age_of_no_check():
    """A key that was never checked says so."""
    assert OpenRouterKey().checked_in_words == "not checked yet"


def test_time_zone(settings):
    """Times are those of the current time zone, which is named."""
    moment = datetime(2026, 1, 2, 3, 4, tzinfo=UTC)
    with timezone.override("Europe/Berlin"):
        assert as_moment(moment) == "Jan. 2, 2026, 4:04 a.m. CET"
    settings.USE_TZ = False
    settings.TIME_ZONE = "America/New_York"
    assert as_moment(moment.replace(tzinfo=None)) == "Jan. 2, 2026, 3:04 a.m. EST"


@pytest.mark.parametrize(
    ("language", "words"),
    [("de", "2. Januar 2026 03:04 UTC"), ("ar", "2 يناير، 2026 3:04 ص UTC")],
)
def test_order_of_a_moment(language, words):
    """A time is written in the order of the language, also where Django knows no such format."""
    with translation.override(language):
        assert as_moment(datetime(2026, 1, 2, 3, 4, tzinfo=UTC)) == words


def test_filter():
    """The filter writes times that are known, and nothing for others."""
    template = Template("{% load openrouter_auth %}[{{ moment|as_moment }}]")
    moment = datetime(2026, 1, 2, 3, 4, tzinfo=UTC)
    assert template.render(Context({"moment": moment})) == "[Jan. 2, 2026, 3:04 a.m. UTC]"
    assert template.render(Context({"moment": None})) == "[]"


def test_terms():
    """What a site asked for is told in an order and in words for people."""
    requested = {
        "of_tomorrow": "x",
        "workspace_id": "w",
        "expires_at": "2027-01-01T00:00:00Z",
        "usage_limit_type": "monthly",
        "limit": "20",
        "key_label": "Chat",
    }
    assert terms_in_words(requested) == [
        ("Name", "Chat"),
        ("Spending limit", "US$\xa020.00"),
        ("Limit resets", "monthly"),
        ("Expires", "Jan. 1, 2027, midnight UTC"),
        ("Workspace", "w"),
        ("of_tomorrow", "x"),
    ]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("limit", "much"),
        ("limit", "NaN"),
        ("limit", "Infinity"),
        ("expires_at", "soon"),
        ("expires_at", "2027-13-01T00:00:00Z"),
        ("expires_at", "2027-01-01"),
        ("expires_at", "2027-01-01T00:00:00"),
        ("usage_limit_type", "fortnightly"),
    ],
)
def test_odd_terms(name, value):
    """What a site asked for in words that nobody understands is shown as it is."""
    ((_, shown),) = terms_in_words({name: value})
    assert shown == value
