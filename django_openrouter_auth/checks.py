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
====================================  =====================================================
"""

import re
from collections.abc import Callable
from difflib import get_close_matches
from importlib.metadata import PackageNotFoundError, version
from typing import Any
from urllib.parse import urlsplit

from django.apps import apps
from django.core.checks import CheckMessage, Error, Tags, Warning
from django.core.exceptions import ImproperlyConfigured
from django.urls import NoReverseMatch, reverse
from django.utils.module_loading import import_string

from .authorization import OWN_PARAMETERS
from .conf import (
    LOOPBACK_HOSTS,
    PREFIX,
    accepts_any_host,
    app_settings,
    borrows_secret_key,
    declared_settings,
    encryption_keys,
    has_own_encryption_keys,
    has_urls,
    middleware_paths,
    site_setting,
    unknown_settings,
)
from .csp import blocking_policies, origin_of
from .fields import fernet

LABEL = "django_openrouter_auth"
SHORTEST_ENCRYPTION_KEY = 32
ENCRYPTION_HINT = (
    "Set FERNET_KEYS to a list with a long random string, and keep it apart from SECRET_KEY and "
    "from backups of the database."
)
LONGEST_LABEL = 100
SESSIONS = "django.contrib.sessions.middleware.SessionMiddleware"
USERS = "django.contrib.auth.middleware.AuthenticationMiddleware"
CSRF = "django.middleware.csrf.CsrfViewMiddleware"
SAFE_URLLIB3 = (2, 7)


def check_settings(**kwargs: Any) -> list[CheckMessage]:
    """Report settings that do not exist, that cannot be used, or that contradict each other."""
    found: list[CheckMessage] = [
        Error(f"{setting.name} must be {setting.expects}.", id=f"{LABEL}.E001")
        for setting in declared_settings().values()
        if setting.is_wrong()
    ]
    for name in unknown_settings():
        # Without what they all have in common, which would make any two names similar.
        shorts = [known.removeprefix(PREFIX) for known in declared_settings()]
        similar = get_close_matches(name.removeprefix(PREFIX), shorts, n=1)
        hint = (
            f"Did you mean {PREFIX}{similar[0]}?"
            if similar
            else "Remove it, or see the list of names."
        )
        found.append(Error(f"There is no setting {name}.", hint=hint, id=f"{LABEL}.E006"))
    if app_settings.CODE_CHALLENGE_METHOD != "S256":
        found.append(
            Warning(
                "OPENROUTER_AUTH_CODE_CHALLENGE_METHOD is not S256, so whoever sees an "
                "authorization request can use the code that answers it.",
                hint='Remove the setting: the default "S256" works with OpenRouter.',
                id=f"{LABEL}.W001",
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
            id=f"{LABEL}.E008",
        )
    ]


def _check_label() -> list[CheckMessage]:
    label = app_settings.KEY_LABEL
    if not isinstance(label, str) or len(label) <= LONGEST_LABEL:
        return []
    return [
        Warning(
            "OPENROUTER_AUTH_KEY_LABEL is longer than 100 characters; the rest is not sent.",
            hint="Choose a shorter name for the key.",
            id=f"{LABEL}.W009",
        )
    ]


def check_encryption_keys(**kwargs: Any) -> list[CheckMessage]:
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
    found: list[CheckMessage] = []
    is_weak = any(len(key) < SHORTEST_ENCRYPTION_KEY for key in keys)
    if is_weak or len(set(keys)) < len(keys) or borrows_secret_key():
        found.append(
            Warning(
                "FERNET_KEYS holds an entry that is shorter than 32 characters or occurs twice, "
                "or SECRET_KEY stands first in it.",
                hint="Put a long random string in front, and keep the old ones behind it.",
                id=f"{LABEL}.W002",
            )
        )
    if isinstance(site_setting("FERNET_KEYS"), (str, bytes)):
        found.append(
            Warning(
                "FERNET_KEYS is one string and no list. It works for users' OpenRouter keys, but "
                "other fields of fernet-fields take each character for a key, and encrypt with the "
                "first one.",
                hint="Put brackets around it.",
                id=f"{LABEL}.W004",
            )
        )
    return found


def check_urls(**kwargs: Any) -> list[CheckMessage]:
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
    # A URLconf that cannot be loaded is Django's to report, with the place where it breaks.
    except Exception:  # noqa: BLE001 - as said
        return []
    return []


def check_host(**kwargs: Any) -> list[CheckMessage]:
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


def check_middleware(**kwargs: Any) -> list[CheckMessage]:
    """Report that the pages of this app would find no session, no user or no CSRF cookie."""
    if not has_urls():
        return []
    found: list[CheckMessage] = []
    sessions, users, csrf = (_place_of(path) for path in (SESSIONS, USERS, CSRF))
    if sessions is None or users is None or users < sessions:
        found.append(
            Error(
                "MIDDLEWARE needs SessionMiddleware and, after it, AuthenticationMiddleware: "
                "without a session and a user nobody can connect.",
                hint=f'Put "{SESSIONS}" and "{USERS}" into MIDDLEWARE, in this order.',
                id=f"{LABEL}.E007",
            )
        )
    engine = site_setting("SESSION_ENGINE")
    in_database = isinstance(engine, str) and engine.startswith("django.") and engine.endswith("db")
    if in_database and not apps.is_installed("django.contrib.sessions"):
        found.append(
            Error(
                "Sessions are kept in the database, and django.contrib.sessions is not installed.",
                hint='Add "django.contrib.sessions" to INSTALLED_APPS and run migrate, or set '
                "another SESSION_ENGINE.",
                id=f"{LABEL}.E007",
            )
        )
    if csrf is None:
        found.append(
            Warning(
                "MIDDLEWARE has no CsrfViewMiddleware. The pages of this app protect themselves, "
                "but from a button on another page every click is refused with 403.",
                hint=f'Put "{CSRF}" into MIDDLEWARE, or decorate the views of pages with a button '
                "with ensure_csrf_cookie.",
                id=f"{LABEL}.W005",
            )
        )
    return found


def _place_of(wanted: str) -> int | None:
    """Return where a middleware stands, or one that extends it or is called like it."""
    paths = middleware_paths()
    names = [path.rsplit(".", 1)[-1] for path in paths]
    name = wanted.rsplit(".", 1)[1]
    if name in names:
        return names.index(name)
    original = import_string(wanted)
    for place, path in enumerate(paths):
        try:
            found = import_string(path)
        # What its module raises is anybody's guess, and Django's to report.
        except Exception:  # noqa: BLE001, S112 - as said
            continue
        if isinstance(found, type) and issubclass(found, original):
            return place
    return None


def check_cookies(**kwargs: Any) -> list[CheckMessage]:
    """Report a session cookie that browsers do not keep."""
    same_site = site_setting("SESSION_COOKIE_SAMESITE")
    is_none = isinstance(same_site, str) and same_site.lower() == "none"
    if not is_none or site_setting("SESSION_COOKIE_SECURE"):
        return []
    return [
        Warning(
            'SESSION_COOKIE_SAMESITE is "None" and SESSION_COOKIE_SECURE is off: browsers drop '
            "such a cookie, so nobody stays signed in.",
            hint='Set SESSION_COOKIE_SECURE = True, or SESSION_COOKIE_SAMESITE = "Lax".',
            id=f"{LABEL}.W006",
        )
    ]


def check_content_security_policy(**kwargs: Any) -> list[CheckMessage]:
    """Report policies that stop the button on its way to OpenRouter."""
    origin = origin_of(app_settings.AUTHORIZE_URL)
    return [
        Warning(
            f"The directive form-action of {policy.setting} does not allow {origin}, so Chromium "
            f"{'stops' if policy.is_enforced else 'reports'} the button on its way to OpenRouter.",
            hint=f'Add "{origin}" to its form-action.',
            id=f"{LABEL}.W008",
        )
        for policy in blocking_policies()
    ]


def check_provider(**kwargs: Any) -> list[CheckMessage]:
    """Report that codes are asked for in one place and exchanged in another."""
    if _is_openrouter(app_settings.AUTHORIZE_URL) == _is_openrouter(app_settings.API_URL):
        return []
    return [
        Warning(
            "One of OPENROUTER_AUTH_AUTHORIZE_URL and OPENROUTER_AUTH_API_URL is an address of "
            "OpenRouter and the other is not, so codes of the one go to the other.",
            hint="Set both, or neither.",
            id=f"{LABEL}.W007",
        )
    ]


def _is_openrouter(url: str) -> bool:
    host = urlsplit(url).hostname or ""
    return host == "openrouter.ai" or host.endswith(".openrouter.ai")


def check_libraries(**kwargs: Any) -> list[CheckMessage]:
    """Report a version of urllib3 that an answer can use to exhaust the memory."""
    # Asked of the installation: importing it would slow the start of every process down.
    try:
        installed = version("urllib3")
    except PackageNotFoundError:
        return []
    numbers = tuple(map(int, re.findall(r"[0-9]{1,9}", str(installed))[:2]))
    if numbers >= SAFE_URLLIB3:
        return []
    return [
        Warning(
            f"urllib3 {installed} has known weaknesses in reading compressed answers, which "
            "matter when you call OpenRouter with a user's key.",
            hint="Upgrade it: urllib3>=2.7.0.",
            id=f"{LABEL}.W010",
        )
    ]


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
            id=f"{LABEL}.E004",
        )
    ]


def check_secure_cookie(**kwargs: Any) -> list[CheckMessage]:
    """Report a session cookie that a site with https also sends over http."""
    is_https = urlsplit(app_settings.SITE_URL or "").scheme == "https"
    if not is_https or site_setting("SESSION_COOKIE_SECURE"):
        return []
    return [
        Warning(
            "OPENROUTER_AUTH_SITE_URL is https and SESSION_COOKIE_SECURE is off, so browsers send "
            "the session cookie over http as well, where others can read it.",
            hint="Set SESSION_COOKIE_SECURE = True.",
            id=f"{LABEL}.W011",
        )
    ]


def check_real_openrouter(**kwargs: Any) -> list[CheckMessage]:
    """Report that a sandbox, or anybody else, stands in for OpenRouter."""
    return [
        Warning(
            f"{name} is not an address of OpenRouter: whoever runs it gets codes and keys.",
            hint="Remove it, or silence this check if that is what you want.",
            id=f"{LABEL}.W012",
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
    check_host: Tags.security,
    check_middleware: Tags.security,
    check_cookies: Tags.security,
    check_content_security_policy: Tags.security,
    check_provider: Tags.security,
    check_libraries: Tags.security,
}
DEPLOYMENT_CHECKS: dict[Check, str] = {
    check_secret_key: Tags.security,
    check_secure_cookie: Tags.security,
    check_real_openrouter: Tags.security,
}
