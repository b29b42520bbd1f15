"""What the admin's own pages of keys share: permissions, addresses, links and looks."""

from collections.abc import Callable
from typing import Any, NamedTuple

from django.contrib import admin
from django.contrib.admin.templatetags.admin_urls import add_preserved_filters
from django.contrib.admin.utils import quote
from django.contrib.auth import get_permission_codename
from django.contrib.auth.base_user import AbstractBaseUser
from django.db import connections, router, transaction
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils.http import urlencode
from django.utils.translation import pgettext

from .models import OpenRouterKey

TEMPLATES = "admin/django_openrouter_auth/openrouterkey"


class Link(NamedTuple):
    """A link to one of the pages, for those who may use it."""

    url: str
    label: str


class KeyPages(admin.ModelAdmin):
    """Pages for what staff can do with keys, each with a permission beside the one to view keys."""

    # Permissions

    def has_check_permission(self, request: HttpRequest) -> bool:
        """Return whether staff may have OpenRouter asked about keys."""
        return self._may("check", request)

    def has_disconnect_permission(self, request: HttpRequest) -> bool:
        """Return whether staff may disconnect users."""
        return self._may("disconnect", request)

    def has_set_permission(self, request: HttpRequest) -> bool:
        """Return whether staff may set users' keys."""
        return self._may("set", request)

    def _may(self, deed: str, request: HttpRequest) -> bool:
        codename = get_permission_codename(deed, self.opts)
        own = f"{self.opts.app_label}.{codename}"
        return self.has_view_permission(request) and request.user.has_perm(own)

    def visible_keys(self, request: HttpRequest, **which: Any) -> list[OpenRouterKey]:
        """Return keys and their users, of those keys that this member of staff may see."""
        # A replica may not know a key that was set a moment ago.
        keys = self.get_queryset(request).using(router.db_for_write(OpenRouterKey))
        found = keys.filter(**which).select_related("user")
        return [key for key in found if self.has_view_permission(request, key)]

    # Addresses

    def page_path(self, name: str, view: Callable[[HttpRequest], HttpResponse]) -> URLPattern:
        """Return the path of a page, which is in no transaction while OpenRouter is asked."""
        page = self.admin_site.admin_view(view)
        for alias in connections:
            page = transaction.non_atomic_requests(using=alias)(page)
        return path(f"{name}/", page, name=self._url_name(name))

    def _url_name(self, name: str) -> str:
        return f"{self.opts.app_label}_{self.opts.model_name}_{name.replace('-', '_')}"

    def page_url(self, name: str, *args: object) -> str:
        """Return the address of a page, Django's own included, in this admin site."""
        name = f"admin:{self._url_name(name)}"
        return reverse(name, args=args, current_app=self.admin_site.name)

    def keep_filters(self, request: HttpRequest, url: str) -> str:
        """Return an address with what the list was filtered by, as Django's own pages do."""
        filters = self.get_preserved_filters(request)
        return add_preserved_filters({"opts": self.opts, "preserved_filters": filters}, url)

    def links(
        self, request: HttpRequest, user: AbstractBaseUser, key: OpenRouterKey | None
    ) -> list[Link]:
        """Return what staff can do for a user, with or without a key."""
        about_key = f"?{urlencode({'pk': key.pk})}" if key else ""
        about_user = f"?{urlencode({'user': user.pk})}"
        found = []
        if key and self.has_check_permission(request):
            found.append(Link(self.page_url("check") + about_key, pgettext("action", "Check now")))
        if self.has_set_permission(request):
            found.append(Link(self.page_url("set-key") + about_user, pgettext("action", "Set key")))
        if key and self.has_disconnect_permission(request):
            label = pgettext("action", "Disconnect")
            found.append(Link(self.page_url("disconnect") + about_key, label))
        return found

    # Where Django's own pages link to them

    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        links = []
        if self.has_set_permission(request):
            links = [Link(self.page_url("set-key"), pgettext("action", "Set key"))]
        return super().changelist_view(
            request, {"openrouter_links": links, **(extra_context or {})}
        )

    def render_change_form(
        self, request: HttpRequest, context: dict[str, Any], *args: Any, **kwargs: Any
    ) -> HttpResponse:
        key = context["original"]
        links = [
            Link(self.keep_filters(request, link.url), link.label)
            for link in self.links(request, key.user, key)
        ]
        return super().render_change_form(
            request, {**context, "openrouter_links": links}, *args, **kwargs
        )

    # Pages

    def back_to(self, request: HttpRequest, keys: list[OpenRouterKey]) -> str:
        """Return the address of the one key that a page was about, or of the list."""
        one = len(keys) == 1
        url = self.page_url("change", quote(keys[0].pk)) if one else self.page_url("changelist")
        return self.keep_filters(request, url)

    def go_back(self, request: HttpRequest, keys: list[OpenRouterKey]) -> HttpResponse:
        """Redirect to where a page was about."""
        return HttpResponseRedirect(self.back_to(request, keys))

    def render_page(
        self, request: HttpRequest, template: str, title: str, **context: Any
    ) -> HttpResponse:
        """Return a page that looks like one of Django's."""
        request.current_app = self.admin_site.name
        own = {
            "title": title,
            "subtitle": None,
            "opts": self.opts,
            "media": self.media,
            "has_view_permission": True,
            # The last of Django's breadcrumbs, whose markup differs between its versions.
            "original": title,
            "is_popup": False,
        }
        site = self.admin_site.each_context(request)
        return TemplateResponse(request, f"{TEMPLATES}/{template}.html", {**site, **own, **context})
