"""The one place that decides whether the sandbox may load."""

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured


def refuse_without_debug() -> None:
    """Refuse to load the sandbox on a site that does not run with ``DEBUG``.

    Raises:
        ImproperlyConfigured: when ``settings.DEBUG`` is off.
    """
    if not settings.DEBUG:
        raise ImproperlyConfigured(
            "The OpenRouter sandbox does not load with DEBUG = False: it plays the part of "
            "OpenRouter, lets anybody sign in under any name and hands out keys that mean "
            "nothing. Remove 'django_openrouter_auth.sandbox' from INSTALLED_APPS and its "
            "include() from the URLs of this site, or set DEBUG = True on a development machine."
        )
