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
from django.views.decorators.clickjacking import xframe_options_deny

from .conf import app_settings
from .exceptions import OpenRouterAuthError

P = ParamSpec("P")
View = Callable[Concatenate[HttpRequest, P], HttpResponse]

JSON_TYPES = ("application/json", "application/problem+json")
LEVELS = {"info": constants.INFO, "warning": constants.WARNING, "error": constants.ERROR}


def flow_view(*methods: str) -> Callable[[View[P]], View[P]]:
    """Declare a view of the flow and the methods that it takes.

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
                response = HttpResponseNotAllowed(methods)
            response["Cache-Control"] = "no-store"
            response["Referrer-Policy"] = "no-referrer"
            return response

        private: Any = login_not_required(xframe_options_deny(answer))
        for alias in connections:
            private = transaction.non_atomic_requests(using=alias)(private)
        outermost: View[P] = private
        return outermost

    return decorate


def prefers_json(request: HttpRequest) -> bool:
    """Return whether the client would rather have JSON than a page."""
    # Nearly every request is a browser's, and ranking its preferences is slow.
    if "json" not in request.headers.get("Accept", ""):
        return False
    preferred = request.get_preferred_type(["text/html", *JSON_TYPES])
    return preferred in JSON_TYPES


def problem(error: OpenRouterAuthError) -> JsonResponse:
    """Return an error as problem details.

    Source: RFC 9457.
    """
    response = JsonResponse(
        {
            "type": "about:blank",
            "title": error.code.replace("_", " "),
            "status": error.http_status,
            "detail": str(error),
            "code": error.code,
        },
        status=error.http_status,
        content_type="application/problem+json",
    )
    if error.retry_after is not None:
        response["Retry-After"] = str(error.retry_after)
    return response


def tell_error(request: HttpRequest, error: OpenRouterAuthError) -> None:
    """Tell a person what went wrong and, where a key may be left over, what to do about it."""
    text = str(error)
    if error.outcome_unknown:
        text = format_html(
            '{} {} <a href="{}">{}</a>',
            text,
            _("A key that nobody uses may now be in your OpenRouter account; you can delete it."),
            f"{app_settings.web_url}/settings/keys",
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
