"""The sandbox as a Django app."""

from importlib import import_module

from django.apps import AppConfig
from django.core.checks import register

from .checks import check_app
from .guard import refuse_without_debug


class SandboxConfig(AppConfig):
    """Configure the sandbox; loads with ``DEBUG`` only."""

    name = "django_openrouter_auth.sandbox"
    label = "openrouter_sandbox"
    verbose_name = "OpenRouter sandbox"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        """Refuse to start without ``DEBUG``; load the URLs under the same decision."""
        refuse_without_debug()
        register(check_app)
        # Django imports URLs late, and test runners turn DEBUG off between setup and the first
        # request. Loading them here decides once, at start, for the app and its URLs together.
        import_module("django_openrouter_auth.sandbox.urls")
