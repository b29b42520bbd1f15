"""Rows for pictures of the admin: a key in each state, and attempts that ended in each way."""

from datetime import timedelta
from decimal import Decimal
from hashlib import sha256
from typing import Any

from django.contrib.auth import get_user_model
from django.utils import timezone

from django_openrouter_auth.models import ConnectAttempt, OpenRouterKey

PASSWORD = "pictures-for-the-docs"
KEYS: dict[str, dict[str, Any]] = {
    "ada": {"limit": 25, "limit_remaining": Decimal("21.50"), "limit_reset": "monthly"},
    "grace": {"source": "code", "is_limited": False, "limit": None, "limit_remaining": None},
    "katherine": {"expires_at": timezone.now() + timedelta(days=5), "limit_remaining": 0},
    "margaret": {"status": "rejected", "source": "pasted"},
    "mary": {"status": "unreadable", "check_error": "key_unreadable"},
    "radia": {"source": "admin", "check_error": "provider_unavailable"},
    "sophie": {"checked_at": None, "usage": None, "limit": None, "limit_remaining": None},
}
ATTEMPTS = ["connected", "", "access_denied", "provider_unavailable", "state_expired", "tls_error"]


def fill() -> None:
    """Make a superuser, users with keys, and attempts."""
    users = get_user_model()._default_manager
    users.create_superuser("admin", "admin@example.org", PASSWORD)
    now = timezone.now()
    for number, (name, facts) in enumerate(KEYS.items()):
        user = users.create_user(name, f"{name}@example.org")
        api_key = f"sk-or-v1-{sha256(name.encode()).hexdigest()}"
        known = {
            "source": "oauth",
            "label": f"{api_key[:12]}...{api_key[-3:]}",
            "usage": Decimal("3.50") * (number + 1) / 2,
            "limit": 10,
            "limit_remaining": Decimal("6.50"),
            "is_limited": True,
            "is_free_tier": False,
            "requested": {"key_label": "Example chat", "limit": "10"},
            "connected_at": now - timedelta(days=3 * number),
            "checked_at": now - timedelta(hours=7 * number),
        }
        values = {**OpenRouterKey.derive(user.pk, api_key), **known, **facts}
        OpenRouterKey.objects.create(user=user, **values)
        outcome = ATTEMPTS[number % len(ATTEMPTS)]
        ConnectAttempt.objects.create(
            user=user,
            state_hash=sha256(name.encode()).hexdigest(),
            browser_hash="",
            method="S256",
            outcome=outcome,
            created_at=now - timedelta(days=3 * number),
            claimed_at=now - timedelta(days=3 * number) if outcome else None,
        )
