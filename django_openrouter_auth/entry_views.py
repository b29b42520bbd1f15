"""The other ways in: entering a code that OpenRouter shows, and pasting a key."""

import logging
from collections.abc import Callable

from django.contrib.auth.base_user import AbstractBaseUser
from django.core.exceptions import SuspiciousOperation
from django.http import Http404, HttpRequest, HttpResponse, JsonResponse
from django.urls import reverse
from django.views.decorators.debug import sensitive_variables

from . import services
from .answers import keys_page, prefers_json, problem, tell_connected, tell_error
from .conf import app_settings
from .exceptions import OpenRouterAuthError
from .finishing import Connected
from .keys import find_key
from .pages import (
    key_label,
    known_browser,
    page_view,
    remember_browser,
    render_page,
    requested_next,
    submitted,
)
from .redirects import SeeOther, safe_next, target, with_next
from .status import describe

logger = logging.getLogger("django_openrouter_auth")


@page_view("GET", "POST")
def code(request: HttpRequest, user: AbstractBaseUser) -> HttpResponse:
    """Show the way to a code (GET), or connect with one that was entered (POST)."""
    if not app_settings.ALLOW_CODE_ENTRY:
        raise Http404
    if request.method == "POST":
        return _connect(
            request,
            user,
            lambda: services.enter_code(
                user=user, browser=known_browser(request), text=submitted(request, "code")
            ),
        )
    try:
        url = services.begin_code_entry(
            user=user,
            browser=remember_browser(request),
            next_url=safe_next(requested_next(request)),
            key_label=key_label(request),
        )
    except OpenRouterAuthError as error:
        if prefers_json(request):
            return problem(error)
        tell_error(request, error)
        return SeeOther(reverse("openrouter_auth:manage"))
    if prefers_json(request):
        return JsonResponse({"authorization_url": url})
    return render_page(request, user, "openrouter_auth/code.html", authorization_url=url)


@page_view("GET", "POST")
def key(request: HttpRequest, user: AbstractBaseUser) -> HttpResponse:
    """Ask for a key (GET), or store the one that was pasted if OpenRouter accepts it (POST)."""
    if not app_settings.ALLOW_PASTED_KEYS:
        raise Http404
    if request.method == "POST":
        return _connect(
            request, user, lambda: services.adopt_key(user=user, text=submitted(request, "api_key"))
        )
    return render_page(request, user, "openrouter_auth/key.html", keys_url=keys_page())


@sensitive_variables()
def _connect(
    request: HttpRequest, user: AbstractBaseUser, obtain: Callable[[], Connected]
) -> HttpResponse:
    """Go on to where the user wanted to go, or back to the form; what was entered is not shown.

    It is read in here only: a local variable of a view would stand in an error report.
    """
    # Nothing may escape: an unhandled exception would put the code into Django's error report.
    try:
        connected = obtain()
    except OpenRouterAuthError as error:
        failure = error
    except SuspiciousOperation:
        # A body that is too large, which Django answers with 400.
        raise
    except Exception as error:  # noqa: BLE001 - its report would hold the code
        logger.warning("openrouter entry failed: %s", type(error).__name__)
        failure = OpenRouterAuthError(stage="callback")
    else:
        if prefers_json(request):
            return JsonResponse(describe(find_key(user)))
        tell_connected(request, connected)
        return SeeOther(
            target(requested_next(request) or connected.next_url, app_settings.CONNECTED_URL)
        )
    if prefers_json(request):
        return problem(failure)
    tell_error(request, failure)
    return SeeOther(with_next(request.path, requested_next(request) or failure.next_url))
