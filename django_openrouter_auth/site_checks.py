"""System checks of what the site around this app is made of: :mod:`.checks` lists their ids."""

import re
from importlib.metadata import PackageNotFoundError, version
from typing import Any
from urllib.parse import urlsplit

from django.apps import apps
from django.core.checks import CheckMessage, Error, Warning
from django.shortcuts import resolve_url
from django.urls import NoReverseMatch, reverse
from django.utils.module_loading import import_string

from .conf import PREFIX, app_settings, has_urls, middleware_paths, site_setting
from .csp import blocking_policies, source_of

SESSIONS = "django.contrib.sessions.middleware.SessionMiddleware"
USERS = "django.contrib.auth.middleware.AuthenticationMiddleware"
CSRF = "django.middleware.csrf.CsrfViewMiddleware"
SAFE_URLLIB3 = (2, 7)


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
                id="django_openrouter_auth.E003",
            )
        ]
    # A URLconf that cannot be loaded is Django's to report, with the place where it breaks.
    except Exception:  # noqa: BLE001 - Django's to report
        return []
    return []


def check_targets(**kwargs: Any) -> list[CheckMessage]:
    """Report names of URLs that do not exist: people would land on their connection page."""
    if not has_urls():
        return []
    return [
        Warning(
            f"There is no URL by the name that {PREFIX}{name} gives, so people go to their "
            "connection page instead.",
            hint="Correct the name, or set a path that begins with a slash.",
            id="django_openrouter_auth.W013",
        )
        for name, wanted in (
            ("CONNECTED_URL", app_settings.CONNECTED_URL),
            ("DISCONNECTED_URL", app_settings.DISCONNECTED_URL),
        )
        if wanted is not None and _is_missing(wanted)
    ]


def _is_missing(wanted: str) -> bool:
    try:
        resolve_url(wanted)
    except NoReverseMatch:
        return True
    # A URLconf that cannot be loaded is Django's to report, with the place where it breaks.
    except Exception:  # noqa: BLE001 - Django's to report
        return False
    return False


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
                id="django_openrouter_auth.E007",
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
                id="django_openrouter_auth.E007",
            )
        )
    if csrf is None:
        found.append(
            Warning(
                "MIDDLEWARE has no CsrfViewMiddleware. The pages of this app protect themselves, "
                "but from a button on another page every click is refused with 403.",
                hint=f'Put "{CSRF}" into MIDDLEWARE, or decorate the views of pages with a button '
                "with ensure_csrf_cookie.",
                id="django_openrouter_auth.W005",
            )
        )
    return found


def _place_of(wanted: str) -> int | None:
    """Return where a middleware stands, or one that extends it or is called like it."""
    paths = middleware_paths()
    names = [path.rpartition(".")[2] for path in paths]
    name = wanted.rpartition(".")[2]
    if name in names:
        return names.index(name)
    original = import_string(wanted)
    for place, path in enumerate(paths):
        try:
            found = import_string(path)
        # What its module raises is anybody's guess, and Django's to report.
        except Exception:  # noqa: BLE001, S112 - Django's to report
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
            id="django_openrouter_auth.W006",
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
            id="django_openrouter_auth.W011",
        )
    ]


def check_content_security_policy(**kwargs: Any) -> list[CheckMessage]:
    """Report policies that stop the button on its way to OpenRouter."""
    source = source_of(app_settings.AUTHORIZE_URL)
    return [
        Warning(
            f"The directive form-action of {policy.setting} does not allow {source}, so Chromium "
            f"{'stops' if policy.is_enforced else 'reports'} the button on its way to OpenRouter.",
            hint=f'Add "{source}" to its form-action.',
            id="django_openrouter_auth.W008",
        )
        for policy in blocking_policies()
    ]


def check_libraries(**kwargs: Any) -> list[CheckMessage]:
    """Report a version of urllib3 that an answer can use to exhaust the memory."""
    # Asked of the installation: importing it would slow the start of every process down.
    try:
        installed = version("urllib3")
    except PackageNotFoundError:
        return []
    numbers = tuple(map(int, re.findall(r"[0-9]{1,9}", str(installed))))
    if numbers >= SAFE_URLLIB3:
        return []
    return [
        Warning(
            f"urllib3 {installed} has known weaknesses in reading compressed answers, which "
            "matter when you call OpenRouter with a user's key.",
            hint="Upgrade it: urllib3>=2.7.0.",
            id="django_openrouter_auth.W010",
        )
    ]
