"""The filters of the admin's lists, each a question that staff have."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any, ClassVar

from django.contrib.admin import SimpleListFilter
from django.db.models import Model, Q, QuerySet
from django.http import HttpRequest
from django.utils import timezone
from django.utils.functional import Promise
from django.utils.translation import pgettext_lazy

from .attempts import CONNECTED
from .models import EXPIRES_SOON, ConnectAttempt

DAY, WEEK = timedelta(days=1), timedelta(days=7)


class QuestionFilter(SimpleListFilter):
    """A filter whose answers are conditions, and are counted as Django counts its own."""

    answers: ClassVar[dict[str, tuple[Promise, Callable[[], Q]]]]

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:
        return [(value, words) for value, (words, _) in self.answers.items()]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Model]) -> QuerySet[Model]:
        """Return what fits the chosen answer; everything where there is no such answer."""
        chosen = self.answers.get(self.value() or "")
        return queryset.filter(chosen[1]()) if chosen else queryset


class CheckFilter(QuestionFilter):
    """How long ago OpenRouter last told about a key."""

    title = pgettext_lazy("admin", "last check")
    parameter_name = "last_check"
    answers = {
        "day": (
            pgettext_lazy("admin", "Within 24 hours"),
            lambda: Q(checked_at__gt=timezone.now() - DAY),
        ),
        "older": (
            pgettext_lazy("admin", "More than 24 hours ago"),
            lambda: Q(checked_at__lte=timezone.now() - DAY),
        ),
        "week": (
            pgettext_lazy("admin", "More than 7 days ago"),
            lambda: Q(checked_at__lte=timezone.now() - WEEK),
        ),
        "never": (pgettext_lazy("admin", "Never"), lambda: Q(checked_at=None)),
        "failed": (pgettext_lazy("admin", "Failed"), lambda: ~Q(check_error="")),
    }


class ExpiryFilter(QuestionFilter):
    """Whether a key expires, and how soon."""

    title = pgettext_lazy("admin", "expiry")
    parameter_name = "expiry"
    answers = {
        "expired": (
            pgettext_lazy("admin", "Expired"),
            lambda: Q(expires_at__lte=timezone.now()),
        ),
        "soon": (
            pgettext_lazy("admin", "Expires within 14 days"),
            lambda: Q(expires_at__gt=timezone.now(), expires_at__lte=timezone.now() + EXPIRES_SOON),
        ),
        "later": (
            pgettext_lazy("admin", "Expires later"),
            lambda: Q(expires_at__gt=timezone.now() + EXPIRES_SOON),
        ),
        "none": (pgettext_lazy("admin", "No expiry known"), lambda: Q(expires_at=None)),
    }


class LimitFilter(QuestionFilter):
    """Whether a key has a limit, and whether that is used up."""

    title = pgettext_lazy("admin", "spending limit")
    parameter_name = "spending_limit"
    answers = {
        "limited": (pgettext_lazy("admin", "Has a limit"), lambda: Q(is_limited=True)),
        "used_up": (
            pgettext_lazy("admin", "Limit used up"),
            lambda: Q(is_limited=True, limit_remaining__lte=0),
        ),
        "unlimited": (pgettext_lazy("admin", "No limit"), lambda: Q(is_limited=False)),
        "unknown": (pgettext_lazy("admin", "Not known"), lambda: Q(is_limited=None)),
    }


class ResultFilter(QuestionFilter):
    """How an attempt ended."""

    title = pgettext_lazy("admin", "result")
    parameter_name = "result"
    answers = {
        "pending": (pgettext_lazy("status", "Pending"), lambda: Q(outcome="")),
        "connected": (pgettext_lazy("status", "Connected"), lambda: Q(outcome=CONNECTED)),
        "failed": (
            pgettext_lazy("status", "Not connected"),
            lambda: ~Q(outcome__in=("", CONNECTED)),
        ),
    }


class CodeFilter(SimpleListFilter):
    """The code of what went wrong, of those that occur."""

    title = pgettext_lazy("admin", "code")
    parameter_name = "outcome"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:
        seen: QuerySet[ConnectAttempt] = model_admin.get_queryset(request)
        failed = seen.exclude(outcome__in=("", CONNECTED))
        codes = failed.order_by("outcome").values_list("outcome", flat=True).distinct()
        return [(code, code) for code in codes]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Model]) -> QuerySet[Model]:
        """Return the attempts that ended with a code; all where none is chosen."""
        return queryset.filter(outcome=self.value()) if self.value() else queryset
