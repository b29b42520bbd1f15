"""Asking about a few keys while somebody waits."""

import json

import pytest
import requests

from django_openrouter_auth.models import OpenRouterKey
from django_openrouter_auth.selection import LONGEST_WAIT, PATIENCE, SELECTION, check_selection
from django_openrouter_auth.transport import call_deadline

from .connecting import API
from .stored_keys import api_key, store_keys, write

pytestmark = pytest.mark.django_db


@pytest.fixture
def asked(openrouter):
    """The keys that OpenRouter is asked about, and its answers; by default it accepts each."""
    keys = []
    answers = {}

    def respond(request):
        key = request.headers["Authorization"].removeprefix("Bearer ")
        keys.append(key)
        answer = answers.get(key, (200, {}, json.dumps({"data": {"usage": 2}})))
        if isinstance(answer, Exception):
            raise answer
        return answer() if callable(answer) else answer

    openrouter.mock.remove("GET", f"{API}/key")
    openrouter.mock.add_callback("GET", f"{API}/key", respond, content_type="application/json")
    return keys, answers


def test_every_end(asked):
    """Each key comes to its end, which is written down, whatever becomes of the others."""
    _, answers = asked
    rows = store_keys(6)
    write(rows[5], b"damaged")
    answers[api_key(1)] = (401, {}, "{}")
    answers[api_key(2)] = (500, {}, "")
    answers[api_key(3)] = (200, {}, json.dumps({"data": {"is_management_key": True}}))

    answers[api_key(4)] = requests.ReadTimeout()
    codes = check_selection(row.pk for row in rows)
    assert [codes[row.pk] for row in rows] == [
        "accepted",
        "key_rejected",
        "provider_unavailable",
        "management_key",
        "provider_unavailable",
        "key_unreadable",
    ]
    stored = OpenRouterKey.objects.order_by("pk").values_list("status", "check_error")
    assert list(stored) == [
        ("active", ""),
        ("rejected", ""),
        ("active", "provider_unavailable"),
        ("active", "management_key"),
        ("active", "provider_unavailable"),
        ("unreadable", "key_unreadable"),
    ]


def test_keys_of_a_moment_ago(asked):
    """A key that was asked about less than 30 seconds ago is not asked about again."""
    keys, _ = asked
    [row] = store_keys(1)
    check_selection([row.pk])
    assert check_selection([row.pk]) == {row.pk: "throttled"}
    assert len(keys) == 1


def test_replaced_meanwhile(asked, monkeypatch):
    """The answer about a key that was replaced while OpenRouter was asked is dropped."""
    [row] = store_keys(1)

    def settle(turn, answer):
        return False

    monkeypatch.setattr("django_openrouter_auth.selection.settle", settle)
    assert check_selection([row.pk]) == {row.pk: "key_changed"}


def test_bounds(asked):
    """Of any number of keys 24 are asked about, in 15 seconds at the most."""
    keys, _ = asked
    rows = store_keys(SELECTION + 1)
    codes = check_selection(row.pk for row in rows)
    assert sorted(codes) == [row.pk for row in rows[:SELECTION]]
    assert (len(keys), LONGEST_WAIT) == (24, 15)


def test_patience(asked, monkeypatch):
    """OpenRouter has five seconds for each question."""
    monkeypatch.setattr("time.monotonic", lambda: 1000.0)
    _, answers = asked
    deadlines = []

    def note():
        deadlines.append(call_deadline.get())
        return (200, {}, "{}")

    answers[api_key(0)] = note
    [row] = store_keys(1)
    check_selection([row.pk])
    assert deadlines == [1000.0 + PATIENCE]


def test_nobody(db):
    """Keys that are gone are left out."""
    assert check_selection([7]) == {}
