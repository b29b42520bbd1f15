"""The system check of a sandbox whose other half was forgotten."""

from typing import Any

from django.apps import apps
from django.conf import settings
from django.core.checks import CheckMessage, Error


def check_app(**kwargs: Any) -> list[CheckMessage]:
    """Report a site that has settings for connecting, the sandbox, and not the app itself."""
    is_meant = any(name.startswith("OPENROUTER_AUTH_") for name in dir(settings))
    if not is_meant or apps.is_installed("django_openrouter_auth"):
        return []
    return [
        Error(
            "django_openrouter_auth.sandbox is installed, and django_openrouter_auth is not: the "
            "sandbox plays the part of OpenRouter for it.",
            hint='Add "django_openrouter_auth" to INSTALLED_APPS.',
            id="django_openrouter_auth.E010",
        )
    ]
