"""What keeps people from connecting: examinations of the site as it is installed here.

Each looks at one thing and returns one :class:`Finding`, in words for whoever runs the site.
A system check sees settings only; these also look into the database and ask OpenRouter.
"""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import urlsplit

from django.apps import apps
from django.contrib.staticfiles.storage import ManifestFilesMixin, staticfiles_storage
from django.core.checks import ERROR
from django.core.exceptions import ImproperlyConfigured
from django.db import connections, router
from django.db.migrations.executor import MigrationExecutor
from django.http.request import split_domain_port, validate_host
from django.urls import reverse
from django.views.decorators.debug import sensitive_variables

from . import checks, sandbox_checks, setup_checks, site_checks
from .authorization import build_callback_url
from .conf import app_settings, debug_is_on, declared_settings, site_setting
from .csp import source_of
from .exceptions import KeyUnreadable, OpenRouterAuthError, TLSError
from .keys import key_rows, open_connection
from .models import OpenRouterKey

OK, WARNING, FAILED = "ok", "warning", "FAILED"
NEWEST_KEYS = 100
STYLESHEET = "openrouter_auth/style.css"
CLOCK_NOTICE, CLOCK_LIMIT = 60, 300
# Without a policy, which is None, the header is not sent at all.
OPENER_POLICIES = (
    None,
    "same-origin",
    "same-origin-allow-popups",
    "noopener-allow-popups",
    "unsafe-none",
)


@dataclass(frozen=True)
class Finding:
    """What an examination came to.

    Attributes:
        level: ``ok``, ``warning`` or ``FAILED``.
        text: what was found.
        fix: what to do about it; empty where all is well.
    """

    level: str
    text: str
    fix: str = ""


Examination = Callable[[], Finding]


def callback_url() -> str:
    """Return the callback's URL as OpenRouter gets it, with STATE and maybe HOST to fill in."""
    return build_callback_url(app_settings.SITE_URL or "https://HOST", "STATE")


def examine(*, offline: bool = False, all_keys: bool = False) -> Iterator[tuple[str, Finding]]:
    """Make one examination after another; yield the title and the finding of each.

    Args:
        offline: leave out those that ask OpenRouter.
        all_keys: decrypt every stored key, rather than the newest 100.
    """
    limit = None if all_keys else NEWEST_KEYS
    examinations: dict[str, Examination] = {
        "settings": lambda: summarize(checks.check_settings),
        "encryption keys": lambda: summarize(checks.check_encryption_keys),
        "URLs": examine_urls,
        "address": examine_address,
        "proxy": examine_proxy,
        "allowed hosts": examine_allowed_hosts,
        "login page": lambda: summarize(setup_checks.check_login),
        "templates": lambda: summarize(setup_checks.check_templates),
        "static files": examine_static_files,
        "middleware": lambda: summarize(site_checks.check_middleware),
        "SameSite": examine_same_site,
        "session cookie": examine_session_cookie,
        "form-action": examine_form_action,
        "opener policy": examine_opener_policy,
        "provider": lambda: summarize(checks.check_provider, sandbox_checks.check_sandbox),
        "libraries": lambda: summarize(site_checks.check_libraries),
        "deployment": examine_deployment,
        "migrations": examine_migrations,
        "stored keys": lambda: examine_stored_keys(limit),
    }
    for title, examination in examinations.items():
        yield title, run_examination(examination)
    if not offline:
        yield from examine_openrouter()


def run_examination(examination: Examination) -> Finding:
    """Return the finding of an examination; one that breaks is a finding, too."""
    try:
        return examination()
    # Only the type: the text of a foreign exception may hold a password of the database.
    except Exception as error:  # noqa: BLE001 - its text may hold a password
        return Finding(
            FAILED,
            f"This could not be examined: {type(error).__name__}.",
            'Look into the cause; "manage.py check" may say more.',
        )


def summarize(*found: checks.Check) -> Finding:
    """Return what system checks say in one finding."""
    messages = [message for check in found for message in check() if not message.is_silenced()]
    if not messages:
        return Finding(OK, "in order.")
    level = FAILED if any(message.level >= ERROR for message in messages) else WARNING
    text = " ".join(f"{message.msg} ({message.id})" for message in messages)
    hints = " ".join(dict.fromkeys(message.hint for message in messages if message.hint))
    return Finding(level, text, hints or "Correct what is named.")


# The address of the site


def examine_urls() -> Finding:
    """Find out whether the pages of this app can be reached."""
    said = summarize(site_checks.check_urls, site_checks.check_targets)
    if said.level != OK:
        return said
    return Finding(OK, f"included at {reverse('openrouter_auth:manage')}.")


def examine_address() -> Finding:
    """Find out whether OpenRouter returns to where the site is."""
    if declared_settings()["OPENROUTER_AUTH_SITE_URL"].is_wrong():
        return Finding(
            FAILED,
            "OPENROUTER_AUTH_SITE_URL cannot be used, so nobody can start to connect.",
            "Set it to a public origin such as https://app.example.",
        )
    site_url, knows_https = app_settings.SITE_URL, site_setting("SECURE_PROXY_SSL_HEADER")
    if site_url is None and knows_https is None and not debug_is_on():
        return Finding(
            FAILED,
            "OPENROUTER_AUTH_SITE_URL is not set, and neither is SECURE_PROXY_SSL_HEADER: behind a "
            "proxy that ends TLS, Django takes every request for http, to which OpenRouter does "
            "not return, so every click ends with insecure_callback. (Only a server that tells "
            "Django itself, as gunicorn does for a proxy beside it, gets around that.)",
            "Set OPENROUTER_AUTH_SITE_URL to the public https address of this site.",
        )
    said = summarize(checks.check_host)
    if said.level != OK:
        return said
    if site_url is not None:
        return Finding(OK, f"OpenRouter returns users to {site_url}.")
    return Finding(
        OK, "it is taken from each request; other than on localhost that must come by https."
    )


def examine_proxy() -> Finding:
    """Find out whether Django's CSRF check refuses the button behind a proxy that ends TLS."""
    header = site_setting("SECURE_PROXY_SSL_HEADER")
    if header is not None:
        if isinstance(header, (list, tuple)) and len(header) == 2:
            return Finding(OK, f"Django knows https by the header {header[0]}.")
        return Finding(
            FAILED,
            "SECURE_PROXY_SSL_HEADER is not a pair of a header and its value, so Django answers "
            "every request with an error.",
            'Set it to ("HTTP_X_FORWARDED_PROTO", "https") or remove it.',
        )
    site_url = app_settings.SITE_URL
    is_development = debug_is_on() if site_url is None else not _is_https(site_url)
    if is_development:
        return Finding(OK, "none is needed for development.")
    if site_url is not None and _is_trusted_origin(site_url):
        return Finding(OK, "the site's address is one of CSRF_TRUSTED_ORIGINS.")
    return Finding(
        WARNING,
        "SECURE_PROXY_SSL_HEADER is not set: if a proxy ends TLS and the server does not tell "
        "Django, Django takes requests for http and refuses every click on the button with 403 "
        "(origin checking failed).",
        'Let the proxy set a header and SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", '
        '"https"), or put the public address into CSRF_TRUSTED_ORIGINS.',
    )


def _is_https(url: str) -> bool:
    return urlsplit(url).scheme == "https"


def _is_trusted_origin(site_url: str) -> bool:
    here = urlsplit(site_url)
    return any(
        urlsplit(trusted).scheme == here.scheme
        and validate_host(here.netloc.lower(), [urlsplit(trusted).netloc.removeprefix("*")])
        for trusted in site_setting("CSRF_TRUSTED_ORIGINS") or ()
    )


def examine_allowed_hosts() -> Finding:
    """Find out whether Django answers under the address to which OpenRouter returns."""
    allowed = site_setting("ALLOWED_HOSTS")
    if not allowed and debug_is_on():
        allowed = [".localhost", "127.0.0.1", "[::1]"]
    if not allowed:
        return Finding(
            FAILED,
            "ALLOWED_HOSTS is empty, so Django answers every request with 400.",
            "Put the host of the site into ALLOWED_HOSTS.",
        )
    site_url = app_settings.SITE_URL
    host = split_domain_port(urlsplit(site_url).netloc)[0] if site_url else None
    if host is None or validate_host(host, allowed):
        return Finding(OK, "Django answers under the site's address.")
    return Finding(
        WARNING,
        f"{host}, the host of OPENROUTER_AUTH_SITE_URL, is not in ALLOWED_HOSTS: unless a proxy "
        "asks under another name, Django answers the return from OpenRouter with 400.",
        f'Add "{host}" to ALLOWED_HOSTS.',
    )


# Cookies and headers


def examine_same_site() -> Finding:
    """Find out whether the session cookie survives the return from OpenRouter."""
    said = summarize(site_checks.check_cookies)
    if said.level != OK:
        return said
    if str(site_setting("SESSION_COOKIE_SAMESITE")).lower() == "strict":
        return Finding(OK, "Strict works, by way of a page that reloads itself once on the return.")
    return Finding(OK, "browsers send the session cookie on the return from OpenRouter.")


def examine_static_files() -> Finding:
    """Find out whether the stylesheet is served, and was collected where the site is live."""
    said = summarize(setup_checks.check_static_files)
    is_served = apps.is_installed("django.contrib.staticfiles")
    if said.level != OK or debug_is_on() or not is_served:
        return said
    try:
        staticfiles_storage.url(STYLESHEET)
        is_hashed = isinstance(staticfiles_storage, ManifestFilesMixin)
        is_collected = is_hashed or staticfiles_storage.exists(STYLESHEET)
    except ImproperlyConfigured:
        is_collected = False
    except ValueError:
        return Finding(
            FAILED,
            f"{STYLESHEET} is not in the manifest of the static files, so every page with it "
            "answers with an error.",
            "Run manage.py collectstatic.",
        )
    if is_collected:
        return said
    return Finding(
        WARNING,
        "STATIC_ROOT is not set or the stylesheet is not in it, so buttons and pages look bare, "
        "unless something else serves it.",
        "Set STATIC_ROOT, run manage.py collectstatic, and let the web server or WhiteNoise serve "
        "that folder.",
    )


def examine_form_action() -> Finding:
    """Find out whether a Content Security Policy lets the button through to OpenRouter."""
    said = summarize(site_checks.check_content_security_policy)
    if said.level != OK:
        return said
    source = source_of(app_settings.AUTHORIZE_URL)
    return Finding(
        OK,
        "no policy in the settings stops the button. Where a web server sends one with "
        f"form-action, that directive must allow {source}; no other has to.",
    )


def examine_session_cookie() -> Finding:
    """Find out whether the session cookie is sent to the callback, and over https only."""
    site_url, path = app_settings.SITE_URL, urlsplit(callback_url()).path
    domain = str(site_setting("SESSION_COOKIE_DOMAIN") or "").removeprefix(".").lower()
    host = (urlsplit(site_url).hostname or "") if site_url else domain
    if domain and host != domain and not host.endswith(f".{domain}"):
        return Finding(
            FAILED,
            f"SESSION_COOKIE_DOMAIN does not cover {host}, so browsers do not send the session "
            "cookie to the callback.",
            "Remove SESSION_COOKIE_DOMAIN, or set OPENROUTER_AUTH_SITE_URL to an address below it.",
        )
    folder = str(site_setting("SESSION_COOKIE_PATH") or "/").removesuffix("/")
    if not path.startswith(f"{folder}/"):
        return Finding(
            FAILED,
            f"SESSION_COOKIE_PATH does not cover {path}, so browsers do not send the session "
            "cookie to the callback.",
            'Set SESSION_COOKIE_PATH = "/", or include the URLs below it.',
        )
    is_https = _is_https(site_url) if site_url else not debug_is_on()
    if is_https and not site_setting("SESSION_COOKIE_SECURE"):
        return Finding(
            WARNING,
            "SESSION_COOKIE_SECURE is off, so browsers send the session cookie over http as well, "
            "where others can read it.",
            "Set SESSION_COOKIE_SECURE = True.",
        )
    return Finding(OK, "browsers send it to the callback.")


def examine_opener_policy() -> Finding:
    """Find out whether browsers know the Cross-Origin-Opener-Policy; any they know works."""
    if site_setting("SECURE_CROSS_ORIGIN_OPENER_POLICY") in OPENER_POLICIES:
        return Finding(OK, "it works: the button changes the page and opens no window.")
    return Finding(
        WARNING,
        "SECURE_CROSS_ORIGIN_OPENER_POLICY is no value that browsers know, so they ignore it. The "
        "button works, but any page that opens this site in a window keeps a hold on it.",
        'Set it to "same-origin", which works with the button.',
    )


def examine_deployment() -> Finding:
    """Find out whether what is fine for development is left over on a live site."""
    if debug_is_on():
        return Finding(OK, "DEBUG is on, so this is no live site.")
    return summarize(checks.check_secret_key, checks.check_real_openrouter)


# The database


def examine_migrations() -> Finding:
    """Find out whether the tables are those that the code expects."""
    executor = MigrationExecutor(connections[router.db_for_write(OpenRouterKey)])
    newest = executor.loader.graph.leaf_nodes(OpenRouterKey._meta.app_label)
    waiting = len(executor.migration_plan(newest))
    if not waiting:
        return Finding(OK, "all are applied.")
    return Finding(FAILED, f"{waiting} of them are not applied.", "Run manage.py migrate.")


@sensitive_variables()
def examine_stored_keys(limit: int | None) -> Finding:
    """Find out whether stored keys can be decrypted, newest first.

    Args:
        limit: how many to look at; ``None`` for all.
    """
    rows = key_rows().order_by("-pk")[:limit]
    total = unreadable = 0
    for key in rows.iterator():
        total += 1
        unreadable += not _is_readable(key)
    if not unreadable:
        return Finding(OK, f"{total:,} looked at, all can be read.")
    return Finding(
        FAILED,
        f"{unreadable:,} of {total:,} that were looked at cannot be read: the encryption key is "
        "missing, or the rows were damaged or belong to other users.",
        "Put the key that encrypted them back, at the end of FERNET_KEYS. If it is lost, their "
        "users connect again.",
    )


@sensitive_variables()
def _is_readable(key: Any) -> bool:
    try:
        key.secret.reveal()
    except KeyUnreadable:
        return False
    return True


# OpenRouter


def examine_openrouter() -> Iterator[tuple[str, Finding]]:
    """Ask OpenRouter once; yield whether it can be used from here, and what the clock says."""
    dates: list[str] = []
    yield "OpenRouter", run_examination(lambda: _ask_openrouter(dates))
    if dates:
        yield "clock", run_examination(lambda: compare_clocks(dates[0], time.time()))


def _ask_openrouter(dates: list[str]) -> Finding:
    host = urlsplit(app_settings.API_URL).netloc
    try:
        with open_connection() as connection:
            status, date = connection.probe()
    except TLSError:
        return Finding(
            FAILED,
            f"{host} shows a certificate that this machine does not trust.",
            "Check the clock, update the certificates (certifi, or what REQUESTS_CA_BUNDLE "
            "names), and see whether a proxy opens encrypted connections.",
        )
    except OpenRouterAuthError as error:
        return Finding(
            FAILED,
            f"{host} gave no answer that can be used ({error.code}).",
            "See whether a firewall or a proxy is in the way, and OPENROUTER_AUTH_API_URL right.",
        )
    dates.append(date)
    return judge_status(host, status)


def judge_status(host: str, status: int) -> Finding:
    """Return what the status means with which a question without a key was answered."""
    if status == 401:
        return Finding(OK, f"{host} answers, and asks for a key.")
    if status == 429 or status >= 500:
        return Finding(
            WARNING,
            f"{host} is reached, but has trouble at the moment (HTTP {status}).",
            "Try again later.",
        )
    return Finding(
        FAILED,
        f"{host} answers with HTTP {status} where OpenRouter asks for a key (401).",
        "Correct OPENROUTER_AUTH_API_URL, or let the firewall pass it.",
    )


def compare_clocks(date: str, now: float) -> Finding:
    """Compare the clock of this machine with the ``Date`` of an answer.

    Args:
        date: the header.
        now: the time of this machine, in seconds since the epoch.
    """
    try:
        ahead = round(now - parsedate_to_datetime(date).timestamp())
    except (ValueError, OverflowError):
        return Finding(WARNING, "OpenRouter did not say how late it is.", "Try again later.")
    if abs(ahead) <= CLOCK_NOTICE:
        return Finding(OK, f"{abs(ahead)} seconds from OpenRouter's.")
    return Finding(
        FAILED if abs(ahead) > CLOCK_LIMIT else WARNING,
        f"the clock of this machine is {abs(ahead)} seconds {'ahead of' if ahead > 0 else 'behind'}"
        " OpenRouter's. Servers whose clocks differ by more than a minute take each other's "
        "attempts for expired, and keys seem to expire too early or too late.",
        "Synchronise the clock with a time server.",
    )
