"""The other ways in: entering a code that OpenRouter shows, and pasting a key."""

import logging
from collections.abc import Callable

from django.contrib.auth.base_user import AbstractBaseUser
from django.http import Http404, HttpRequest, HttpResponse, JsonResponse
from django.urls import reverse
from django.views.decorators.csrf import csrf_protect
from django.views.decorators.debug import sensitive_post_parameters, sensitive_variables
from django.views.decorators.vary import vary_on_headers

from . import services
from .answers import flow_view, prefers_json, problem, tell_connected, tell_error
from .conf import app_settings
from .exceptions import OpenRouterAuthError
from .finishing import Connected
from .keys import find_key
from .pages import ask_to_sign_in, key_label, known_browser, page, remember_browser, sent, wish
from .redirects import SeeOther, safe_next, target, with_next
from .status import describe

logger = logging.getLogger("django_openrouter_auth")


@flow_view("GET", "POST")
@vary_on_headers("Accept", "Cookie")
@sensitive_post_parameters()
@csrf_protect
def code(request: HttpRequest) -> HttpResponse:
    """Show the way to a code (GET), or connect with one that was entered (POST)."""
    if not app_settings.ALLOW_CODE_ENTRY:
        raise Http404
    user = request.user
    if not user.is_authenticated:
        return ask_to_sign_in(request)
    if request.method == "POST":
        return _connect(
            request,
            user,
            lambda: services.enter_code(
                user=user, browser=known_browser(request), text=sent(request, "code")
            ),
        )
    try:
        url = services.begin_code_entry(
            user=user,
            browser=remember_browser(request),
            next_url=safe_next(wish(request)),
            key_label=key_label(request),
        )
    except OpenRouterAuthError as error:
        if prefers_json(request):
            return problem(error)
        tell_error(request, error)
        return SeeOther(reverse("openrouter_auth:manage"))
    if prefers_json(request):
        return JsonResponse({"authorization_url": url})
    return page(request, user, "openrouter_auth/code.html", authorization_url=url)


@flow_view("GET", "POST")
@vary_on_headers("Accept", "Cookie")
@sensitive_post_parameters()
@csrf_protect
def key(request: HttpRequest) -> HttpResponse:
    """Ask for a key (GET), or store the one that was pasted if OpenRouter accepts it (POST)."""
    if not app_settings.ALLOW_PASTED_KEYS:
        raise Http404
    user = request.user
    if not user.is_authenticated:
        return ask_to_sign_in(request)
    if request.method == "POST":
        return _connect(
            request, user, lambda: services.adopt_key(user=user, text=sent(request, "api_key"))
        )
    keys_url = f"{app_settings.web_url}/settings/keys"
    return page(request, user, "openrouter_auth/key.html", keys_url=keys_url)


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
    except Exception as error:  # noqa: BLE001 - as said
        logger.warning("openrouter entry failed: %s", type(error).__name__)
        failure = OpenRouterAuthError(stage="callback")
    else:
        if prefers_json(request):
            return JsonResponse(describe(find_key(user)))
        tell_connected(request, connected)
        return SeeOther(target(wish(request) or connected.next_url, app_settings.CONNECTED_URL))
    if prefers_json(request):
        return problem(failure)
    tell_error(request, failure)
    return SeeOther(with_next(request.path, wish(request) or failure.next_url))
