"""The pages: each parses, calls one service, leaves a message and redirects."""

import logging
from contextlib import suppress

from django.contrib.auth.base_user import AbstractBaseUser
from django.contrib.messages import constants
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.template.loader import render_to_string
from django.urls import reverse
from django.utils.translation import gettext as _
from django.utils.translation import pgettext
from django.views.decorators.vary import vary_on_cookie

from . import services
from .answers import (
    flow_view,
    prefers_json,
    problem,
    tell,
    tell_connected,
    tell_error,
    waiting,
    with_link,
)
from .attempts import CONNECTED
from .conf import app_settings, session_cookie_name
from .exceptions import NotAuthenticated, OpenRouterAuthError, message_of
from .keys import find_key
from .models import OpenRouterKey, key_settings_url
from .pages import (
    is_prefetch,
    key_label,
    known_browser,
    page_view,
    remember_browser,
    render_page,
    requested_next,
    to_login,
)
from .redirects import SeeOther, origin_of, safe_next, send_to, target, with_next
from .status import describe

logger = logging.getLogger("django_openrouter_auth")


@page_view("GET", "HEAD")
def manage(request: HttpRequest, user: AbstractBaseUser) -> HttpResponse:
    """Show the user's connection, and have it checked first if that was long ago."""
    is_seen = request.method == "GET" and not is_prefetch(request)
    key = services.checked_key(user) if is_seen else find_key(user)
    trouble = ""
    if key is not None and key.check_error and key.status != OpenRouterKey.Status.UNREADABLE:
        # Whoever has just connected, or asked for the check, is told by a message.
        told = {code for code, text in waiting(request)}
        if told.isdisjoint({CONNECTED, key.check_error}):
            trouble = str(message_of(key.check_error))
    return render_page(request, user, "openrouter_auth/manage.html", key=key, check_trouble=trouble)


@page_view("GET", "HEAD", "POST")
def connect(request: HttpRequest, user: AbstractBaseUser) -> HttpResponse:
    """Send the user to OpenRouter (POST), or show the button that does (GET)."""
    if request.method != "POST":
        return render_page(request, user, "openrouter_auth/connect.html")
    try:
        url = services.begin(
            user=user,
            browser=remember_browser(request),
            origin=app_settings.SITE_URL or origin_of(request),
            next_url=safe_next(requested_next(request)),
            key_label=key_label(request),
        )
    except OpenRouterAuthError as error:
        logger.warning("openrouter connect not started: code=%s user=%s", error.code, user.pk)
        if prefers_json(request):
            return problem(error)
        tell_error(request, error)
        return send_to(request, target(requested_next(request), None))
    if prefers_json(request):
        return JsonResponse({"authorization_url": url})
    return send_to(request, url)


@flow_view("GET")
def callback(request: HttpRequest, state: str) -> HttpResponse:
    """Finish an attempt and go on to a clean URL: the code must not stay in the address bar."""
    # Nothing may escape: an unhandled exception would put the code into Django's error report.
    try:
        return _finish(request, state)
    except Exception as error:  # noqa: BLE001 - its report would hold the code
        logger.warning("openrouter callback failed: %s", type(error).__name__)
    with suppress(Exception):
        tell_error(request, OpenRouterAuthError(stage="callback"))
    return SeeOther(reverse("openrouter_auth:manage"))


def _finish(request: HttpRequest, state: str) -> HttpResponse:
    if is_prefetch(request):
        return HttpResponse(status=204)
    if session_cookie_name() not in request.COOKIES and "bounced" not in request.GET:
        return _bounce(request)
    user = request.user
    if not (user.is_authenticated and user.is_active):
        tell_error(request, NotAuthenticated(stage="callback"))
        return to_login(reverse("openrouter_auth:connect"))
    try:
        connected = services.complete(
            user=user, browser=known_browser(request), state=state, answer=request.GET
        )
    except OpenRouterAuthError as error:
        tell_error(request, error)
        return SeeOther(with_next(reverse("openrouter_auth:manage"), error.next_url))
    tell_connected(request, connected)
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


@page_view("GET", "HEAD", "POST")
def disconnect(request: HttpRequest, user: AbstractBaseUser) -> HttpResponse:
    """Ask whether to disconnect (GET), or delete the local copy of the key (POST)."""
    if request.method != "POST":
        return render_page(request, user, "openrouter_auth/disconnect.html")
    hashes = services.disconnect(user)
    if prefers_json(request):
        return JsonResponse(describe(find_key(user)))
    if not hashes:
        tell(
            request,
            constants.INFO,
            _("OpenRouter was not connected, so nothing was changed."),
            "not_connected",
        )
    else:
        text = _(
            "OpenRouter is disconnected: this site has deleted its copy of your key. If the key "
            "still exists at OpenRouter, it works until you delete it there."
        )
        for key_hash in hashes:
            label = pgettext("action", "Open the key at OpenRouter")
            text = with_link(text, key_settings_url(key_hash), label)
        tell(request, constants.SUCCESS, text, "disconnected")
    return SeeOther(target(requested_next(request), app_settings.DISCONNECTED_URL))


@page_view("POST")
def check(request: HttpRequest, user: AbstractBaseUser) -> HttpResponse:
    """Ask OpenRouter about the key now."""
    try:
        services.check(user)
    except OpenRouterAuthError as error:
        if prefers_json(request):
            return problem(error)
        tell_error(request, error)
    else:
        if prefers_json(request):
            return JsonResponse(describe(find_key(user)))
        tell(
            request,
            constants.SUCCESS,
            _("OpenRouter accepts your key. What you see is up to date."),
            "checked",
        )
    return SeeOther(target(requested_next(request), None))


@flow_view("GET", "HEAD", is_json=True)
@vary_on_cookie
def status(request: HttpRequest) -> HttpResponse:
    """Tell a program about the connection; never the key."""
    if not request.user.is_authenticated:
        return problem(NotAuthenticated(stage="use"))
    return JsonResponse(describe(find_key(request.user)))
