"""The first ``GET /key``, asked once after the exchange: cases 122 to 127 of the catalogue."""

import time
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.utils import timezone

from django_openrouter_auth import finishing
from django_openrouter_auth.models import ConnectAttempt, OpenRouterKey
from django_openrouter_auth.shortcuts import get_api_key

from .connecting import OTHER_KEY, is_clean, message_text, outcome, row, start
from .faults.outcomes import record_answer
from .leakscan import LeakScan
from .standin import STATUS, Standin, cut, drip, known, refusal, reply, reset, silence

pytestmark = pytest.mark.django_db

NOT_CHECKED = "The new key is not checked yet"
CODE = "auth_code_of_the_status_tests"


@pytest.fixture
def old_key(user: User) -> OpenRouterKey:
    """An existing connection, about which much is known."""
    return OpenRouterKey.objects.create(
        user=user,
        **OpenRouterKey.derive(user.pk, OTHER_KEY),
        source="oauth",
        label="old",
        usage=3,
        limit=5,
        limit_remaining=2,
        limit_reset="daily",
        is_free_tier=True,
        expires_at=timezone.now(),
        connected_at=timezone.now(),
        checked_at=timezone.now(),
    )


@pytest.fixture
def come_back(
    browser: Client, standin: Standin, leaks: LeakScan, request: pytest.FixtureRequest
) -> Any:
    """Return from OpenRouter with a good code; the first ``GET /key`` is answered as told."""

    def come_back(*answers: Any) -> Any:
        standin.answer(STATUS, *answers)
        started = start(browser)
        leaks.plant(code=CODE)
        response = browser.get(started.path, {"code": CODE})
        assert len(standin.exchanges) == 1
        assert len(standin.status_checks) == 1
        leaks.plant(key=standin.minted[0])
        leaks.search_response("callback", response)
        leaks.search_browser("after the callback", browser)
        assert is_clean(response)
        record_answer(request.node, response)
        return response

    return come_back


def test_good_answer(come_back, browser, user):
    """122: what OpenRouter says about the key is stored with it, and when it said so."""
    before = timezone.now()
    response = come_back(known())
    assert outcome(response) == ("success", "connected")
    assert NOT_CHECKED not in message_text(response)
    key = OpenRouterKey.objects.get()
    assert key.status == "active"
    assert key.label == "sk-or-v1-0e6...1c9"
    assert (key.usage, key.limit, key.limit_remaining) == (
        Decimal("1.25"),
        Decimal(10),
        Decimal("8.75"),
    )
    assert (key.limit_reset, key.is_free_tier) == ("monthly", False)
    assert key.expires_at == datetime(2099, 1, 2, 3, 4, 5, tzinfo=UTC)
    assert key.checked_at is not None
    assert key.checked_at >= before
    assert browser.get("/openrouter/").status_code == 200


def test_request(come_back, standin):
    """122: the key goes as bearer token, on the connection of the exchange, and nothing else."""
    come_back(known())
    (exchange,), (check,) = standin.exchanges, standin.status_checks
    assert exchange.connection == check.connection
    assert (check.method, check.body) == ("GET", b"")
    headers = {name.lower(): value for name, value in check.headers.items()}
    assert headers.pop("user-agent").startswith("django-openrouter-auth/")
    assert headers == {
        "host": f"127.0.0.1:{standin.port}",
        "accept": "application/json",
        "accept-encoding": "identity",
        "authorization": f"Bearer {standin.minted[0]}",
    }


def test_new_key_is_refused(come_back):
    """123: a key that OpenRouter does not accept at once is not stored."""
    response = come_back(refusal(401, "User not found."))
    assert outcome(response) == ("warning", "key_rejected")
    assert not OpenRouterKey.objects.exists()
    assert ConnectAttempt.objects.get().outcome == "key_rejected"


def test_refused_key_leaves_the_old_one(come_back, old_key, user):
    """123: the old connection is untouched to the byte."""
    before = row()
    come_back(refusal(401, "User not found."))
    assert row() == before
    assert get_api_key(user) == OTHER_KEY


@pytest.mark.parametrize(
    "data",
    [
        {"is_management_key": True},
        {"is_provisioning_key": True},
        {"is_management_key": False, "is_provisioning_key": True},
        {"is_management_key": True, "is_provisioning_key": None},
    ],
)
def test_management_key(come_back, old_key, data):
    """127: a key to the whole account is refused; the old connection stays as it is."""
    before = row()
    response = come_back(known(**data))
    assert outcome(response) == ("error", "management_key")
    assert "you can delete it" in message_text(response)
    assert row() == before
    assert ConnectAttempt.objects.get().outcome == "management_key"


@pytest.mark.parametrize("value", ["true", 1, None, "", [True]])
def test_only_true_makes_a_management_key(come_back, value):
    """127: a flag of another type is no flag."""
    come_back(known(is_management_key=value))
    assert OpenRouterKey.objects.get().checked_at is not None


TROUBLE = {
    "402": refusal(402, "x"),
    "403": refusal(403, "x"),
    "404": refusal(404, "x"),
    "408": refusal(408, "x"),
    "429": refusal(429, "x"),
    "500": refusal(500, "x"),
    "503 HTML": reply(b"<html>", status=503, content_type="text/html"),
    "301": reply(status=301, Location="/api/v1/elsewhere"),
    "307": reply(status=307, Location="http://[::1"),
    "204": reply(status=204),
    "HTML": reply(b"<html>", content_type="text/html"),
    "gzip": reply(b"{}", Content_Encoding="gzip"),
    "empty": reply(),
    "cut": cut(known()[:-30]),
    "reset": reset(),
    "garbage": cut(b"garbage\r\n\r\n"),
    "digits": reply(b'{"data": {"usage": ' + b"9" * 5000 + b"}}"),
    "data missing": reply({}),
    "data null": reply({"data": None}),
    "data list": reply({"data": [{"label": "x"}]}),
    "data text": reply({"data": "x"}),
    "list": reply([{"data": {}}]),
}


@pytest.mark.parametrize("answer", TROUBLE.values(), ids=TROUBLE.keys())
def test_trouble_stores_the_key_unchecked(come_back, old_key, user, standin, browser, answer):
    """124, 126: anything but 401 says nothing about the key, so it is stored as not checked."""
    response = come_back(answer)
    assert outcome(response) == ("success", "connected")
    assert NOT_CHECKED in message_text(response)
    assert get_api_key(user) == standin.minted[0]
    key = OpenRouterKey.objects.get()
    assert key.status == "active"
    # What was known about the old key must not stand beside the new one.
    assert (key.label, key.usage, key.limit, key.limit_remaining) == ("", None, None, None)
    assert (key.limit_reset, key.is_free_tier, key.expires_at) == ("", None, None)
    assert key.checked_at is None
    assert [request.path for request in standin.journal[1:]] == [STATUS]


@pytest.mark.parametrize("answer", [silence, drip(known())], ids=["silence", "drip"])
def test_slow_answer(come_back, standin, settings, monkeypatch, answer):
    """124: an answer that does not come in time stores the key as not checked yet."""
    settings.OPENROUTER_AUTH_TIMEOUT = (30, 30)
    monkeypatch.setattr(finishing, "FIRST_CHECK_PATIENCE", 0.2)
    begun = time.monotonic()
    response = come_back(answer)
    assert time.monotonic() - begun < 1.5
    assert NOT_CHECKED in message_text(response)
    assert OpenRouterKey.objects.get().checked_at is None


def test_patience():
    """124: the first check may take five seconds."""
    assert finishing.FIRST_CHECK_PATIENCE == 5


@pytest.mark.parametrize(
    "data",
    [
        {"label": None, "usage": None, "limit": None, "limit_remaining": None},
        {"label": ["x"], "usage": [], "limit": {}, "limit_remaining": True, "limit_reset": 1},
        {"label": "<b>\x00\u202e" + "x" * 10_000, "limit_reset": "x" * 500},
        {"usage": 1e300, "limit": -5, "limit_remaining": "NaN", "is_free_tier": "yes"},
        {"usage": "1e-400", "limit": "0x10", "limit_remaining": 10**18},
        {"expires_at": "9999-12-31T23:59:59-12:00"},
        {"expires_at": "9999-12-31T23:59:59Z"},
        {"expires_at": "0001-01-01T00:00:00+14:00"},
        {"expires_at": "2026-02-30T00:00:00Z"},
        {"expires_at": "soon"},
        {"expires_at": 1767225600},
        {"expires_at": "2026-06-01"},
    ],
    ids=lambda data: ascii(data)[:60],
)
def test_strange_fields(come_back, browser, user, standin, settings, data):
    """126: fields of another type or size lose neither the key nor the page about it."""
    settings.TIME_ZONE = "Pacific/Kiritimati"
    response = come_back(known(**data))
    assert outcome(response) == ("success", "connected")
    assert get_api_key(user) == standin.minted[0]
    page = browser.get("/openrouter/")
    assert page.status_code == 200
    assert "<b>" not in page.content.decode()
    assert browser.get("/openrouter/status/").status_code == 200
