"""Nobody fills tables, sessions or workers: group DR of the threat model's catalogue."""

import pytest
from django.contrib.messages import get_messages
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from django_openrouter_auth.models import ConnectAttempt

from .connecting import CODE, start

pytestmark = pytest.mark.django_db


def test_many_starts_in_one_browser(browser):
    """DR 199: however often somebody clicks, few rows and one small session value stay."""
    for _ in range(50):
        start(browser)
    assert ConnectAttempt.objects.count() == 5
    assert set(browser.session.keys()) - {"openrouter_auth"} == {
        "_auth_user_id",
        "_auth_user_backend",
        "_auth_user_hash",
    }


def test_many_starts_in_many_browsers(user, site_url):
    """DR 199: the cap is per user, not per browser."""
    for _ in range(12):
        client = Client()
        client.force_login(user)
        start(client)
    assert ConnectAttempt.objects.count() == 5


def test_flood_of_callbacks(browser, openrouter):
    """DR 200: made-up callbacks cost no write and no exchange, and leave one message in all."""
    cookies = []
    with CaptureQueriesContext(connection) as queries:
        for number in range(100):
            state = f"{number:043}"
            response = browser.get(f"/openrouter/callback/{state}/", {"code": CODE})
            cookies.append(bool(response.cookies))
    assert openrouter.exchanges == []
    assert {query["sql"].split()[0] for query in queries} == {"SELECT"}
    assert cookies == [True] + [False] * 99
    assert len(list(get_messages(browser.get("/openrouter/").wsgi_request))) <= 1


def test_flood_of_strangers(client, openrouter, django_assert_num_queries):
    """DR 200: strangers' callbacks cost no query and set no cookie."""
    with django_assert_num_queries(0):
        for number in range(20):
            response = client.get(f"/openrouter/callback/{number:043}/", {"code": CODE})
            assert not response.cookies


def test_shapeless_states_cost_no_query(browser, django_assert_num_queries):
    """DR 200: a state that cannot be one of ours is not looked up."""
    with django_assert_num_queries(2):  # session and user
        browser.get("/openrouter/callback/short/", {"code": CODE})


@pytest.mark.parametrize(
    ("path", "data"),
    [("connect/", {"next": "/" + "x" * 3_000_000}), ("disconnect/", {"a" * 9: "b" * 3_000_000})],
)
def test_huge_posts(browser, path, data):
    """DR 203: Django's own limits hold, and answer with 4xx."""
    response = browser.post(f"/openrouter/{path}", data, "application/x-www-form-urlencoded")
    assert response.status_code < 500


def test_many_fields(browser):
    """DR 203: two thousand fields are one too many for Django."""
    data = {f"field{number}": "x" for number in range(2000)}
    assert browser.post("/openrouter/connect/", data).status_code == 400


def test_start_and_callback_take_four_and_six_statements(browser, openrouter):
    """A start takes four statements and a callback six, with the session's and the user's."""
    start(browser)
    counts = []
    with CaptureQueriesContext(connection) as queries:
        started = start(browser)
    counts.append(statements(queries))
    with CaptureQueriesContext(connection) as queries:
        browser.get(started.path, {"code": CODE})
    counts.append(statements(queries))
    assert counts == [4, 6]


def statements(queries: CaptureQueriesContext) -> int:
    """Count what is not transaction control."""
    control = ("SAVEPOINT", "RELEASE", "BEGIN", "COMMIT")
    return len([query for query in queries if not query["sql"].startswith(control)])
