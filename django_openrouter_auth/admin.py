"""The admin: staff see who is connected and how attempts ended; nobody sees or edits a key."""

from typing import Any

from django.contrib import admin
from django.contrib.admin.options import IncorrectLookupParameters
from django.contrib.admin.views.main import ChangeList
from django.contrib.auth import get_user_model
from django.db.models import Model, QuerySet
from django.http import HttpRequest

from . import services
from .models import ConnectAttempt, OpenRouterKey

# What the filters of the admin itself use.
COMPARISONS = ("", "exact", "in", "isnull", "gte", "lt")


class ReadOnlyAdmin(admin.ModelAdmin):
    """Let staff look, and nothing else."""

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False

    def lookup_allowed(self, lookup: str, value: Any, request: HttpRequest) -> bool:
        """Filter by what the page offers and nothing else: a fingerprint is no search term."""
        name, _, comparison = lookup.partition("__")
        offered = name in self.list_filter and comparison in COMPARISONS
        return offered and super().lookup_allowed(lookup, value, request)

    def get_changelist_instance(self, request: HttpRequest) -> ChangeList:
        """Refuse what PostgreSQL refuses, before it does."""
        if any("\0" in value for values in request.GET.lists() for value in values[1]):
            raise IncorrectLookupParameters
        return super().get_changelist_instance(request)

    def get_search_fields(self, request: HttpRequest) -> tuple[str, ...]:
        """Search by the names that the site's own user model has."""
        user = get_user_model()
        names = dict.fromkeys((user.USERNAME_FIELD, user.get_email_field_name()))
        known = {field.name for field in user._meta.get_fields()}
        return tuple(f"user__{name}" for name in names if name in known)


@admin.register(OpenRouterKey)
class OpenRouterKeyAdmin(ReadOnlyAdmin):
    """Who is connected; deleting a row disconnects its user."""

    list_display = ("user", "hint", "status", "source", "connected_at", "checked_at")
    list_filter = ("status", "source", "connected_at", "checked_at")
    list_select_related = ("user",)
    list_display_links = ("hint",)
    ordering = ("-connected_at",)
    fields = (
        "user",
        "hint",
        "status",
        "source",
        "label",
        "usage",
        "limit",
        "limit_remaining",
        "limit_reset",
        "is_free_tier",
        "expires_at",
        "requested",
        "connected_at",
        "checked_at",
        "check_error",
        "updated_at",
    )

    def get_queryset(self, request: HttpRequest) -> QuerySet[OpenRouterKey]:
        """Leave the ciphertext in the database: no page needs it."""
        return super().get_queryset(request).defer("secret")

    def delete_model(self, request: HttpRequest, obj: OpenRouterKey) -> None:
        """Disconnect the user, as their own button does."""
        services.disconnect(obj.user)

    def delete_queryset(self, request: HttpRequest, queryset: QuerySet[OpenRouterKey]) -> None:
        """Disconnect each user."""
        for key in queryset.select_related("user"):
            services.disconnect(key.user)


@admin.register(ConnectAttempt)
class ConnectAttemptAdmin(ReadOnlyAdmin):
    """How attempts to connect ended."""

    list_display = ("created_at", "user", "mode", "claimed_at", "outcome")
    list_filter = ("outcome", "mode", "created_at")
    list_select_related = ("user",)
    ordering = ("-created_at", "-pk")
    fields = (
        "user",
        "mode",
        "method",
        "requested",
        "created_at",
        "claimed_at",
        "tries",
        "outcome",
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
