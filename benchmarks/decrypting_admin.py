"""The list of keys as one would write it for an encrypted field: it loads and decrypts each key.

Rows, columns, filters and templates are those of our own list, so that nothing else differs.
"""

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest

from django_openrouter_auth.admin import OpenRouterKeyAdmin
from django_openrouter_auth.models import OpenRouterKey

site = admin.AdminSite(name="decrypting")


@admin.register(OpenRouterKey, site=site)
class DecryptingAdmin(OpenRouterKeyAdmin):
    """The mask is made of the key itself, on every page."""

    list_display = ("user", "masked", *OpenRouterKeyAdmin.list_display[2:])
    list_display_links = ("masked",)

    def get_queryset(self, request: HttpRequest) -> QuerySet[OpenRouterKey]:
        """Load the ciphertext, too."""
        return OpenRouterKey.objects.order_by(*self.ordering)

    @admin.display(description="Key")
    def masked(self, key: OpenRouterKey) -> str:
        """Show the ends of the key."""
        api_key = key.secret.reveal()
        return f"{api_key[:12]}...{api_key[-3:]}"
