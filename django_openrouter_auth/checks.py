"""System checks: contradictions are errors, risks are warnings, posture is ``--deploy``.

====================================  =====================================================
``django_openrouter_auth.E001``       a setting has a value that cannot be used
``django_openrouter_auth.E002``       ``FERNET_KEYS`` cannot be used
``django_openrouter_auth.E003``       the URLs are not included
``django_openrouter_auth.E004``       ``SECRET_KEY`` encrypts (``--deploy``)
``django_openrouter_auth.E005``       ``SITE_URL`` is an address that OpenRouter refuses
``django_openrouter_auth.E006``       there is no setting by that name
``django_openrouter_auth.E007``       sessions or users are missing, or in the wrong order
``django_openrouter_auth.E008``       ``AUTHORIZE_PARAMS`` names what the package sends itself
``django_openrouter_auth.E009``       the templates of apps are not found
``django_openrouter_auth.E010``       the sandbox is installed without the app
``django_openrouter_auth.W001``       PKCE with ``plain``, or switched off
``django_openrouter_auth.W002``       ``FERNET_KEYS`` is not set, or weak
``django_openrouter_auth.W003``       the host of the callback can be chosen by the visitor
``django_openrouter_auth.W004``       ``FERNET_KEYS`` is one string and no list
``django_openrouter_auth.W005``       Django's CSRF middleware is missing
``django_openrouter_auth.W006``       browsers drop the session cookie: ``SameSite=None``
``django_openrouter_auth.W007``       consent page and API belong to different providers
``django_openrouter_auth.W008``       a Content Security Policy stops the button
``django_openrouter_auth.W009``       ``KEY_LABEL`` is cut off
``django_openrouter_auth.W010``       urllib3 has known weaknesses
``django_openrouter_auth.W011``       the session cookie travels in the open (``--deploy``)
``django_openrouter_auth.W012``       keys are sent to somebody else (``--deploy``)
``django_openrouter_auth.W013``       ``CONNECTED_URL`` or ``DISCONNECTED_URL`` does not exist
``django_openrouter_auth.W014``       a template that shall replace ours is not used
``django_openrouter_auth.W015``       ``LOGIN_URL`` does not exist
``django_openrouter_auth.W016``       nobody serves the stylesheet
``django_openrouter_auth.W017``       the sandbox is installed without its URLs
``django_openrouter_auth.W018``       the settings do not lead to the sandbox (``runserver``)
``django_openrouter_auth.W019``       a server without threads is its own sandbox (``runserver``)
====================================  =====================================================
"""

from collections.abc import Callable
from difflib import get_close_matches
from typing import Any
from urllib.parse import urlsplit

from django.core.checks import CheckMessage, Error, Tags, Warning
from django.core.exceptions import ImproperlyConfigured

from .authorization import LONGEST_LABEL, OWN_PARAMETERS
from .conf import (
    LOOPBACK_HOSTS,
    PREFIX,
    accepts_any_host,
    app_settings,
    borrows_secret_key,
    declared_settings,
    encryption_keys,
    has_own_encryption_keys,
    site_setting,
    unknown_settings,
)
from .fields import fernet
from .sandbox_checks import check_sandbox
from .setup_checks import check_login, check_static_files, check_templates
from .site_checks import (
    check_content_security_policy,
    check_cookies,
    check_libraries,
    check_middleware,
    check_secure_cookie,
    check_targets,
    check_urls,
)

SHORTEST_ENCRYPTION_KEY = 32
ENCRYPTION_HINT = (
    "Set FERNET_KEYS to a list with a long random string, and keep that out of backups of the "
    "database. Where users have connected already, let SECRET_KEY follow it until "
    '"manage.py openrouter_auth_rotate_keys" has run.'
)


def check_settings(**kwargs: Any) -> list[CheckMessage]:
    """Report settings that do not exist, that cannot be used, or that contradict each other."""
    found: list[CheckMessage] = [
        Error(f"{setting.name} must be {setting.expects}.", id="django_openrouter_auth.E001")
        for setting in declared_settings().values()
        if setting.is_wrong()
    ]
    for name in unknown_settings():
        # Without what they all have in common, which would make any two names similar.
        shorts = [known.removeprefix(PREFIX) for known in declared_settings()]
        similar = get_close_matches(name.removeprefix(PREFIX), shorts)
        hint = (
            f"Did you mean {PREFIX}{similar[0]}?"
            if similar
            else "Remove it, or see the list of names."
        )
        found.append(
            Error(f"There is no setting {name}.", hint=hint, id="django_openrouter_auth.E006")
        )
    if app_settings.CODE_CHALLENGE_METHOD != "S256":
        found.append(
            Warning(
                "OPENROUTER_AUTH_CODE_CHALLENGE_METHOD is not S256, so whoever sees an "
                "authorization request can use the code that answers it.",
                hint='Remove the setting: the default "S256" works with OpenRouter.',
                id="django_openrouter_auth.W001",
            )
        )
    return found + _check_label() + _check_parameters()


def _check_parameters() -> list[CheckMessage]:
    named = [*OWN_PARAMETERS] + (["key_label"] if app_settings.KEY_LABEL else [])
    repeated = [name for name in named if name in app_settings.AUTHORIZE_PARAMS]
    if not repeated:
        return []
    return [
        Error(
            f"OPENROUTER_AUTH_AUTHORIZE_PARAMS must not contain {', '.join(repeated)}: the package "
            "sends that itself.",
            hint="Remove it. The name of the key is OPENROUTER_AUTH_KEY_LABEL, the callback's "
            "address follows from OPENROUTER_AUTH_SITE_URL.",
            id="django_openrouter_auth.E008",
        )
    ]


def _check_label() -> list[CheckMessage]:
    label = app_settings.KEY_LABEL
    if not isinstance(label, str) or len(label) <= LONGEST_LABEL:
        return []
    return [
        Warning(
            f"OPENROUTER_AUTH_KEY_LABEL is longer than {LONGEST_LABEL} characters; the rest is not "
            "sent.",
            hint="Choose a shorter name for the key.",
            id="django_openrouter_auth.W009",
        )
    ]


def check_encryption_keys(**kwargs: Any) -> list[CheckMessage]:
    """Report encryption keys that cannot be used or are weak; never show one."""
    try:
        fernet()
        keys = encryption_keys()
    except ImproperlyConfigured as error:
        return [Error(str(error), id="django_openrouter_auth.E002")]
    if not has_own_encryption_keys():
        return [
            Warning(
                "FERNET_KEYS is not set, so users' keys are encrypted with SECRET_KEY.",
                hint=ENCRYPTION_HINT,
                id="django_openrouter_auth.W002",
            )
        ]
    found: list[CheckMessage] = []
    is_weak = any(len(key) < SHORTEST_ENCRYPTION_KEY for key in keys)
    if is_weak or len(set(keys)) < len(keys) or borrows_secret_key():
        found.append(
            Warning(
                "FERNET_KEYS holds an entry that is shorter than 32 characters or occurs twice, "
                "or SECRET_KEY stands first in it.",
                hint="Put a long random string in front, and keep the old ones behind it.",
                id="django_openrouter_auth.W002",
            )
        )
    if isinstance(site_setting("FERNET_KEYS"), (str, bytes)):
        found.append(
            Warning(
                "FERNET_KEYS is one string and no list. It works for users' OpenRouter keys, but "
                "other fields of fernet-fields take each character for a key, and encrypt with the "
                "first one.",
                hint="Put brackets around it.",
                id="django_openrouter_auth.W004",
            )
        )
    return found


def check_host(**kwargs: Any) -> list[CheckMessage]:
    """Report a host to which OpenRouter does not return, or one that a visitor can choose."""
    site_url = urlsplit(app_settings.SITE_URL or "https:")
    if site_url.scheme != "https" and site_url.hostname not in LOOPBACK_HOSTS:
        return [
            Error(
                "OPENROUTER_AUTH_SITE_URL is neither https nor localhost nor 127.0.0.1, and "
                "OpenRouter returns to nothing else.",
                hint="Set it to the public https address of this site.",
                id="django_openrouter_auth.E005",
            )
        ]
    if app_settings.SITE_URL is None and accepts_any_host():
        return [
            Warning(
                "OPENROUTER_AUTH_SITE_URL is not set and every Host header is believed, so a "
                "forged one can send a user's code to another site.",
                hint="Set OPENROUTER_AUTH_SITE_URL to the public origin of this site.",
                id="django_openrouter_auth.W003",
            )
        ]
    return []


def check_provider(**kwargs: Any) -> list[CheckMessage]:
    """Report that codes are asked for in one place and exchanged in another."""
    if _is_openrouter(app_settings.AUTHORIZE_URL) == _is_openrouter(app_settings.API_URL):
        return []
    return [
        Warning(
            "One of OPENROUTER_AUTH_AUTHORIZE_URL and OPENROUTER_AUTH_API_URL is an address of "
            "OpenRouter and the other is not, so codes of the one go to the other.",
            hint="Set both, or neither.",
            id="django_openrouter_auth.W007",
        )
    ]


def _is_openrouter(url: str) -> bool:
    host = urlsplit(url).hostname or ""
    return host == "openrouter.ai" or host.endswith(".openrouter.ai")


def check_secret_key(**kwargs: Any) -> list[CheckMessage]:
    """Report that ``SECRET_KEY`` encrypts, which is fine for development only."""
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
            id="django_openrouter_auth.E004",
        )
    ]


def check_real_openrouter(**kwargs: Any) -> list[CheckMessage]:
    """Report that a sandbox, or anybody else, stands in for OpenRouter."""
    return [
        Warning(
            f"{name} is not an address of OpenRouter: whoever runs it gets codes and keys.",
            hint="Remove it, or silence this check if that is what you want.",
            id="django_openrouter_auth.W012",
        )
        for name, url in (
            ("OPENROUTER_AUTH_AUTHORIZE_URL", app_settings.AUTHORIZE_URL),
            ("OPENROUTER_AUTH_API_URL", app_settings.API_URL),
        )
        if not _is_openrouter(url)
    ]


Check = Callable[..., list[CheckMessage]]
CHECKS: dict[Check, str] = {
    check_settings: Tags.security,
    check_encryption_keys: Tags.security,
    check_urls: Tags.urls,
    check_targets: Tags.urls,
    check_host: Tags.security,
    check_middleware: Tags.security,
    check_cookies: Tags.security,
    check_content_security_policy: Tags.security,
    check_provider: Tags.security,
    check_libraries: Tags.security,
    check_templates: Tags.templates,
    check_login: Tags.urls,
    check_static_files: Tags.staticfiles,
    check_sandbox: Tags.urls,
}
DEPLOYMENT_CHECKS: dict[Check, str] = {
    check_secret_key: Tags.security,
    check_secure_cookie: Tags.security,
    check_real_openrouter: Tags.security,
}
