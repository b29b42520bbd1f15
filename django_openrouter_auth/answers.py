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
from django.urls import reverse
from django.utils.html import format_html
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, pgettext
from django.views.decorators.clickjacking import xframe_options_deny

from .attempts import CONNECTED
from .conf import app_settings
from .exceptions import KeyInsteadOfCode, OpenRouterAuthError
from .finishing import Connected
from .models import key_settings_url
from .tables import OUR_TABLES, migrated
from .wording import one_after_the_other

P = ParamSpec("P")
View = Callable[Concatenate[HttpRequest, P], HttpResponse]

JSON_TYPES = ("application/json", "application/problem+json")
LEFTOVER = gettext_lazy(
    "A key that nobody uses may now be in your OpenRouter account; you can delete it."
)
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
                with migrated(*OUR_TABLES):
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
        detail = one_after_the_other(detail, str(LEFTOVER))
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
    """Tell a person what went wrong and, where a link helps, what to do about it."""
    text = str(error)
    if error.outcome_unknown:
        label = pgettext("action", "Open your OpenRouter keys")
        text = with_link(one_after_the_other(text, str(LEFTOVER)), keys_page(), label)
    elif isinstance(error, KeyInsteadOfCode) and app_settings.ALLOW_PASTED_KEYS:
        label = pgettext("action", "Use a key that you already have")
        text = with_link(text, reverse("openrouter_auth:key"), label)
    tell(request, LEVELS[error.level], text, error.code)


def with_link(text: str, url: str, label: str) -> str:
    """Return a text, which may be HTML already, with a link after it."""
    return format_html('{} <a href="{}">{}</a>', text, url, label)


def tell(request: HttpRequest, level: int, text: str, code: str) -> None:
    """Leave a message for the next page, once: a repeated request does not pile them up."""
    # Without django.contrib.messages the next page shows the state all the same.
    if (code, str(text)) not in waiting(request):
        messages.add_message(request, level, text, extra_tags=code, fail_silently=True)


def waiting(request: HttpRequest) -> set[tuple[str, str]]:
    """Return code and text of the messages that wait for the next page; they go on waiting."""
    stored = messages.get_messages(request)
    if not isinstance(stored, BaseStorage):
        return set()
    # Looking at the messages marks them as shown; that does not make it so.
    were_shown = stored.used
    try:
        return {(message.extra_tags, str(message)) for message in stored}
    finally:
        stored.used = were_shown


def tell_connected(request: HttpRequest, connected: Connected) -> None:
    """Tell a person that they are connected, and what became of the key before."""
    if not connected.is_new:
        text = _("OpenRouter is connected. This return from it was used before.")
        tell(request, constants.INFO, text, CONNECTED)
        return
    text = _(
        "OpenRouter is connected. What this site uses with your key is charged to your "
        "OpenRouter account."
    )
    if not connected.is_checked:
        unchecked = _(
            "The new key is not checked yet, because OpenRouter gave no usable answer. This "
            "site uses it all the same and checks it later."
        )
        text = one_after_the_other(text, unchecked)
    if connected.replaced_hash is not None:
        replaced = _(
            "Your previous key is no longer used here. If it still exists at OpenRouter, it "
            "works until you delete it there."
        )
        label = pgettext("action", "Open the previous key at OpenRouter")
        url = key_settings_url(connected.replaced_hash)
        text = with_link(one_after_the_other(text, replaced), url, label)
    tell(request, constants.SUCCESS, text, CONNECTED)
