"""The pages: each parses, calls one service, leaves a message and redirects."""

import logging
import re
import secrets
from contextlib import suppress
from datetime import datetime
from typing import Any

from django.contrib.auth.base_user import AbstractBaseUser
from django.contrib.auth.views import redirect_to_login
from django.contrib.messages import constants, get_messages
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import render
from django.template.loader import render_to_string
from django.urls import reverse
from django.utils import timezone
from django.utils.html import format_html
from django.utils.translation import gettext as _
from django.views.decorators.csrf import csrf_protect
from django.views.decorators.vary import vary_on_cookie, vary_on_headers

from . import services
from .answers import flow_view, prefers_json, problem, tell, tell_error
from .attempts import CONNECTED
from .conf import app_settings, session_cookie_name
from .exceptions import NotAuthenticated, OpenRouterAuthError
from .keys import find_key
from .models import OpenRouterKey, key_settings_url
from .redirects import SeeOther, origin_of, safe_next, target, with_next

logger = logging.getLogger("django_openrouter_auth")

SESSION_KEY = "openrouter_auth"
BROWSER = re.compile(r"[A-Za-z0-9_-]{22}")
LONGEST_LABEL = 100


@flow_view("GET", "HEAD")
@vary_on_headers("Accept", "Cookie")
def manage(request: HttpRequest) -> HttpResponse:
    """Show the user's connection."""
    if not request.user.is_authenticated:
        return _ask_to_sign_in(request)
    return _page(request, request.user, "openrouter_auth/manage.html")


def _ask_to_sign_in(request: HttpRequest) -> HttpResponse:
    """Send a stranger to the login page and back here, or tell their program."""
    if prefers_json(request):
        return problem(NotAuthenticated(stage="start"))
    return _to_login(with_next(request.path, _wish(request)))


def _to_login(page: str) -> HttpResponse:
    return SeeOther(redirect_to_login(page).url)


def _page(request: HttpRequest, user: AbstractBaseUser, template: str) -> HttpResponse:
    context = {
        "key": find_key(user),
        "next": safe_next(_wish(request)),
        # For sites without the context processor: the outcome of a flow must be seen.
        "messages": get_messages(request),
    }
    return render(request, template, context)


def _wish(request: HttpRequest) -> str | None:
    return request.POST.get("next") or request.GET.get("next")


@flow_view("GET", "HEAD", "POST")
@vary_on_headers("Accept", "Cookie")
@csrf_protect
def connect(request: HttpRequest) -> HttpResponse:
    """Send the user to OpenRouter (POST), or show the button that does (GET)."""
    user = request.user
    if not user.is_authenticated:
        return _ask_to_sign_in(request)
    if request.method != "POST":
        return _page(request, user, "openrouter_auth/connect.html")
    try:
        url = services.begin(
            user=user,
            browser=_remember_browser(request),
            origin=app_settings.SITE_URL or origin_of(request),
            next_url=safe_next(_wish(request)),
            key_label=_key_label(request),
        )
    except OpenRouterAuthError as error:
        logger.warning("openrouter connect not started: code=%s user=%s", error.code, user.pk)
        if prefers_json(request):
            return problem(error)
        tell_error(request, error)
        return SeeOther(target(_wish(request), None))
    if prefers_json(request):
        return JsonResponse({"authorization_url": url})
    return SeeOther(url)


def _remember_browser(request: HttpRequest) -> str:
    """Return the random value by which this browser's session is known, making one if needed."""
    browser = _known_browser(request)
    if browser is None:
        browser = request.session[SESSION_KEY] = secrets.token_urlsafe(16)
    return browser


def _known_browser(request: HttpRequest) -> str | None:
    browser = request.session.get(SESSION_KEY)
    return browser if isinstance(browser, str) and BROWSER.fullmatch(browser) else None


def _key_label(request: HttpRequest) -> str:
    label = app_settings.KEY_LABEL
    return str((label(request) if callable(label) else label) or "")[:LONGEST_LABEL]


@flow_view("GET")
def callback(request: HttpRequest, state: str) -> HttpResponse:
    """Finish an attempt and go on to a clean URL: the code must not stay in the address bar."""
    # Nothing may escape: an unhandled exception would put the code into Django's error report.
    try:
        return _finish(request, state)
    except Exception as error:  # noqa: BLE001 - as said
        logger.warning("openrouter callback failed: %s", type(error).__name__)
    with suppress(Exception):
        tell_error(request, OpenRouterAuthError(stage="callback"))
    return SeeOther(reverse("openrouter_auth:manage"))


def _finish(request: HttpRequest, state: str) -> HttpResponse:
    if "prefetch" in request.headers.get("Sec-Purpose", request.headers.get("Purpose", "")):
        return HttpResponse(status=204)
    if session_cookie_name() not in request.COOKIES and "bounced" not in request.GET:
        return _bounce(request)
    user = request.user
    if not (user.is_authenticated and user.is_active):
        tell_error(request, NotAuthenticated(stage="callback"))
        return _to_login(reverse("openrouter_auth:connect"))
    try:
        connected = services.complete(
            user=user, browser=_known_browser(request), state=state, answer=request.GET
        )
    except OpenRouterAuthError as error:
        tell_error(request, error)
        return SeeOther(with_next(reverse("openrouter_auth:manage"), error.next_url))
    tell(request, *_success(connected), CONNECTED)
    return SeeOther(target(connected.next_url, app_settings.CONNECTED_URL))


def _bounce(request: HttpRequest) -> HttpResponse:
    """Answer with a page that reloads itself, now from this site.

    Browsers hold back a ``SameSite=Strict`` session cookie on the way from OpenRouter, and send
    it with a request that this site itself starts.
    """
    answer = request.GET.copy()
    answer["bounced"] = "1"
    # Without the request no context processor of the site runs, and none can fail.
    page = render_to_string("openrouter_auth/bounce.html", {"query": answer.urlencode()})
    return HttpResponse(page)


def _success(connected: services.Connected) -> tuple[int, str]:
    if not connected.is_new:
        return constants.INFO, _("OpenRouter is connected. This return from it was used before.")
    text = _("OpenRouter is connected.")
    if not connected.is_checked:
        text += " " + _("The new key is not checked yet: OpenRouter did not answer that question.")
    if connected.replaced_hash is None:
        return constants.SUCCESS, text
    return constants.SUCCESS, format_html(
        '{} {} <a href="{}">{}</a>',
        text,
        _("Your previous key is no longer used here, but it still works until you delete it."),
        key_settings_url(connected.replaced_hash),
        _("Open the previous key at OpenRouter"),
    )


@flow_view("GET", "HEAD", "POST")
@vary_on_headers("Accept", "Cookie")
@csrf_protect
def disconnect(request: HttpRequest) -> HttpResponse:
    """Ask whether to disconnect (GET), or delete the local copy of the key (POST)."""
    user = request.user
    if not user.is_authenticated:
        return _ask_to_sign_in(request)
    if request.method != "POST":
        return _page(request, user, "openrouter_auth/disconnect.html")
    key_hash = services.disconnect(user)
    if prefers_json(request):
        return JsonResponse(_status_of(find_key(user)))
    if key_hash is None:
        tell(request, constants.INFO, _("OpenRouter was not connected."), "not_connected")
    else:
        text = format_html(
            '{} <a href="{}">{}</a>',
            _(
                "OpenRouter is disconnected: this site has deleted its copy of your key. The key "
                "still works until you delete it at OpenRouter."
            ),
            key_settings_url(key_hash),
            _("Open the key at OpenRouter"),
        )
        tell(request, constants.SUCCESS, text, "disconnected")
    return SeeOther(target(_wish(request), app_settings.DISCONNECTED_URL))


@flow_view("GET", "HEAD")
@vary_on_cookie
def status(request: HttpRequest) -> HttpResponse:
    """Tell a program about the connection; never the key."""
    if not request.user.is_authenticated:
        return problem(NotAuthenticated(stage="use"))
    return JsonResponse(_status_of(find_key(request.user)))


def _status_of(key: OpenRouterKey | None) -> dict[str, Any]:
    return {
        "connected": key is not None and key.is_usable,
        "status": key and key.status,
        "hint": key and key.hint,
        "label": key and (key.label or None),
        "usage": key and _number(key.usage),
        "limit": key and _number(key.limit),
        "limit_remaining": key and _number(key.limit_remaining),
        "limit_reset": key and (key.limit_reset or None),
        "expires_at": key and _moment(key.expires_at),
        "checked_at": key and _moment(key.checked_at),
        "connected_at": key and _moment(key.connected_at),
        "urls": {
            "manage": reverse("openrouter_auth:manage"),
            "connect": reverse("openrouter_auth:connect"),
            "disconnect": reverse("openrouter_auth:disconnect"),
            "openrouter_key": key and key.settings_url,
            "openrouter_activity": key and key.activity_url,
        },
    }


def _moment(moment: datetime | None) -> datetime | None:
    """Return a time with its zone, also on a site that stores local times."""
    if moment is None or timezone.is_aware(moment):
        return moment
    return timezone.make_aware(moment, timezone.get_default_timezone())


def _number(amount: Any) -> float | None:
    return None if amount is None else float(amount)
