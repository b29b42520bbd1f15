"""System checks of a site's first day: templates, static files and the way to sign in."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from django.apps import apps
from django.core.checks import CheckMessage, Error, Warning
from django.shortcuts import resolve_url
from django.template import TemplateDoesNotExist
from django.template.loader import get_template
from django.urls import (
    LocalePrefixPattern,
    NoReverseMatch,
    Resolver404,
    get_resolver,
    get_script_prefix,
    resolve,
)

from .conf import has_urls, site_setting

OURS = "django_openrouter_auth"
TEMPLATES = Path(__file__).resolve().parent / "templates" / "openrouter_auth"


def check_templates(**kwargs: Any) -> list[CheckMessage]:
    """Report that our templates are not found, or those that are to take their place."""
    if not has_urls():
        return []
    try:
        get_template("openrouter_auth/base.html")
    except TemplateDoesNotExist:
        return [
            Error(
                "TEMPLATES does not find the templates of apps, so no page of "
                "django_openrouter_auth can be shown.",
                hint='Let TEMPLATES have an entry with the backend "django.template.backends.'
                'django.DjangoTemplates" and "APP_DIRS": True.',
                id="django_openrouter_auth.E009",
            )
        ]
    # A template or a setting that is broken is Django's to report, with the place.
    except Exception:  # noqa: BLE001 - Django's to report
        return []
    return [
        Warning(
            f"The template openrouter_auth/{name} of {owner} is not used: the one of "
            "django_openrouter_auth is found first.",
            hint=hint,
            id="django_openrouter_auth.W014",
        )
        for owner, folder, hint in _other_folders()
        for name in sorted(path.name for path in TEMPLATES.glob("*.html"))
        if _is_passed_over(folder, name)
    ]


def _other_folders() -> Iterator[tuple[str, Path, str]]:
    """Yield where templates in place of ours may be: whose, the folder, what makes it count."""
    root = site_setting("BASE_DIR")
    if isinstance(root, (str, Path)):
        hint = 'Put BASE_DIR / "templates" into the DIRS of TEMPLATES.'
        yield "this project", Path(root) / "templates", hint
    for app in apps.get_app_configs():
        if app.name != OURS:
            hint = f'Put "{app.name}" before "{OURS}" in INSTALLED_APPS.'
            yield app.name, Path(app.path) / "templates", hint


def _is_passed_over(folder: Path, name: str) -> bool:
    """Return whether a folder has a template, and ours is found in its place."""
    try:
        if not (folder / "openrouter_auth" / name).is_file():
            return False
        origin = getattr(get_template(f"openrouter_auth/{name}"), "origin", None)
    # A template that is broken is found, and Django's to report; a folder may be no path at all.
    except Exception:  # noqa: BLE001 - Django's to report
        return False
    return origin is not None and Path(origin.name).resolve().parent == TEMPLATES


def check_login(**kwargs: Any) -> list[CheckMessage]:
    """Report that strangers, who have to sign in before they connect, find no login page."""
    if not has_urls() or not _leads_nowhere(site_setting("LOGIN_URL")):
        return []
    return [
        Warning(
            "LOGIN_URL leads to no page of this site, so whoever clicks the button without being "
            "signed in ends at a page that is not found.",
            hint="Set LOGIN_URL to the path or the URL name of your login page. For a trial, that "
            'of the admin will do: LOGIN_URL = "admin:login".',
            id="django_openrouter_auth.W015",
        )
    ]


def _leads_nowhere(url: Any) -> bool:
    try:
        parts = urlsplit(resolve_url(url))
        if parts.netloc or _has_language_prefix():
            return False
        path = unquote(parts.path).removeprefix(get_script_prefix().removesuffix("/"))
        return not (_exists(path) or _exists(f"{path}/"))
    except NoReverseMatch:
        return True
    # URLs that cannot be loaded are Django's to report, with the place where they break.
    except Exception:  # noqa: BLE001 - Django's to report
        return False


def _has_language_prefix() -> bool:
    """Return whether a path depends on the language of the visitor."""
    patterns = get_resolver().url_patterns
    return any(isinstance(item.pattern, LocalePrefixPattern) for item in patterns)


def _exists(path: str) -> bool:
    try:
        resolve(path)
    except Resolver404:
        return False
    return True


def check_static_files(**kwargs: Any) -> list[CheckMessage]:
    """Report that nobody serves the stylesheet."""
    if not has_urls() or apps.is_installed("django.contrib.staticfiles"):
        return []
    return [
        Warning(
            "django.contrib.staticfiles is not installed, so the stylesheet of the button and the "
            "pages is not served.",
            hint='Add "django.contrib.staticfiles" to INSTALLED_APPS, and set STATIC_URL to '
            '"static/".',
            id="django_openrouter_auth.W016",
        )
    ]
