"""The admin: staff see who is connected and how attempts ended; nobody sees or edits a key."""

from collections.abc import Iterator
from typing import Any

from django.contrib import admin
from django.contrib.admin.filters import SimpleListFilter
from django.contrib.admin.options import IncorrectLookupParameters
from django.contrib.admin.utils import unquote
from django.contrib.admin.views.main import ChangeList
from django.contrib.auth import get_user_model
from django.db import connections
from django.db.models import Model, QuerySet
from django.http import HttpRequest, HttpResponse
from django.utils.translation import pgettext_lazy

from . import services
from .admin_actions import KeyActions
from .admin_columns import AttemptColumns, KeyColumns
from .admin_filters import CheckFilter, CodeFilter, ExpiryFilter, LimitFilter, ResultFilter
from .admin_pages import KeyPages, Link
from .admin_set_key import SetKey
from .keys import find_key
from .models import ConnectAttempt, OpenRouterKey

# What the filters of the admin itself use.
COMPARISONS = ("", "exact", "in", "isnull", "isempty", "gte", "lt")
# And what its date hierarchy uses.
DATES = ("year", "month", "day")


def _compares(lookup: str, name: str) -> bool:
    """Return whether a lookup compares what a filter is about with a value."""
    path, _, comparison = lookup.removeprefix(name).rpartition("__")
    # Related rows are told apart by their own primary keys: "user__id__exact".
    is_direct = not path or (path.startswith("__") and name.partition("__")[0] == "user")
    return lookup.startswith(name) and is_direct and comparison in COMPARISONS


class ReadOnlyAdmin(admin.ModelAdmin):
    """Let staff look, and nothing else."""

    class Media:
        css = {"all": ["openrouter_auth/admin.css"]}

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False

    def lookup_allowed(self, lookup: str, value: Any, request: HttpRequest) -> bool:
        """Filter by what the page offers and nothing else: a fingerprint is no search term."""
        name, _, comparison = lookup.partition("__")
        if name == self.date_hierarchy and comparison in DATES:
            return True
        offered = any(_compares(lookup, name) for name in self._filters(request))
        return offered and super().lookup_allowed(lookup, value, request)

    def _filters(self, request: HttpRequest) -> Iterator[str]:
        """Yield the names by which the list is filtered."""
        for one in self.get_list_filter(request):
            if isinstance(one, type) and issubclass(one, SimpleListFilter):
                yield str(one.parameter_name)
            else:
                # A site's own class may pair a field with a filter.
                yield str(one[0] if isinstance(one, (tuple, list)) else one)

    def get_changelist_instance(self, request: HttpRequest) -> ChangeList:
        """Refuse what PostgreSQL refuses before it does, and offer no more than MySQL can do."""
        if any("\0" in value for values in request.GET.lists() for value in values[1]):
            raise IncorrectLookupParameters
        found = super().get_changelist_instance(request)
        # MySQL finds the days of a time zone only where somebody loaded its tables of them.
        if not connections[found.queryset.db].features.has_zoneinfo_database:
            found.date_hierarchy = None
        return found

    def get_search_fields(self, request: HttpRequest) -> tuple[str, ...]:
        """Search by the names that the site's own user model has, unless a class says by what."""
        own = super().get_search_fields(request)
        if own:
            return tuple(own)
        user = get_user_model()
        names = dict.fromkeys((user.USERNAME_FIELD, user.get_email_field_name()))
        known = {field.name for field in user._meta.get_fields()}
        return tuple(f"user__{name}" for name in names if name in known)


@admin.register(OpenRouterKey)
class OpenRouterKeyAdmin(KeyColumns, KeyActions, SetKey, ReadOnlyAdmin):
    """Who is connected; deleting a row disconnects its user."""

    list_display = (
        "user",
        "hint",
        "state",
        "used",
        "spending_limit",
        "checked",
        "connected_at",
        "source",
    )
    list_filter = ("status", "source", LimitFilter, ExpiryFilter, CheckFilter, "connected_at")
    list_select_related = ("user",)
    list_display_links = ("hint",)
    date_hierarchy = "connected_at"
    ordering = ("-connected_at", "-pk")
    show_facets = admin.ShowFacets.ALLOW
    readonly_fields = ("state", "last_check", "used", "spending_limit", "account", "asked_for")
    fieldsets = (
        (None, {"fields": ("user", "hint", "state", "last_check")}),
        (
            pgettext_lazy("admin", "Money"),
            {"fields": ("used", "spending_limit", "account")},
        ),
        (
            pgettext_lazy("admin", "Dates"),
            {"fields": ("connected_at", "checked_at", "expires_at", "updated_at")},
        ),
        (
            pgettext_lazy("admin", "Details"),
            {"fields": ("source", "label", "asked_for")},
        ),
    )

    def get_queryset(self, request: HttpRequest) -> QuerySet[OpenRouterKey]:
        """Leave the ciphertext in the database: no page needs it."""
        return super().get_queryset(request).defer("secret")

    def delete_view(
        self, request: HttpRequest, object_id: str, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """Name the user and the masked key, which the row's own name does not."""
        key = self.get_object(request, unquote(object_id))
        context = {"deleted_keys": [key] if key else [], **(extra_context or {})}
        return super().delete_view(request, object_id, context)

    def delete_model(self, request: HttpRequest, obj: OpenRouterKey) -> None:
        """Disconnect the user, as their own button does."""
        services.disconnect(obj.user)

    def delete_queryset(self, request: HttpRequest, queryset: QuerySet[OpenRouterKey]) -> None:
        """Disconnect each user."""
        for key in queryset.select_related("user"):
            services.disconnect(key.user)


@admin.register(ConnectAttempt)
class ConnectAttemptAdmin(AttemptColumns, ReadOnlyAdmin):
    """How attempts to connect ended."""

    list_display = ("created_at", "user", "result", "in_words", "outcome", "mode")
    list_filter = (ResultFilter, CodeFilter, "mode", "created_at")
    list_select_related = ("user",)
    date_hierarchy = "created_at"
    ordering = ("-created_at", "-pk")
    show_facets = admin.ShowFacets.ALLOW
    readonly_fields = ("result", "in_words", "asked_for")
    fieldsets = (
        (None, {"fields": ("user", "result", "in_words", "outcome")}),
        (pgettext_lazy("admin", "Dates"), {"fields": ("created_at", "claimed_at")}),
        (pgettext_lazy("admin", "Details"), {"fields": ("mode", "method", "asked_for", "tries")}),
    )

    def get_queryset(self, request: HttpRequest) -> QuerySet[ConnectAttempt]:
        """Leave the code verifier in the database: no page needs it."""
        return super().get_queryset(request).defer("code_verifier")

    def has_delete_permission(
        self, request: HttpRequest, obj: ConnectAttempt | None = None
    ) -> bool:
        """Keep the record on its own pages; deleting a user may still take it along."""
        match = request.resolver_match
        own = f"{self.opts.app_label}_{self.opts.model_name}_"
        if match is not None and (match.url_name or "").startswith(own):
            return False
        return super().has_delete_permission(request, obj)


class OpenRouterKeyInline(KeyColumns, admin.StackedInline):
    """A user's key on the page of the user, with links to what staff may do; add it to your own.

    It shows and links; it changes nothing. Staff see it who may view keys.
    """

    model = OpenRouterKey
    template = "admin/django_openrouter_auth/openrouterkey/inline.html"
    can_delete = False
    show_change_link = True
    fields = ("hint", "state", "last_check", "used", "spending_limit", "connected_at", "checked_at")
    readonly_fields = fields
    key: OpenRouterKey | None = None
    links: tuple[Link, ...] = ()

    class Media:
        css = {"all": ["openrouter_auth/admin.css"]}

    def has_add_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False

    def get_queryset(self, request: HttpRequest) -> QuerySet[OpenRouterKey]:
        """Leave the ciphertext in the database: no page needs it."""
        return super().get_queryset(request).defer("secret")

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Hide what the pages of keys hide from this member of staff."""
        pages = self._pages()
        self.key = find_key(obj) if obj is not None else None
        is_hidden = pages and self.key and not pages.visible_keys(request, pk=self.key.pk)
        return super().has_view_permission(request, obj) and not is_hidden

    def get_formset(self, request: HttpRequest, obj: Any = None, **kwargs: Any) -> Any:
        """Find out what this member of staff may do; an inline lives for one request."""
        pages = self._pages()
        if pages and obj is not None:
            self.links = tuple(pages.links(request, obj, self.key))
        return super().get_formset(request, obj, **kwargs)

    def _pages(self) -> KeyPages | None:
        """Return the pages of keys, where this admin site has them."""
        is_there = self.admin_site.is_registered(OpenRouterKey)
        pages = self.admin_site.get_model_admin(OpenRouterKey) if is_there else None
        return pages if isinstance(pages, KeyPages) else None
