"""What a key can ask about itself: ``/key``, ``/credits``, and ``/keys``, which refuses."""

import datetime as dt
from decimal import Decimal

from django.db.models import Sum
from django.http import HttpRequest, HttpResponse, JsonResponse

from .api import api_view, authenticate, error, owner_id, unknown_key
from .faults import html_page, stall
from .models import LimitReset, SandboxGeneration, SandboxKey, window_start
from .switches import CreditsMode, KeyFault, SandboxSwitches

BOUGHT_CREDITS = 25.0
"""US dollars that every sandbox account has bought."""


def _dollars(amount: Decimal | None) -> float | None:
    return None if amount is None else float(amount)


def _iso(moment: dt.datetime | None) -> str | None:
    if moment is None:
        return None
    utc = moment.astimezone(dt.UTC).replace(tzinfo=None)
    return f"{utc.isoformat(timespec='milliseconds')}Z"


def _resets_at(reset: str) -> dt.datetime | None:
    if not reset:
        return None
    start = window_start(reset)
    if reset == LimitReset.MONTHLY:
        return (start + dt.timedelta(days=31)).replace(day=1)
    return start + dt.timedelta(days=1 if reset == LimitReset.DAILY else 7)


def describe_briefly(key: SandboxKey) -> dict[str, object]:
    """Return the least that ``/key`` has ever said.

    Source: OpenRouter documentation, "Limits", as of 2024.
    """
    return {
        "label": key.label,
        "limit": _dollars(key.limit),
        "usage": _dollars(key.usage()),
    }


def describe(key: SandboxKey, switches: SandboxSwitches) -> dict[str, object]:
    """Return all that ``/key`` says today; amounts are US dollars, times ISO 8601 in UTC.

    Source: OpenRouter API reference, "Get current API key".
    """
    budgets = []
    if key.limit is not None:
        budgets.append(
            {
                "budget_id": None,
                "guardrail_id": None,
                "include_byok": False,
                "limit_usd": _dollars(key.limit),
                "remaining_usd": _dollars(key.limit_remaining),
                "reset_interval": key.limit_reset or None,
                "resets_at": _iso(_resets_at(key.limit_reset)),
                "scope": "key_limit",
                "spend_usd": _dollars(key.usage(key.limit_reset)),
            }
        )
    is_management_key = switches.key_fault == KeyFault.MANAGEMENT_KEY
    return {
        **describe_briefly(key),
        "limit_remaining": _dollars(key.limit_remaining),
        "limit_reset": key.limit_reset or None,
        "usage_daily": _dollars(key.usage(LimitReset.DAILY)),
        "usage_weekly": _dollars(key.usage(LimitReset.WEEKLY)),
        "usage_monthly": _dollars(key.usage(LimitReset.MONTHLY)),
        "byok_usage": 0.0,
        "byok_usage_daily": 0.0,
        "byok_usage_weekly": 0.0,
        "byok_usage_monthly": 0.0,
        "include_byok_in_limit": False,
        "is_free_tier": switches.free_tier,
        "is_management_key": is_management_key,
        "is_provisioning_key": is_management_key,
        "expires_at": _iso(key.expires_at),
        "creator_user_id": owner_id(key),
        "organization_id": None,
        "workspace_id": None,
        "allowed_data_regions": ["global"],
        "free_model_daily_requests": {"limit": 1000, "remaining": 1000, "used": 0},
        "rate_limit": {
            "requests": -1,
            "interval": "10s",
            "note": "This field is deprecated and safe to ignore.",
        },
        "budgets": budgets,
        "effective_budget": budgets[0] if budgets else None,
    }


@api_view("GET", "HEAD")
def current_key(request: HttpRequest) -> HttpResponse:
    """Tell a key about itself."""
    switches = SandboxSwitches.load()
    key = authenticate(request, switches)
    match switches.key_fault:
        case KeyFault.SLOW:
            stall(switches)
        case KeyFault.SERVER_ERROR:
            return error(500, "Internal Server Error")
        case KeyFault.HTML:
            return html_page(502)
        case KeyFault.UNAUTHORIZED:
            return unknown_key()
        case KeyFault.FORBIDDEN:
            return error(403, "Forbidden", user=owner_id(key))
        case KeyFault.MINIMAL:
            return _private({"data": describe_briefly(key)})
    return _private({"data": describe(key, switches)})


def _private(body: dict[str, object]) -> JsonResponse:
    return JsonResponse(body, headers={"Cache-Control": "private, no-store"})


@api_view("GET", "HEAD")
def account_credits(request: HttpRequest) -> HttpResponse:
    """Tell, or refuse to tell, what the account has bought and spent, in US dollars."""
    switches = SandboxSwitches.load()
    key = authenticate(request, switches)
    if switches.credits_mode == CreditsMode.FORBIDDEN:
        return error(403, "Only management keys can perform this operation")
    bought, used = 0.0, 0.0
    if switches.credits_mode == CreditsMode.TOTALS:
        bought, used = BOUGHT_CREDITS, account_usage(key.account)
    return JsonResponse({"data": {"total_credits": bought, "total_usage": used}})


def account_usage(account: str) -> float:
    """Return the US dollars that all keys of an account have spent."""
    spent = SandboxGeneration.objects.filter(key__account=account).aggregate(total=Sum("cost"))
    return float(spent["total"] or 0)


@api_view("GET", "POST", "PATCH", "DELETE")
def managed_keys(_request: HttpRequest, **_below: str) -> HttpResponse:
    """Refuse to manage keys: that takes a management key, which nobody gets by OAuth.

    Source: OpenRouter documentation, "Management API keys".
    """
    return error(401, "Invalid management key")
