"""What a visitor without a usable key is answered, and the way back to where they were."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from urllib.parse import urlsplit, urlunsplit

from django.contrib.auth import REDIRECT_FIELD_NAME
from django.contrib.auth.base_user import AbstractBaseUser
from django.contrib.auth.views import redirect_to_login
from django.db import connections, transaction
from django.http import HttpRequest, HttpResponse
from django.utils.cache import patch_vary_headers

from .answers import prefers_json, problem_details, tell_error
from .exceptions import (
    KeyRejected,
    KeyUnreadable,
    NotAuthenticated,
    NotConnected,
    OpenRouterAuthError,
)
from .introspection import repeat_verdict
from .keys import find_key, forget_shown_key, reveal_key, show_key
from .models import OpenRouterKey
from .redirects import is_htmx, own_url, safe_next, send_to, with_next

NO_USABLE_KEY = (NotConnected, KeyRejected, KeyUnreadable)

TROUBLES: dict[str, type[OpenRouterAuthError]] = {
    OpenRouterKey.Status.REJECTED: KeyRejected,
    OpenRouterKey.Status.UNREADABLE: KeyUnreadable,
}


def refuse(request: HttpRequest) -> HttpResponse | None:
    """Return an answer for a visitor without a usable key, and ``None`` for all others.

    The row is believed, so that nothing is decrypted to find out; unless it says that the key
    cannot be read, which may have changed.
    """
    user = request.user
    if not user.is_authenticated:
        return answer_without_key(request, NotConnected(stage="use"))
    # What a button on the page asks too, so that both together cost one query.
    key = show_key(user)
    if key is None or not key.is_usable:
        # It may have been connected since this request last looked.
        forget_shown_key(user)
        key = show_key(user)
    if key is not None and (key.is_usable or _can_be_read_again(user, key.status)):
        return None
    trouble = NotConnected if key is None else TROUBLES[key.status]
    return answer_without_key(request, trouble(stage="use"))


def _can_be_read_again(user: AbstractBaseUser, status: str) -> bool:
    """Return whether the encryption key of an unreadable key has come back."""
    if status != OpenRouterKey.Status.UNREADABLE:
        return False
    forget_shown_key(user)
    with suppress(*NO_USABLE_KEY):
        return bool(reveal_key(user))
    return False


def answer_without_key(request: HttpRequest, error: OpenRouterAuthError) -> HttpResponse:
    """Send a person to where the error can be mended and then back, or tell their program.

    Args:
        request: of the visitor; who is not signed in is asked to do that first.
        error: why the key cannot be used.
    """
    repeat_verdict(error)
    user = request.user
    page = _way_back(request)
    if user.is_authenticated:
        member, url = "connect_url", with_next(own_url("connect"), page)
    else:
        error = NotAuthenticated(stage="use")
        member, url = "login_url", _login_page(request, page)
    response: HttpResponse
    if _is_program(request):
        # Elsewhere the state of a key is a conflict; here it is the reason why a door stays shut.
        status = 403 if user.is_authenticated else 401
        response = problem_details(status, error.code, str(error), **{member: url})
    else:
        if user.is_authenticated and not _connect_page_says_why(user):
            tell_error(request, error)
        response = send_to(request, url)
    response["Cache-Control"] = "no-store"
    patch_vary_headers(response, ("Accept", "Cookie", "HX-Request"))
    return response


def _connect_page_says_why(user: AbstractBaseUser) -> bool:
    key = find_key(user)
    return key is not None and not key.is_usable


@contextmanager
def savepoint(request: HttpRequest) -> Iterator[None]:
    """Undo what a view wrote under ``ATOMIC_REQUESTS`` when an exception leaves the block.

    As without the decorator, but with the verdict about the key kept: it is written afterwards.
    """
    with ExitStack() as stack:
        # Without a match the view was called by other code, which sees to its transaction itself.
        if request.resolver_match is not None:
            exempt = getattr(request.resolver_match.func, "_non_atomic_requests", ())
            for connection in connections.all(initialized_only=True):
                if connection.settings_dict["ATOMIC_REQUESTS"] and connection.alias not in exempt:
                    stack.enter_context(transaction.atomic(using=connection.alias))
        yield


# Who is asking


def _is_program(request: HttpRequest) -> bool:
    """Return whether an answer for programs is wanted, rather than a page or htmx's header."""
    if is_htmx(request):
        return False
    # fetch() accepts anything unless told otherwise; libraries that fetch pages ask for HTML.
    is_script = request.headers.get("Sec-Fetch-Dest") == "empty" and not _names_html(request)
    return is_script or prefers_json(request)


def _names_html(request: HttpRequest) -> bool:
    return "text/html" in request.headers.get("Accept", "")


# Where they were


def _way_back(request: HttpRequest) -> str:
    """Return the page at which the visitor is or which they opened, if one can be returned to."""
    is_part_of_page = _is_program(request) or (
        is_htmx(request) and "HX-Boosted" not in request.headers
    )
    here = request.get_full_path()
    if request.method in ("GET", "HEAD") and not is_part_of_page:
        return safe_next(here)
    pages = [
        _own_path(request, request.headers.get(name, "")) for name in ("HX-Current-URL", "Referer")
    ]
    if not is_part_of_page:
        pages.append(here)
    return next(filter(None, map(safe_next, pages)), "")


def _own_path(request: HttpRequest, url: str) -> str:
    """Return the path of a URL of this host, and an empty string for any other URL."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return ""
    is_page = parts.scheme in ("http", "https")
    if not is_page or parts.netloc != request.get_host():
        return ""
    return urlunsplit(("", "", parts.path, parts.query, parts.fragment))


def _login_page(request: HttpRequest, page: str) -> str:
    url = redirect_to_login(page, redirect_field_name=REDIRECT_FIELD_NAME if page else None).url
    if page and urlsplit(url).netloc not in ("", request.get_host()):
        # A login page of another site needs to know to which site it returns people.
        url = redirect_to_login(request.build_absolute_uri(page)).url
    return url
