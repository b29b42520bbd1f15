"""The admin's list of keys, beside one that loads and decrypts each key."""

from collections.abc import Callable
from typing import Any

from django.contrib import admin
from django.contrib.auth import get_user_model
from django.db.models import QuerySet
from django.test import RequestFactory
from django.urls import reverse

from django_openrouter_auth.admin import OpenRouterKeyAdmin
from django_openrouter_auth.models import OpenRouterKey
from django_openrouter_auth.testing.users import connect

from .browser import Browser, Timing, timed
from .decrypting_admin import DecryptingAdmin, site
from .figures import Figure, Part, ratio_goal
from .versions import OURS

DECRYPTING = "decrypting"
LIST = "admin:django_openrouter_auth_openrouterkey_changelist"
KEYS = 100
GOAL = 0.5
WARM_UPS = 3


def measure(application: Callable[..., Any], runs: int) -> list[Part]:
    """Show both lists in turn; measure the page, and apart from it the rows that it is made of."""
    model = get_user_model()
    OpenRouterKey.objects.all().delete()
    for number in range(KEYS):
        connect(model.objects.create(username=f"listed{number}", password="!"))
    staff = Browser(application, "staff")
    model.objects.filter(username="staff").update(is_staff=True, is_superuser=True)
    paths = {
        OURS.name: reverse(LIST),
        DECRYPTING: reverse(LIST, current_app=site.name),
    }
    request = RequestFactory().get("/")
    admins = {
        OURS.name: OpenRouterKeyAdmin(OpenRouterKey, admin.site),
        DECRYPTING: DecryptingAdmin(OpenRouterKey, site),
    }
    columns: dict[str, Callable[[Any], str]] = {
        OURS.name: lambda key: key.hint,
        DECRYPTING: admins[DECRYPTING].masked,
    }
    pages: dict[str, list[Timing]] = {name: [] for name in paths}
    rows: dict[str, list[Timing]] = {name: [] for name in paths}
    for number in range(runs + WARM_UPS):
        for name in list(paths)[:: -1 if number % 2 else 1]:
            response, page = staff.get(paths[name])
            assert response.content.count(b"sk-or-v1-") >= KEYS, name
            queryset = admins[name].get_queryset(request).select_related("user")
            found, row = timed(_masks, queryset, columns[name])
            assert len(found) == KEYS
            if number >= WARM_UPS:
                pages[name].append(page)
                rows[name].append(row)
    figures = [
        Figure(
            f"{what}: {clock}",
            {name: [getattr(one, clock) * 1000 for one in made] for name, made in timings.items()},
            "ms",
        )
        for what, timings in (("page", pages), ("its rows and masks alone", rows))
        for clock in ("wall", "cpu")
    ]
    goal = ratio_goal("admin list: of one that decrypts", GOAL, figures[:2], DECRYPTING)
    return [
        Part(f"Admin list of {KEYS} keys", figures, [goal] if goal else [], [f"{runs} of each"])
    ]


def _masks(queryset: QuerySet, column: Callable[[Any], str]) -> list[str]:
    return [column(key) for key in queryset]
