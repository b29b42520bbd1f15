"""The application's configuration."""

from django.apps import AppConfig
from django.core.checks import register
from django.utils.translation import gettext_lazy as _


class OpenRouterAuthConfig(AppConfig):
    """Connect each user's OpenRouter account."""

    name = "django_openrouter_auth"
    verbose_name = _("OpenRouter")
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        """Register the system checks."""
        from . import checks

        for check, tag in checks.CHECKS.items():
            register(check, tag)
        for check, tag in checks.DEPLOYMENT_CHECKS.items():
            register(check, tag, deploy=True)
