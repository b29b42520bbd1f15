"""What OpenRouter says about a key, read without trusting a single field of it."""

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from django.utils import timezone
from django.utils.dateparse import parse_datetime
from django.utils.timezone import get_default_timezone

from .conf import uses_time_zones

MAX_AMOUNT = Decimal(10) ** 9


@dataclass(frozen=True)
class KeyInfo:
    """What ``GET /key`` says about a key; amounts in US dollars, ``None`` where unknown."""

    label: str = ""
    usage: Decimal | None = None
    limit: Decimal | None = None
    limit_remaining: Decimal | None = None
    is_limited: bool | None = None
    limit_reset: str = ""
    is_free_tier: bool | None = None
    expires_at: datetime | None = None
    is_management_key: bool = False

    def as_fields(self) -> dict[str, Any]:
        """Return what is stored beside the key."""
        fields = dict(vars(self))
        del fields["is_management_key"]
        return fields


def read_key_info(data: dict[str, Any]) -> KeyInfo:
    """Read the answer of ``GET /key`` tolerantly: every field may be missing or of another type.

    Source: OpenRouter API reference, ``GET /key``; only a handful of the fields can be relied on.
    """
    return KeyInfo(
        label=_text(data.get("label"), 100),
        usage=_amount(data.get("usage")),
        limit=_amount(data.get("limit")),
        limit_remaining=_amount(data.get("limit_remaining")),
        is_limited=_is_limited(data),
        limit_reset=_text(data.get("limit_reset"), 20),
        is_free_tier=_flag(data.get("is_free_tier")),
        expires_at=_moment(data.get("expires_at")),
        is_management_key=data.get("is_management_key") is True
        or data.get("is_provisioning_key") is True,
    )


def _is_limited(data: dict[str, Any]) -> bool | None:
    """Return whether there is a limit: only ``null`` says that there is none."""
    if "limit" in data and data["limit"] is None:
        return False
    return None if _amount(data.get("limit")) is None else True


def _text(value: object, longest: int) -> str:
    if not isinstance(value, str):
        return ""
    return "".join(character for character in value[:longest] if character.isprintable())


def _flag(value: object) -> bool | None:
    return value if isinstance(value, bool) else None


def _amount(value: object) -> Decimal | None:
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        return None
    try:
        amount = Decimal(str(value)[:64])
        return round(amount, 9) if amount.is_finite() and abs(amount) < MAX_AMOUNT else None
    # What is no number, or too large for one.
    except ArithmeticError:
        return None


def _moment(value: object) -> datetime | None:
    try:
        moment = parse_datetime(value) if isinstance(value, str) else None
    except ValueError:
        return None
    # The first and the last year cannot be converted to every time zone.
    if moment is None or not 1970 <= moment.year < 9999:
        return None
    if timezone.is_naive(moment):
        moment = moment.replace(tzinfo=UTC)
    # A site without time zones stores its own local time.
    return moment if uses_time_zones() else timezone.make_naive(moment, get_default_timezone())


def read_identifier(value: object) -> str:
    """Return an identifier of OpenRouter, or nothing where it is not one."""
    return (
        value if isinstance(value, str) and re.fullmatch(r"[\w.:-]{1,255}", value, re.ASCII) else ""
    )
