"""The application's configuration."""

from django.apps import AppConfig
from django.core.checks import Tags, register
from django.utils.translation import gettext_lazy as _


class OpenRouterAuthConfig(AppConfig):
    """Connect each user's OpenRouter account."""

    name = "django_openrouter_auth"
    verbose_name = _("OpenRouter")
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        """Register the system checks."""
        from . import checks

        register(checks.check_settings, Tags.security)
        register(checks.check_encryption_keys, Tags.security)
        register(checks.check_urls, Tags.urls)
        register(checks.check_host, Tags.security)
        register(checks.check_posture, Tags.security, deploy=True)
