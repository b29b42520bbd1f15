"""How results reach people and programs: messages, problem JSON, and the headers of a flow."""

from collections.abc import Callable
from functools import wraps
from typing import Any, Concatenate, ParamSpec

from django.contrib import messages
from django.contrib.auth.decorators import login_not_required
from django.contrib.messages import constants
from django.contrib.messages.storage.base import BaseStorage
from django.db import connections, transaction
from django.http import HttpRequest, HttpResponse, HttpResponseNotAllowed, JsonResponse
from django.utils.html import format_html
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy as _lazy
from django.views.decorators.clickjacking import xframe_options_deny

from .attempts import CONNECTED
from .conf import app_settings
from .exceptions import OpenRouterAuthError
from .finishing import Connected
from .models import key_settings_url

P = ParamSpec("P")
View = Callable[Concatenate[HttpRequest, P], HttpResponse]

JSON_TYPES = ("application/json", "application/problem+json")
LEFTOVER = _lazy("A key that nobody uses may now be in your OpenRouter account; you can delete it.")
LEVELS = {"info": constants.INFO, "warning": constants.WARNING, "error": constants.ERROR}


def flow_view(*methods: str, is_json: bool = False) -> Callable[[View[P]], View[P]]:
    """Declare a view of the flow, the methods that it takes, and whether it only speaks JSON.

    Every answer, refusals of a method included, is kept out of caches, frames and referrers.
    The view deals with anonymous visitors itself, and runs in no transaction, so that nothing
    is locked while OpenRouter is asked and no result is rolled back with the request.
    """

    def decorate(view: View[P]) -> View[P]:
        @wraps(view)
        def answer(request: HttpRequest, *args: P.args, **kwargs: P.kwargs) -> HttpResponse:
            if request.method in methods:
                response = view(request, *args, **kwargs)
            else:
                response = _refuse_method(methods, as_json=is_json or prefers_json(request))
            response["Cache-Control"] = "no-store"
            response["Referrer-Policy"] = "no-referrer"
            response["X-Content-Type-Options"] = "nosniff"
            return response

        private: Any = login_not_required(xframe_options_deny(answer))
        for alias in connections:
            private = transaction.non_atomic_requests(using=alias)(private)
        outermost: View[P] = private
        return outermost

    return decorate


def _refuse_method(methods: tuple[str, ...], *, as_json: bool) -> HttpResponse:
    if not as_json:
        return HttpResponseNotAllowed(methods)
    allowed = ", ".join(methods)
    response = problem_details(405, "method_not_allowed", f"This address takes {allowed}.")
    response["Allow"] = allowed
    return response


def prefers_json(request: HttpRequest) -> bool:
    """Return whether the client would rather have JSON than a page."""
    if request.content_type == "application/json":
        return True
    # Nearly every request is a browser's, and ranking its preferences is slow.
    if "json" not in request.headers.get("Accept", ""):
        return False
    preferred = request.get_preferred_type(["text/html", *JSON_TYPES])
    return preferred in JSON_TYPES


def problem(error: OpenRouterAuthError) -> JsonResponse:
    """Return an error as problem details."""
    detail, members = str(error), {"recovery": error.recovery}
    if error.outcome_unknown:
        detail = f"{detail} {LEFTOVER}"
        members["openrouter_keys"] = keys_page()
    response = problem_details(error.http_status, error.code, detail, **members)
    if error.retry_after is not None:
        response["Retry-After"] = str(error.retry_after)
    return response


def problem_details(status: int, code: str, detail: str, **members: str) -> JsonResponse:
    """Return problem details, with more members than the usual ones where they help.

    Source: RFC 9457.
    """
    body = {
        "type": "about:blank",
        "title": code.replace("_", " "),
        "status": status,
        "detail": detail,
        "code": code,
        **members,
    }
    return JsonResponse(body, status=status, content_type="application/problem+json")


def keys_page() -> str:
    """Return the page of OpenRouter with all keys of whoever looks at it."""
    return f"{app_settings.web_url}/settings/keys"


def tell_error(request: HttpRequest, error: OpenRouterAuthError) -> None:
    """Tell a person what went wrong and, where a key may be left over, what to do about it."""
    text = str(error)
    if error.outcome_unknown:
        text = format_html(
            '{} {} <a href="{}">{}</a>',
            text,
            LEFTOVER,
            keys_page(),
            _("Open your OpenRouter keys"),
        )
    tell(request, LEVELS[error.level], text, error.code)


def tell(request: HttpRequest, level: int, text: str, code: str) -> None:
    """Leave a message for the next page, once: a repeated request does not pile them up."""
    waiting = messages.get_messages(request)
    if not isinstance(waiting, BaseStorage):
        # django.contrib.messages is not in use; the next page shows the state all the same.
        return
    # Looking at the messages marks them as shown; that does not make it so.
    were_shown = waiting.used
    try:
        told = {(message.extra_tags, str(message)) for message in waiting}
    finally:
        waiting.used = were_shown
    if (code, str(text)) not in told:
        messages.add_message(request, level, text, extra_tags=code)


def tell_connected(request: HttpRequest, connected: Connected) -> None:
    """Tell a person that they are connected, and what became of the key before."""
    if not connected.is_new:
        text = _("OpenRouter is connected. This return from it was used before.")
        tell(request, constants.INFO, text, CONNECTED)
        return
    text = _("OpenRouter is connected.")
    if not connected.is_checked:
        text += " " + _("The new key is not checked yet: OpenRouter did not answer that question.")
    if connected.replaced_hash is not None:
        text = format_html(
            '{} {} <a href="{}">{}</a>',
            text,
            _(
                "Your previous key is no longer used here. If it still exists at OpenRouter, it "
                "works until you delete it there."
            ),
            key_settings_url(connected.replaced_hash),
            _("Open the previous key at OpenRouter"),
        )
    tell(request, constants.SUCCESS, text, CONNECTED)
