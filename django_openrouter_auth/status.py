"""The connection as JSON: what a program may know about it, never the key."""

from datetime import datetime
from typing import Any

from django.urls import reverse
from django.utils import timezone

from .models import OpenRouterKey


def describe(key: OpenRouterKey | None) -> dict[str, Any]:
    """Return what a program is told about a user's key, or about having none.

    Amounts are US dollars, times carry their zone.
    """
    return {
        "connected": key is not None and key.is_usable,
        "status": key and key.status,
        "hint": key and key.hint,
        "label": key and (key.label or None),
        "usage": key and _number(key.usage),
        "limit": key and _number(key.limit),
        "limit_remaining": key and _number(key.limit_remaining),
        "limit_reset": key and (key.limit_reset or None),
        "expires_at": key and _moment(key.expires_at),
        "checked_at": key and _moment(key.checked_at),
        "connected_at": key and _moment(key.connected_at),
        "urls": {
            "manage": reverse("openrouter_auth:manage"),
            "connect": reverse("openrouter_auth:connect"),
            "disconnect": reverse("openrouter_auth:disconnect"),
            "openrouter_key": key and key.settings_url,
            "openrouter_activity": key and key.activity_url,
        },
    }


def _moment(moment: datetime | None) -> datetime | None:
    """Return a time with its zone, also on a site that stores local times."""
    if moment is None or timezone.is_aware(moment):
        return moment
    return timezone.make_aware(moment, timezone.get_default_timezone())


def _number(amount: Any) -> float | None:
    return None if amount is None else float(amount)
