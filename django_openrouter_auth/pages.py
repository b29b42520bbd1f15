"""What the views share: what a request brings along, and how a visitor is met."""

import json
import re
import secrets
from collections.abc import Callable
from functools import wraps
from typing import Any

from django.contrib.auth.base_user import AbstractBaseUser
from django.contrib.auth.views import redirect_to_login
from django.contrib.messages import get_messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.views.decorators.csrf import csrf_protect
from django.views.decorators.debug import sensitive_post_parameters, sensitive_variables
from django.views.decorators.vary import vary_on_headers

from .answers import View, flow_view, prefers_json, problem, waiting
from .authorization import LONGEST_LABEL
from .conf import app_settings
from .exceptions import KeyRejected, KeyUnreadable, NotAuthenticated
from .keys import find_key
from .redirects import SeeOther, safe_next, send_to, with_next

UserView = Callable[[HttpRequest, AbstractBaseUser], HttpResponse]

SESSION_KEY = "openrouter_auth"
BROWSER = re.compile(r"[A-Za-z0-9_-]{22}")


@sensitive_variables()
def submitted(request: HttpRequest, name: str) -> str:
    """Return a field of the form or of the JSON object that a request brings, or nothing."""
    if request.content_type != "application/json":
        return request.POST.get(name, "")
    try:
        data = json.loads(request.body)
    # RecursionError: a body of "[" alone is enough for one.
    except (ValueError, RecursionError):
        return ""
    value = data.get(name) if isinstance(data, dict) else None
    return value if isinstance(value, str) else ""


def requested_next(request: HttpRequest) -> str:
    """Return where the visitor wants to go afterwards, unchecked."""
    return submitted(request, "next") or request.GET.get("next", "")


def page_view(*methods: str) -> Callable[[UserView], View[[]]]:
    """Declare a view of the flow for people who are signed in; it gets the user as well.

    Strangers are sent to the login page and back here, forms are protected against other sites,
    and what is sent along is kept out of error reports.
    """

    def decorate(view: UserView) -> View[[]]:
        @flow_view(*methods)
        @vary_on_headers("Accept", "Cookie")
        @sensitive_post_parameters()
        @csrf_protect
        @wraps(view)
        def answer(request: HttpRequest) -> HttpResponse:
            user = request.user
            if user.is_authenticated:
                return view(request, user)
            # From signing in people come back by GET, which not every address takes.
            page = request.path if "GET" in methods else reverse("openrouter_auth:manage")
            return ask_to_sign_in(request, page)

        return answer

    return decorate


def ask_to_sign_in(request: HttpRequest, page: str) -> HttpResponse:
    """Send a stranger to the login page and then to a page of ours, or tell their program."""
    if prefers_json(request):
        return problem(NotAuthenticated(stage="start"))
    url = redirect_to_login(with_next(page, requested_next(request))).url
    return send_to(request, url)


def to_login(page: str) -> HttpResponse:
    """Send somebody to the login page, and from there to a page of this site."""
    return SeeOther(redirect_to_login(page).url)


def render_page(
    request: HttpRequest, user: AbstractBaseUser, template: str, **context: Any
) -> HttpResponse:
    """Return a page of a user's connection."""
    told = {code for code, _ in waiting(request)}
    own = {
        "key": context["key"] if "key" in context else find_key(user),
        "next": safe_next(requested_next(request)),
        "can_enter_code": app_settings.ALLOW_CODE_ENTRY,
        "can_paste_key": app_settings.ALLOW_PASTED_KEYS,
        # Then the page need not say once more what is wrong with the key.
        "is_told": not told.isdisjoint({KeyRejected.code, KeyUnreadable.code}),
        # For sites without the context processor: the outcome of a flow must be seen.
        "messages": get_messages(request),
    }
    return render(request, template, context | own)


def is_prefetch(request: HttpRequest) -> bool:
    """Return whether a browser asks before its user does."""
    return "prefetch" in request.headers.get("Sec-Purpose", request.headers.get("Purpose", ""))


def remember_browser(request: HttpRequest) -> str:
    """Return the random value by which this browser's session is known, making one if needed."""
    browser = known_browser(request)
    if browser is None:
        browser = request.session[SESSION_KEY] = secrets.token_urlsafe(16)
    return browser


def known_browser(request: HttpRequest) -> str | None:
    """Return the random value by which this browser's session is known, or ``None``."""
    browser = request.session.get(SESSION_KEY)
    return browser if isinstance(browser, str) and BROWSER.fullmatch(browser) else None


def key_label(request: HttpRequest) -> str:
    """Return the name that the key of this visitor shall have at OpenRouter."""
    label = app_settings.KEY_LABEL
    return str((label(request) if callable(label) else label) or "")[:LONGEST_LABEL]
