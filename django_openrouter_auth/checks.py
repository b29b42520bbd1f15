"""System checks: contradictions are errors, risks are warnings, posture is ``--deploy``.

====================================  =====================================================
``django_openrouter_auth.E001``       a setting has a value that cannot be used
``django_openrouter_auth.E002``       ``FERNET_KEYS`` cannot be used
``django_openrouter_auth.E003``       the URLs are not included
``django_openrouter_auth.E004``       ``SECRET_KEY`` encrypts (``--deploy``)
``django_openrouter_auth.E005``       ``SITE_URL`` is an address that OpenRouter refuses
``django_openrouter_auth.W001``       PKCE with ``plain``, or switched off
``django_openrouter_auth.W002``       ``FERNET_KEYS`` is not set, or weak
``django_openrouter_auth.W003``       the host of the callback can be chosen by the visitor
====================================  =====================================================
"""

from collections.abc import Sequence
from typing import Any
from urllib.parse import urlsplit

from django.apps import AppConfig
from django.core.checks import CheckMessage, Error, Warning
from django.core.exceptions import ImproperlyConfigured
from django.urls import NoReverseMatch, reverse

from .conf import (
    LOOPBACK_HOSTS,
    accepts_any_host,
    app_settings,
    borrows_secret_key,
    declared_settings,
    encryption_keys,
    has_own_encryption_keys,
    has_urls,
)
from .fields import fernet

LABEL = "django_openrouter_auth"
SHORTEST_ENCRYPTION_KEY = 32
ENCRYPTION_HINT = (
    "Set FERNET_KEYS to a list with a long random string, and keep it apart from SECRET_KEY and "
    "from backups of the database."
)


def check_settings(
    app_configs: Sequence[AppConfig] | None = None, **kwargs: Any
) -> list[CheckMessage]:
    """Report settings that cannot be used, and weaker ways of PKCE."""
    found: list[CheckMessage] = [
        Error(f"{setting.name} must be {setting.expects}.", id=f"{LABEL}.E001")
        for setting in declared_settings().values()
        if setting.is_wrong()
    ]
    if app_settings.CODE_CHALLENGE_METHOD != "S256":
        found.append(
            Warning(
                "OPENROUTER_AUTH_CODE_CHALLENGE_METHOD is not S256, so whoever sees an "
                "authorization request can use the code that answers it.",
                hint='Remove the setting: the default "S256" works with OpenRouter.',
                id=f"{LABEL}.W001",
            )
        )
    return found


def check_encryption_keys(
    app_configs: Sequence[AppConfig] | None = None, **kwargs: Any
) -> list[CheckMessage]:
    """Report encryption keys that cannot be used or are weak; never show one."""
    try:
        fernet()
        keys = encryption_keys()
    except ImproperlyConfigured as error:
        return [Error(str(error), id=f"{LABEL}.E002")]
    if not has_own_encryption_keys():
        return [
            Warning(
                "FERNET_KEYS is not set, so users' keys are encrypted with SECRET_KEY.",
                hint=ENCRYPTION_HINT,
                id=f"{LABEL}.W002",
            )
        ]
    is_weak = any(len(key) < SHORTEST_ENCRYPTION_KEY for key in keys)
    if is_weak or len(set(keys)) < len(keys) or borrows_secret_key():
        return [
            Warning(
                "FERNET_KEYS holds an entry that is shorter than 32 characters or occurs twice, "
                "or SECRET_KEY stands first in it.",
                hint="Put a long random string in front, and keep the old ones behind it.",
                id=f"{LABEL}.W002",
            )
        ]
    return []


def check_urls(app_configs: Sequence[AppConfig] | None = None, **kwargs: Any) -> list[CheckMessage]:
    """Report that the pages of this app are not reachable."""
    if not has_urls():
        return []
    try:
        reverse("openrouter_auth:manage")
    except NoReverseMatch:
        return [
            Error(
                "The URLs of django_openrouter_auth are not included.",
                hint='Add path("openrouter/", include("django_openrouter_auth.urls")) to your '
                "urls.py.",
                id=f"{LABEL}.E003",
            )
        ]
    return []


def check_host(app_configs: Sequence[AppConfig] | None = None, **kwargs: Any) -> list[CheckMessage]:
    """Report a host to which OpenRouter does not return, or one that a visitor can choose."""
    site_url = urlsplit(app_settings.SITE_URL or "https:")
    if site_url.scheme != "https" and site_url.hostname not in LOOPBACK_HOSTS:
        return [
            Error(
                "OPENROUTER_AUTH_SITE_URL is neither https nor localhost nor 127.0.0.1, and "
                "OpenRouter returns to nothing else.",
                hint="Set it to the public https address of this site.",
                id=f"{LABEL}.E005",
            )
        ]
    if app_settings.SITE_URL is None and accepts_any_host():
        return [
            Warning(
                "OPENROUTER_AUTH_SITE_URL is not set and every Host header is believed, so a "
                "forged one can send a user's code to another site.",
                hint="Set OPENROUTER_AUTH_SITE_URL to the public origin of this site.",
                id=f"{LABEL}.W003",
            )
        ]
    return []


def check_posture(
    app_configs: Sequence[AppConfig] | None = None, **kwargs: Any
) -> list[CheckMessage]:
    """Report what is fine for development and dangerous on the internet."""
    try:
        is_apart = has_own_encryption_keys() and not borrows_secret_key()
    except ImproperlyConfigured:
        return []  # check_encryption_keys says so
    if is_apart:
        return []
    return [
        Error(
            "Users' keys are encrypted with SECRET_KEY: whoever learns it can read them all.",
            hint=ENCRYPTION_HINT,
            id=f"{LABEL}.E004",
        )
    ]
