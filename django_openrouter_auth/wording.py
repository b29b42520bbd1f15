"""Facts about a key in words for people: amounts and times as their language writes them."""

from datetime import datetime
from decimal import Decimal

from django.utils import timezone
from django.utils.dateparse import parse_datetime
from django.utils.formats import date_format, get_format_modules
from django.utils.translation import gettext as _
from django.utils.translation import ngettext, pgettext, pgettext_lazy

from .money import as_money

PERIODS = {
    "daily": pgettext_lazy("money", "daily"),
    "weekly": pgettext_lazy("money", "weekly"),
    "monthly": pgettext_lazy("money", "monthly"),
}
REQUESTED = {
    "key_label": pgettext_lazy("fact", "Name"),
    "limit": pgettext_lazy("fact", "Spending limit"),
    "usage_limit_type": pgettext_lazy("fact", "Limit resets"),
    "expires_at": pgettext_lazy("fact", "Expires"),
    "workspace_id": pgettext_lazy("fact", "Workspace"),
}


def one_after_the_other(first: str, second: str) -> str:
    """Return two sentences as one text: not every language has a space between them."""
    return pgettext("sentences", "%(first)s %(second)s") % {"first": first, "second": second}


def as_moment(moment: datetime) -> str:
    """Return a time in the current time zone, which is named."""
    local = timezone.localtime(moment) if timezone.is_aware(moment) else moment
    # Where a language has no format for both at once, as Arabic, Django takes the English one.
    is_known = any(hasattr(module, "DATETIME_FORMAT") for module in get_format_modules())
    formats = ["DATETIME_FORMAT"] if is_known else ["DATE_FORMAT", "TIME_FORMAT"]
    return " ".join(date_format(local, name) for name in [*formats, "T"])


def age_in_words(moment: datetime) -> str:
    """Return how long ago a moment was."""
    minutes = int((timezone.now() - moment).total_seconds() // 60)
    if minutes < 1:
        return pgettext("fact", "just now")
    if minutes < 60:
        text = ngettext("%(count)d minute ago", "%(count)d minutes ago", minutes)
        return text % {"count": minutes}
    hours = minutes // 60
    if hours < 24:
        return ngettext("%(count)d hour ago", "%(count)d hours ago", hours) % {"count": hours}
    days = hours // 24
    return ngettext("%(count)d day ago", "%(count)d days ago", days) % {"count": days}


def limit_in_words(limit: Decimal, used: Decimal | None, period: str) -> str:
    """Return what a key may spend, how much of that is used, and when it begins anew.

    Args:
        limit: in US dollars.
        used: in US dollars, in the period that runs now; ``None`` where it is not known.
        period: after which the limit resets, as OpenRouter calls it; empty where it never does.
    """
    names = {"limit": as_money(limit), "period": period_in_words(period)}
    if used is None:
        text = pgettext("money", "%(limit)s, resets %(period)s") if period else "%(limit)s"
        return text % names
    if period:
        text = pgettext("money", "%(used)s of %(limit)s used, resets %(period)s")
    else:
        text = pgettext("money", "%(used)s of %(limit)s used")
    return text % {"used": as_money(used), **names}


def period_in_words(period: str) -> str:
    """Return when a limit resets; a period that nobody knows yet is named as OpenRouter does."""
    return str(PERIODS.get(period, period))


def terms_in_words(requested: dict[str, str]) -> list[tuple[str, str]]:
    """Return what a site asked for when a key was made, with names and values for people."""
    # Those that are known come first; a site may ask for others, whose names OpenRouter chose.
    names = [name for name in REQUESTED if name in requested]
    names += sorted(requested.keys() - REQUESTED.keys())
    return [(str(REQUESTED.get(name, name)), _term(name, str(requested[name]))) for name in names]


def _term(name: str, value: str) -> str:
    # A setting of the site: whatever cannot be read is shown as it is.
    try:
        if name == "limit":
            return as_money(Decimal(value))
        if name == "expires_at":
            moment = parse_datetime(value)
            # Without a zone it is for OpenRouter to say which moment is meant.
            return as_moment(moment) if moment and timezone.is_aware(moment) else value
    except (ArithmeticError, ValueError):
        return value
    return period_in_words(value) if name == "usage_limit_type" else value


def no_limit() -> str:
    """Return what a key without a limit may spend."""
    return _("No limit: this key can spend all of your OpenRouter credit")
