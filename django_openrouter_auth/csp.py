"""Whether the site's Content Security Policy lets the button through to OpenRouter.

The button is a form on this site whose answer leads to OpenRouter, and Chromium applies
``form-action`` to that redirect as well.

Source: Content Security Policy Level 3, "Does url match expression in origin with redirect
count?": schemes may be upgraded, and after a redirect paths do not count.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple
from urllib.parse import SplitResult, urlsplit

from .conf import LOOPBACK_HOSTS, app_settings, middleware_paths, site_setting

DJANGO = "ContentSecurityPolicyMiddleware"
DJANGO_CSP = "CSPMiddleware"
DEFAULT_PORTS = {"https": 443, "http": 80}
SOURCE = re.compile(
    r"(?:(?P<scheme>[a-z][a-z0-9+.-]*)://)?(?P<host>\*|(?:\*\.)?[a-z0-9._-]+)"
    r"(?::(?P<port>[0-9]{1,5}|\*))?(?:/\S*)?",
    re.IGNORECASE,
)


class Policy(NamedTuple):
    """A policy that a middleware sends along, and the setting that it comes from."""

    setting: str
    form_action: list[str] | None
    is_enforced: bool


def blocking_policies() -> list[Policy]:
    """Return the policies whose ``form-action`` leaves out OpenRouter's consent page."""
    target = urlsplit(app_settings.AUTHORIZE_URL)
    return [policy for policy in _policies() if not _lets_through(policy, target)]


def source_of(url: str) -> str:
    """Return the source that lets ``form-action`` through to a URL: scheme, host and port."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"


def _policies() -> Iterator[Policy]:
    """Yield the policies of Django's middleware and of django-csp, where they are in use."""
    middleware = " ".join(middleware_paths())
    if DJANGO in middleware:
        for name, is_enforced in (("SECURE_CSP", True), ("SECURE_CSP_REPORT_ONLY", False)):
            sources = _form_action(site_setting(name))
            # Django leaves a directive out that has an empty list.
            yield Policy(name, sources or None, is_enforced)
    if DJANGO_CSP in middleware:
        for name, is_enforced in (
            ("CONTENT_SECURITY_POLICY", True),
            ("CONTENT_SECURITY_POLICY_REPORT_ONLY", False),
        ):
            policy = site_setting(name)
            directives = policy.get("DIRECTIVES") if isinstance(policy, Mapping) else None
            yield Policy(name, _form_action(directives), is_enforced)


def _form_action(directives: Any) -> list[str] | None:
    """Return the sources of ``form-action``; ``None`` where no such directive is sent.

    Then every form may lead anywhere: ``default-src`` does not stand in for it.
    """
    found = directives.get("form-action") if isinstance(directives, Mapping) else None
    if found is None or found is False:
        return None
    sources = found if isinstance(found, (list, tuple, set, frozenset)) else [found]
    # Several sources in one string are sent as they are.
    return " ".join(item for item in sources if isinstance(item, str)).split()


def _lets_through(policy: Policy, target: SplitResult) -> bool:
    if policy.form_action is None:
        return True
    return any(_allows(source.lower(), target) for source in policy.form_action)


def _allows(source: str, target: SplitResult) -> bool:
    if source == "*":
        return True
    if source == "'self'":
        return _is_this_site(target)
    if source.endswith(":"):
        return _fits_scheme(source[:-1], target)
    match = SOURCE.fullmatch(source)
    if match is None:
        return False
    return (
        (match["scheme"] is None or _fits_scheme(match["scheme"], target))
        and _fits_host(match["host"], target.hostname or "")
        and _fits_port(match["port"], target)
    )


def _is_this_site(target: SplitResult) -> bool:
    if app_settings.SITE_URL is None:
        # The sandbox of a developer, which the very same server serves.
        return target.hostname in LOOPBACK_HOSTS
    return source_of(app_settings.SITE_URL) == f"{target.scheme}://{target.netloc}"


def _fits_scheme(scheme: str, target: SplitResult) -> bool:
    return target.scheme in {scheme, f"{scheme}s"}


def _fits_host(pattern: str, host: str) -> bool:
    return host.endswith(pattern[1:]) if pattern.startswith("*") else host == pattern


def _fits_port(port: str | None, target: SplitResult) -> bool:
    default = DEFAULT_PORTS[target.scheme]
    return port == "*" or int(port or default) == (target.port or default)
