"""What the lists and pages of the admin say, and how they are filtered."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from django.contrib import admin
from django.contrib.auth.models import User
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from django_openrouter_auth.admin import ConnectAttemptAdmin, OpenRouterKeyAdmin
from django_openrouter_auth.models import ConnectAttempt, OpenRouterKey

from .connecting import HINT, start
from .staff import ATTEMPTS, KEYS
from .stored_keys import store_keys

pytestmark = pytest.mark.django_db
NOW = datetime(2026, 5, 4, 12, tzinfo=UTC)
HOUR, DAY = timedelta(hours=1), timedelta(days=1)


@pytest.fixture(autouse=True)
def clock(monkeypatch):
    """It is noon."""
    monkeypatch.setattr(timezone, "now", lambda: NOW)


def key_column(name, **facts):
    """What a column of the list of keys says about a key."""
    column = getattr(OpenRouterKeyAdmin(OpenRouterKey, admin.site), name)
    return str(column(OpenRouterKey(**facts)))


def attempt_column(name, **facts):
    """What a column of the list of attempts says about an attempt."""
    column = getattr(ConnectAttemptAdmin(ConnectAttempt, admin.site), name)
    return str(column(ConnectAttempt(**facts)))


# Columns


@pytest.mark.parametrize(
    ("facts", "kind", "words"),
    [
        ({}, "good", "Active"),
        ({"status": "rejected"}, "bad", "Rejected by OpenRouter"),
        ({"status": "unreadable", "expires_at": NOW + DAY}, "bad", "Unreadable"),
        ({"expires_at": NOW + DAY}, "waiting", "Expires soon"),
        ({"expires_at": NOW - DAY}, "bad", "Expired"),
        ({"expires_at": NOW + 15 * DAY}, "good", "Active"),
    ],
)
def test_status(facts, kind, words):
    """A status is told in words, and its badge has a sign and a colour beside them."""
    badge = f'<span class="openrouter-badge openrouter-badge--{kind}">{words}</span>'
    assert key_column("state", **facts) == badge


@pytest.mark.parametrize(
    ("name", "facts", "words"),
    [
        ("used", {"usage": None}, "not known"),
        ("used", {"usage": Decimal("3.5")}, "US$\xa03.50"),
        ("spending_limit", {"is_limited": False}, "No limit"),
        ("spending_limit", {}, "not known"),
        (
            "spending_limit",
            {"is_limited": True, "limit": Decimal(10), "limit_remaining": Decimal("6.5")},
            "US$\xa03.50 of US$\xa010.00 used",
        ),
        ("checked", {}, "not checked yet"),
        ("checked", {"checked_at": NOW - 3 * HOUR}, "3 hours ago"),
        ("last_check", {"checked_at": NOW - 3 * HOUR}, "3 hours ago"),
        ("account", {}, "not known"),
        ("account", {"is_free_tier": True}, "Free tier: no credit was ever bought"),
        ("account", {"is_free_tier": False}, "Credit was bought"),
        ("asked_for", {}, "nothing"),
        ("asked_for", {"requested": {"key_label": "Chat", "limit": "5"}}, "Name: Chat\n"),
    ],
)
def test_facts(name, facts, words):
    """Money is told as money, and what is not known as such."""
    assert key_column(name, **facts).startswith(words)


def test_failed_check():
    """A check that failed is marked in the list, and told in words on the page."""
    facts = {"checked_at": NOW - DAY, "check_error": "provider_unavailable"}
    assert "1 day ago" in key_column("checked", **facts)
    assert "Last check failed" in key_column("checked", **facts)
    assert key_column("last_check", **facts).startswith("OpenRouter could not be reached")


@pytest.mark.parametrize(
    ("facts", "badge", "words"),
    [
        ({}, "Pending", "The user has not come back from OpenRouter yet."),
        ({"claimed_at": NOW}, "Pending", "It is being finished, or was interrupted."),
        ({"outcome": "connected"}, "Connected", "OpenRouter is connected."),
        ({"outcome": "access_denied"}, "Not connected", "You did not allow access"),
        ({"outcome": "tls_error"}, "Not connected", "This site could not be sure"),
    ],
)
def test_outcome(facts, badge, words):
    """How an attempt ended is told in words."""
    assert badge in attempt_column("result", **facts)
    assert attempt_column("in_words", **facts).startswith(words)


# Filters


def found(client, page, query):
    """The primary keys that a query of a list finds, in order."""
    return sorted(row.pk for row in client.get(page + query).context["cl"].result_list)


KEY_ROWS = [
    {"checked_at": NOW - HOUR, "expires_at": NOW - DAY},
    {"checked_at": NOW - 2 * DAY, "expires_at": NOW + DAY, "is_limited": True},
    {"checked_at": NOW - 8 * DAY, "expires_at": NOW + 15 * DAY, "is_limited": False},
    {"check_error": "tls_error", "is_limited": True, "limit_remaining": 0, "status": "rejected"},
]


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("last_check=day", [0]),
        ("last_check=older", [1, 2]),
        ("last_check=week", [2]),
        ("last_check=never", [3]),
        ("last_check=failed", [3]),
        ("expiry=expired", [0]),
        ("expiry=soon", [1]),
        ("expiry=later", [2]),
        ("expiry=none", [3]),
        ("spending_limit=limited", [1, 3]),
        ("spending_limit=used_up", [3]),
        ("spending_limit=unlimited", [2]),
        ("spending_limit=unknown", [0]),
        ("status__exact=rejected", [3]),
        ("source__exact=oauth&expiry=soon", [1]),
        ("last_check=nonsense", [0, 1, 2, 3]),
        ("connected_at__year=2026&connected_at__month=5&connected_at__day=4", [0, 1, 2, 3]),
        ("connected_at__year=2025", []),
    ],
)
def test_filters(staff, query, expected):
    """Each filter finds the keys that it names; one that does not exist finds all."""
    pks = []
    for facts in KEY_ROWS:
        key = store_keys(1)[0]
        key.user.username = f"somebody {key.pk}"
        key.user.save()
        OpenRouterKey.objects.filter(pk=key.pk).update(**facts)
        pks.append(key.pk)
    assert found(staff, KEYS, f"?{query}") == [pks[number] for number in expected]


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("result=pending", [0]),
        ("result=connected", [1]),
        ("result=failed", [2]),
        ("outcome=tls_error", [2]),
        ("outcome=nonsense", []),
        ("mode__exact=callback", [0, 1, 2]),
        ("created_at__year=2026", [0, 1, 2]),
    ],
)
def test_filters_of_attempts(staff, browser, query, expected):
    """Attempts are found by how they ended, and when they began."""
    for outcome in ("tls_error", "connected", ""):
        start(browser)
        newest = ConnectAttempt.objects.latest("pk").pk
        ConnectAttempt.objects.filter(pk=newest).update(outcome=outcome)
    pks = list(ConnectAttempt.objects.order_by("-pk").values_list("pk", flat=True))
    assert found(staff, ATTEMPTS, f"?{query}") == sorted(pks[number] for number in expected)


def test_codes_of_attempts_that_staff_may_not_see(staff, browser, monkeypatch):
    """The codes to choose from are those of the attempts that a member of staff may see."""
    start(browser)
    ConnectAttempt.objects.update(outcome="tls_error")
    assert b"?outcome=tls_error" in staff.get(ATTEMPTS).content
    monkeypatch.setattr(
        ConnectAttemptAdmin, "get_queryset", lambda self, request: ConnectAttempt.objects.none()
    )
    assert b"?outcome=tls_error" not in staff.get(ATTEMPTS).content


@pytest.mark.parametrize(
    ("page", "titles"),
    [
        (KEYS, ["status", "source", "spending limit", "expiry", "last check", "connected at"]),
        (ATTEMPTS, ["result", "mode", "started at"]),
    ],
)
def test_facets(staff, connected, page, titles):
    """Every filter counts, where staff ask for it, and each takes a query or two for it."""
    with CaptureQueriesContext(connection) as queries:
        plain = staff.get(page)
    with CaptureQueriesContext(connection) as more:
        counted = staff.get(f"{page}?_facets=True")
    assert [str(spec.title) for spec in counted.context["cl"].filter_specs] == titles
    assert counted.context["cl"].add_facets
    assert not plain.context["cl"].add_facets
    assert 0 < len(more) - len(queries) <= 2 * len(titles)


@pytest.mark.parametrize(("page", "field"), [(KEYS, "connected_at"), (ATTEMPTS, "created_at")])
def test_date_hierarchy(staff, connected, page, field):
    """Both lists are browsed by date, where the database knows time zones."""
    knows_zones = connection.features.has_zoneinfo_database
    assert (staff.get(page).context["cl"].date_hierarchy == field) == knows_zones


@pytest.mark.parametrize(
    ("lookup", "value"),
    [
        ("status__exact", "active"),
        ("user__is_active__exact", "1"),
        ("user__groups__isnull", "True"),
        ("user__id__exact", "{user}"),
        ("source__exact", "oauth"),
        ("limit_reset__isempty", "1"),
    ],
)
def test_filters_of_a_site(staff, user, connected, monkeypatch, lookup, value):
    """The filters that a site's own class names work in each form that Django knows."""
    offered = [
        "status",
        "user__is_active",
        "user__groups",
        ("user", admin.RelatedOnlyFieldListFilter),
        ("source", admin.ChoicesFieldListFilter),
        ("limit_reset", admin.EmptyFieldListFilter),
    ]
    monkeypatch.setattr(OpenRouterKeyAdmin, "list_filter", offered)
    answer = staff.get(KEYS, {lookup: value.format(user=user.pk)})
    assert answer.status_code == 200
    assert HINT in answer.content.decode()
    for other in ("user__password__startswith", "user__password", "status__regex", "statusx"):
        assert staff.get(KEYS, {other: "p"}).status_code == 400


def test_search_of_a_site(staff, connected, monkeypatch):
    """A site's own class says by what is searched."""
    monkeypatch.setattr(OpenRouterKeyAdmin, "search_fields", ("user__first_name",))
    User.objects.filter(username="ann").update(first_name="Anna")
    assert HINT in staff.get(KEYS, {"q": "anna"}).content.decode()
    assert HINT not in staff.get(KEYS, {"q": "example"}).content.decode()


@pytest.mark.parametrize("page", [KEYS, ATTEMPTS])
def test_database_without_time_zones(staff, connected, page, monkeypatch):
    """Where MySQL has no tables of time zones, the lists are there without their dates."""
    monkeypatch.setattr(connection.features, "has_zoneinfo_database", False)
    response = staff.get(page)
    assert response.status_code == 200
    assert not response.context["cl"].date_hierarchy
    assert staff.get(f"{page}?o=1").status_code == 200


@pytest.mark.parametrize("field", range(1, 9))
def test_ordering(staff, connected, field):
    """Every column of keys sorts, or is left as it is."""
    assert staff.get(f"{KEYS}?o=-{field}").status_code == 200


# Pages


def test_order_of_the_page(staff, connected):
    """The page of a key tells who, state, money, dates and details, in this order."""
    text = staff.get(f"{KEYS}{connected.pk}/change/").content.decode()
    places = [
        text.index(f"field-{name}")
        for name in (
            "user",
            "hint",
            "state",
            "last_check",
            "used",
            "spending_limit",
            "account",
            "connected_at",
            "checked_at",
            "expires_at",
            "updated_at",
            "source",
            "label",
            "asked_for",
        )
    ]
    assert places == sorted(places)


def test_no_links_to_openrouter(staff, connected):
    """Pages of OpenRouter that only the owner sees are not linked for staff."""
    text = staff.get(f"{KEYS}{connected.pk}/change/").content.decode()
    assert "https://openrouter.ai" not in text


def test_nothing_is_inline(staff, connected):
    """Our own parts of the admin carry neither scripts nor styles; the stylesheet is a file."""
    for page in ("", f"{connected.pk}/change/", "set-key/", f"check/?pk={connected.pk}"):
        text = staff.get(KEYS + page).content.decode()
        assert "openrouter_auth/admin.css" in text
        assert " style=" not in text
        assert "<style" not in text
