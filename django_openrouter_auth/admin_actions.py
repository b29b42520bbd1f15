"""What staff do with keys that are there: check now and disconnect, from the list and the page.

The actions of the list only lead to pages of their own: Django runs an action inside the list's
view, which may be in a transaction, and none may be open while OpenRouter is asked.
"""

import re
from collections import Counter
from collections.abc import Iterator
from typing import Any

from django.contrib import admin, messages
from django.contrib.admin.models import DELETION, LogEntry
from django.core.exceptions import PermissionDenied
from django.db.models import F, QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import URLPattern
from django.utils.http import urlencode
from django.utils.translation import gettext as _
from django.utils.translation import ngettext, pgettext, pgettext_lazy

from . import services
from .admin_pages import KeyPages
from .exceptions import (
    KeyChanged,
    KeyRejected,
    KeyUnreadable,
    ManagementKey,
    NotConnected,
    Throttled,
    message_of,
)
from .models import OpenRouterKey
from .selection import ACCEPTED, LONGEST_WAIT, SELECTION, check_selection

MOST_DISCONNECTED = 200
PRIMARY_KEY = re.compile(r"[0-9]{1,18}")


class KeyActions(KeyPages):
    """Check now and disconnect."""

    actions = ("check_now", "disconnect")

    def get_urls(self) -> list[URLPattern]:
        """Put the pages before Django's own, which take any first part for a primary key."""
        return [
            self.page_path("check", self.check_page),
            self.page_path("disconnect", self.disconnect_page),
            *super().get_urls(),
        ]

    @admin.action(description=pgettext_lazy("action", "Check now"), permissions=["check"])
    def check_now(self, request: HttpRequest, queryset: QuerySet[OpenRouterKey]) -> HttpResponse:
        """Lead to the page that asks whether to check keys: those first that waited longest."""
        waiting = queryset.order_by(F("check_began_at").asc(nulls_first=True), "pk")
        return self._lead_to("check", request, waiting, SELECTION)

    @admin.action(description=pgettext_lazy("action", "Disconnect"), permissions=["disconnect"])
    def disconnect(self, request: HttpRequest, queryset: QuerySet[OpenRouterKey]) -> HttpResponse:
        """Lead to the page that asks whether to disconnect users."""
        return self._lead_to("disconnect", request, queryset, MOST_DISCONNECTED)

    def _lead_to(
        self, name: str, request: HttpRequest, keys: QuerySet[OpenRouterKey], most: int
    ) -> HttpResponse:
        pks = list(keys.values_list("pk", flat=True)[: most + 1])
        if len(pks) > most:
            text = _("You selected more than %(most)d keys. This page is about %(most)d of them.")
            self.message_user(request, text % {"most": most}, messages.WARNING)
        # Django's own way to keep filters keeps one primary key only.
        query = [urlencode({"pk": pks[:most]}, doseq=True), self.get_preserved_filters(request)]
        return HttpResponseRedirect(f"{self.page_url(name)}?{'&'.join(filter(None, query))}")

    # Pages

    def check_page(self, request: HttpRequest) -> HttpResponse:
        """Ask whether to check keys (GET), or have OpenRouter asked about them (POST)."""
        if not self.has_check_permission(request):
            raise PermissionDenied
        keys = self._chosen(request, SELECTION)
        if request.method != "POST" or not keys:
            limits = {"most": SELECTION, "seconds": LONGEST_WAIT}
            return self._ask(request, "check", pgettext("action", "Check now"), keys, limits)
        codes = check_selection(key.pk for key in keys)
        if not codes:
            return self._nothing_left(request)
        for key in keys:
            if key.pk in codes:
                text = pgettext("admin", "Checked: %(code)s") % {"code": codes[key.pk]}
                self.log_change(request, key, text)
        for level, told in report(Counter(codes.values())):
            self.message_user(request, told, level)
        return self.go_back(request, keys)

    def disconnect_page(self, request: HttpRequest) -> HttpResponse:
        """Ask whether to disconnect users (GET), or delete the local copies of keys (POST)."""
        if not self.has_disconnect_permission(request):
            raise PermissionDenied
        keys = self._chosen(request, MOST_DISCONNECTED)
        if request.method != "POST" or not keys:
            label = pgettext("action", "Disconnect")
            return self._ask(request, "disconnect", label, keys, {"most": MOST_DISCONNECTED})
        who: Any = request.user.pk
        gone = []
        for key in keys:
            if services.disconnect(key.user):
                gone.append(key)
                # At once: what is done is on record even if the next one fails.
                deed = pgettext("admin", "Disconnected")
                LogEntry.objects.log_actions(who, [key], DELETION, deed)
        if not gone:
            return self._nothing_left(request)
        text = ngettext(
            "%(count)d user is disconnected: this site has deleted its copy of the key. If the "
            "key still exists at OpenRouter, it works until its owner deletes it there.",
            "%(count)d users are disconnected: this site has deleted its copies of the keys. Keys "
            "that still exist at OpenRouter work until their owners delete them there.",
            len(gone),
        )
        self.message_user(request, text % {"count": len(gone)}, messages.SUCCESS)
        return self.go_back(request, [])

    def _chosen(self, request: HttpRequest, most: int) -> list[OpenRouterKey]:
        """Return the keys that a page is about, of those that this member of staff may see."""
        is_agreed = request.method == "POST"
        named = (request.POST if is_agreed else request.GET).getlist("pk")
        pks = [int(pk) for pk in named if PRIMARY_KEY.fullmatch(pk)]
        keys = self.visible_keys(request, pk__in=pks[:most])
        # A key that replaced the one that the page showed is none that staff agreed to.
        shown = set(request.POST.getlist("shown"))
        return [key for key in keys if not is_agreed or f"{key.pk} {key.hint}" in shown]

    def _ask(
        self,
        request: HttpRequest,
        name: str,
        title: str,
        keys: list[OpenRouterKey],
        limits: dict[str, int],
    ) -> HttpResponse:
        if not keys:
            return self._nothing_left(request)
        back = self.back_to(request, keys)
        return self.render_page(
            request, f"{name}_confirmation", title, keys=keys, back=back, **limits
        )

    def _nothing_left(self, request: HttpRequest) -> HttpResponse:
        text = _("There is nothing to do: none of these keys exists any more.")
        self.message_user(request, text, messages.WARNING)
        return self.go_back(request, [])


def report(counts: Counter[str]) -> Iterator[tuple[int, str]]:
    """Yield, for each end that a check came to, the level of the message and its words."""
    for code, count in sorted(counts.items()):
        level = messages.SUCCESS if code == ACCEPTED else messages.WARNING
        yield level, _outcome(code, count) % {"count": count, "reason": message_of(code)}


def _outcome(code: str, count: int) -> str:
    if code == ACCEPTED:
        return ngettext(
            "OpenRouter accepts %(count)d key.", "OpenRouter accepts %(count)d keys.", count
        )
    if code == KeyRejected.code:
        return ngettext(
            "OpenRouter rejects %(count)d key: it was deleted, switched off or has expired. Its "
            "owner has to connect again.",
            "OpenRouter rejects %(count)d keys: they were deleted, switched off or have expired. "
            "Their owners have to connect again.",
            count,
        )
    if code == KeyUnreadable.code:
        return ngettext(
            "%(count)d key can no longer be read, so OpenRouter was not asked. Its owner has to "
            "connect again.",
            "%(count)d keys can no longer be read, so OpenRouter was not asked. Their owners have "
            "to connect again.",
            count,
        )
    if code == Throttled.code:
        return ngettext(
            "%(count)d key was checked less than 30 seconds ago, so it was not checked again.",
            "%(count)d keys were checked less than 30 seconds ago, so they were not checked again.",
            count,
        )
    if code in (KeyChanged.code, NotConnected.code):
        return ngettext(
            "%(count)d key was replaced or deleted meanwhile, so the result was dropped.",
            "%(count)d keys were replaced or deleted meanwhile, so the results were dropped.",
            count,
        )
    if code == ManagementKey.code:
        return ngettext(
            "%(count)d key is a management key, which cannot call models. Its owner has to connect "
            "with an ordinary key.",
            "%(count)d keys are management keys, which cannot call models. Their owners have to "
            "connect with ordinary keys.",
            count,
        )
    return ngettext(
        "%(count)d key could not be checked. %(reason)s",
        "%(count)d keys could not be checked. %(reason)s",
        count,
    )
