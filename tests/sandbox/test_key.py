import datetime as dt
from decimal import Decimal
from http import HTTPStatus

import pytest

from django_openrouter_auth.sandbox.models import SandboxKey

from . import ACCOUNT

pytestmark = pytest.mark.django_db

CHAT = {"model": "openai/gpt-4o", "messages": [{"role": "user", "content": "Hello you"}]}


def assert_unauthorized(answer, message):
    """Compare a 401, word for word."""
    assert answer.status_code == HTTPStatus.UNAUTHORIZED
    assert answer.json() == {"error": {"message": message, "code": 401}}


def test_a_key_is_told_all_about_itself(call, key):
    """The full shape, with the key masked and not to be cached."""
    answer = call("api_key", key=key)
    assert answer["Cache-Control"] == "private, no-store"
    data = answer.json()["data"]
    assert data["label"] == f"{key[:12]}...{key[-3:]}"
    assert data["rate_limit"] == {
        "requests": -1,
        "interval": "10s",
        "note": "This field is deprecated and safe to ignore.",
    }
    assert data["is_free_tier"] is False
    assert data["is_management_key"] is False
    assert key not in answer.text


def test_a_key_without_a_limit(call, key):
    """No limit: the amounts are null, and there is no budget."""
    data = call("api_key", key=key).json()["data"]
    assert data["limit"] is None
    assert data["limit_remaining"] is None
    assert data["limit_reset"] is None
    assert data["expires_at"] is None
    assert data["budgets"] == []
    assert data["effective_budget"] is None


def test_a_key_with_a_limit_and_an_expiry(call, clock):
    """Limit, remainder, reset and expiry are those of the consent."""
    expires_at = clock.now() + dt.timedelta(days=30)
    _, key = SandboxKey.mint(
        account=ACCOUNT, limit=Decimal(10), limit_reset="monthly", expires_at=expires_at
    )
    data = call("api_key", key=key).json()["data"]
    assert (data["limit"], data["limit_remaining"], data["limit_reset"]) == (10.0, 10.0, "monthly")
    assert data["expires_at"] == "2026-08-14T12:00:00.000Z"
    assert data["effective_budget"]["scope"] == "key_limit"


@pytest.mark.parametrize(
    ("reset", "resets_at"),
    [
        ("", None),
        ("daily", "2026-07-16T00:00:00.000Z"),
        ("weekly", "2026-07-20T00:00:00.000Z"),
        ("monthly", "2026-08-01T00:00:00.000Z"),
    ],
)
def test_a_budget_says_when_it_resets(call, clock, reset, resets_at):
    """Days, Monday weeks and months end in UTC."""
    _, key = SandboxKey.mint(account=ACCOUNT, limit=Decimal(10), limit_reset=reset)
    assert call("api_key", key=key).json()["data"]["effective_budget"]["resets_at"] == resets_at


def test_usage_grows_as_models_are_asked(call):
    """Two words in and nineteen out cost money, and the remainder shrinks by as much."""
    _, key = SandboxKey.mint(account=ACCOUNT, limit=Decimal(1))
    cost = call("api_chat", key=key, json=CHAT).json()["usage"]["cost"]
    data = call("api_key", key=key).json()["data"]
    assert cost > 0
    assert data["usage"] == data["usage_daily"] == cost
    assert data["limit_remaining"] == pytest.approx(1 - cost)


@pytest.mark.parametrize(
    ("days", "daily", "weekly", "monthly"),
    [(0, 1, 1, 1), (1, 0, 1, 1), (5, 0, 0, 1), (17, 0, 0, 0)],
)
def test_usage_is_counted_by_day_week_and_month(call, key, clock, days, daily, weekly, monthly):
    """From Wednesday 15 July on, a cost drops out of the day, the week and the month in turn."""
    cost = call("api_chat", key=key, json=CHAT).json()["usage"]["cost"]
    clock.move(days=days)
    data = call("api_key", key=key).json()["data"]
    assert data["usage"] == cost
    assert data["usage_daily"] == cost * daily
    assert data["usage_weekly"] == cost * weekly
    assert data["usage_monthly"] == cost * monthly


def test_a_limit_that_resets_is_whole_again(call, clock):
    """The remainder counts from the last reset."""
    _, key = SandboxKey.mint(account=ACCOUNT, limit=Decimal(1), limit_reset="daily")
    call("api_chat", key=key, json=CHAT)
    clock.move(days=1)
    assert call("api_key", key=key).json()["data"]["limit_remaining"] == 1.0


def test_an_overspent_limit_leaves_zero(call):
    """The remainder is never negative."""
    _, key = SandboxKey.mint(account=ACCOUNT, limit=Decimal("0.01"))
    call("api_chat", key=key, json=CHAT)
    call("api_chat", key=key, json=CHAT)
    assert call("api_key", key=key).json()["data"]["limit_remaining"] == 0.0


@pytest.mark.parametrize("header", [None, "", "Bearer", "Bearer  ", "Basic YTpi"])
def test_a_request_without_a_key(call, header):
    """No key: 401 in one of the wordings that were seen."""
    headers = {} if header is None else {"Authorization": header}
    assert_unauthorized(call("api_key", headers=headers), "No cookie auth credentials found")


def test_a_request_without_a_key_in_other_words(call, turn):
    """No key, as the API reference has it."""
    turn(no_key_wording="Missing Authentication header")
    assert_unauthorized(call("api_key"), "Missing Authentication header")


def test_an_unknown_key(call):
    """A key that was never minted."""
    assert_unauthorized(call("api_key", key="sk-or-v1-" + "0" * 64), "User not found.")


def test_a_deleted_key(call, key):
    """A key whose owner deleted it."""
    SandboxKey.objects.get().delete()
    assert_unauthorized(call("api_key", key=key), "User not found.")


def test_an_expired_key(call, clock):
    """A key whose time is over looks like a deleted one."""
    expires_at = clock.now() + dt.timedelta(hours=1)
    _, key = SandboxKey.mint(account=ACCOUNT, expires_at=expires_at)
    assert call("api_key", key=key).status_code == HTTPStatus.OK
    clock.move(hours=1)
    assert_unauthorized(call("api_key", key=key), "User not found.")


def test_the_old_address_still_works(call, key):
    """/auth/key answers like /key."""
    assert call("api_legacy_key", key=key).json() == call("api_key", key=key).json()


def test_keys_are_looked_at_with_get(call, key):
    """Other methods are 405."""
    answer = call("api_key", key=key, method="POST")
    assert answer.status_code == HTTPStatus.METHOD_NOT_ALLOWED


@pytest.mark.parametrize(
    ("fault", "status", "content_type"),
    [
        ("server_error", 500, "application/json"),
        ("html", 502, "text/html; charset=utf-8"),
        ("unauthorized", 401, "application/json"),
        ("forbidden", 403, "application/json"),
    ],
)
def test_faults(call, key, turn, fault, status, content_type):
    """The check fails in the way the switch says."""
    turn(key_fault=fault)
    answer = call("api_key", key=key)
    assert (answer.status_code, answer["Content-Type"]) == (status, content_type)


def test_a_slow_check_works_in_the_end(call, key, turn, naps):
    """It takes as long as the switch says, and then answers as usual."""
    turn(key_fault="slow", slow_seconds=6)
    assert call("api_key", key=key).status_code == HTTPStatus.OK
    assert naps == [6]


def test_the_minimal_shape(call, key, turn):
    """Label, limit and usage: what all versions of the API have in common."""
    turn(key_fault="minimal")
    assert set(call("api_key", key=key).json()["data"]) == {"label", "limit", "usage"}


def test_a_management_key_says_so(call, key, turn):
    """A pasted key may be one that manages others."""
    turn(key_fault="management_key")
    data = call("api_key", key=key).json()["data"]
    assert data["is_management_key"] is True
    assert data["is_provisioning_key"] is True


def test_a_free_tier_account_says_so(call, key, turn):
    """An account that never bought credit."""
    turn(free_tier=True)
    assert call("api_key", key=key).json()["data"]["is_free_tier"] is True


def test_credits_are_for_management_keys(call, key):
    """By default the documented 403."""
    answer = call("api_credits", key=key)
    assert answer.status_code == HTTPStatus.FORBIDDEN
    assert answer.json()["error"]["message"] == "Only management keys can perform this operation"


def test_credits_may_be_zeros(call, key, turn):
    """Zeros, whatever was bought."""
    turn(credits_mode="zeros")
    data = call("api_credits", key=key).json()["data"]
    assert data == {"total_credits": 0.0, "total_usage": 0.0}


def test_credits_may_be_the_totals(call, key, turn):
    """What the account bought, and what all its keys spent."""
    turn(credits_mode="totals")
    cost = call("api_chat", key=key, json=CHAT).json()["usage"]["cost"]
    data = call("api_credits", key=key).json()["data"]
    assert data == {"total_credits": 25.0, "total_usage": cost}


def test_credits_need_a_key(call):
    """No key: 401."""
    assert call("api_credits").status_code == HTTPStatus.UNAUTHORIZED


@pytest.mark.parametrize("method", ["GET", "POST", "PATCH", "DELETE"])
@pytest.mark.parametrize("below", ["", "/current", "/" + "a" * 64, "/a/b"])
def test_an_app_cannot_manage_keys(client, key, method, below):
    """Neither list nor create, rename or delete: 401, and the key goes on working."""
    url = f"/openrouter-sandbox/api/v1/keys{below}"
    answer = client.generic(method, url, headers={"Authorization": f"Bearer {key}"})
    assert_unauthorized(answer, "Invalid management key")
    assert SandboxKey.find(key)


def test_a_key_is_printed_as_its_mask(key):
    """What is printed of a key tells nobody the key."""
    assert str(SandboxKey.objects.get()) == f"{key[:12]}...{key[-3:]}"
