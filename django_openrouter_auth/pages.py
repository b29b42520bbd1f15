"""What the views share: what a request brings along, and how a visitor is met."""

import json
import re
import secrets
from typing import Any

from django.contrib.auth.base_user import AbstractBaseUser
from django.contrib.auth.views import redirect_to_login
from django.contrib.messages import get_messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.debug import sensitive_variables

from .answers import prefers_json, problem
from .conf import app_settings
from .exceptions import NotAuthenticated
from .keys import find_key
from .redirects import SeeOther, safe_next, with_next

SESSION_KEY = "openrouter_auth"
BROWSER = re.compile(r"[A-Za-z0-9_-]{22}")
LONGEST_LABEL = 100


@sensitive_variables()
def sent(request: HttpRequest, name: str) -> str:
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


def wish(request: HttpRequest) -> str:
    """Return where the visitor wants to go afterwards, unchecked."""
    return sent(request, "next") or request.GET.get("next", "")


def ask_to_sign_in(request: HttpRequest) -> HttpResponse:
    """Send a stranger to the login page and back here, or tell their program."""
    if prefers_json(request):
        return problem(NotAuthenticated(stage="start"))
    return to_login(with_next(request.path, wish(request)))


def to_login(page: str) -> HttpResponse:
    """Send somebody to the login page, and from there to a page of this site."""
    return SeeOther(redirect_to_login(page).url)


def page(
    request: HttpRequest, user: AbstractBaseUser, template: str, **context: Any
) -> HttpResponse:
    """Return a page of a user's connection."""
    own = {
        "key": context["key"] if "key" in context else find_key(user),
        "next": safe_next(wish(request)),
        "can_enter_code": app_settings.ALLOW_CODE_ENTRY,
        "can_paste_key": app_settings.ALLOW_PASTED_KEYS,
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
