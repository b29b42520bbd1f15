"""Where people go next: only ever to a path of this site, or where a setting says."""

import re
from contextlib import suppress
from posixpath import normpath
from urllib.parse import unquote, urlencode, urlsplit

from django.core.exceptions import ImproperlyConfigured
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import resolve_url
from django.urls import NoReverseMatch, Resolver404, get_script_prefix, resolve, reverse
from django.utils.encoding import iri_to_uri
from django.utils.http import url_has_allowed_host_and_scheme

LONGEST_NEXT = 2000
UNPRINTABLE = re.compile(r"[\x00-\x20\x7f-\x9f\u2028\u2029\ud800-\udfff]")
FLOW_URLS = ("connect", "callback", "disconnect", "check")


class SeeOther(HttpResponseRedirect):
    """A redirect that is always followed with GET."""

    status_code = 303


def send_to(request: HttpRequest, url: str) -> HttpResponse:
    """Send a visitor to another page, also where htmx asks for a part of the present one.

    htmx would follow a redirect itself, put a page of this site into that part, and be refused
    those of other sites.
    """
    return HttpResponse(headers={"HX-Redirect": url}) if is_htmx(request) else SeeOther(url)


def is_htmx(request: HttpRequest) -> bool:
    """Return whether htmx asks, which heeds its own headers in the answer."""
    # To restore a page from its history htmx shows whatever comes, and looks at no header.
    return (
        request.headers.get("HX-Request") == "true"
        and "HX-History-Restore-Request" not in request.headers
    )


def safe_next(url: str | None) -> str:
    """Return an absolute path of this site, or an empty string for anything else.

    Args:
        url: what a visitor sent or what was stored; full URLs, paths of our own flow and
            everything over 2,000 characters, as it stands in a header, are not taken.
    """
    if (
        not url
        or not url.startswith("/")
        # Also "//" alone, which Django takes for a path and browsers for an address without a host.
        or url.startswith("//")
        or UNPRINTABLE.search(url)
        or len(iri_to_uri(url)) > LONGEST_NEXT
        or not url_has_allowed_host_and_scheme(url, allowed_hosts=None)
        or _is_own_flow(url)
    ):
        return ""
    return url


def _is_own_flow(url: str) -> bool:
    path = normpath(unquote(urlsplit(url).path)).removeprefix(get_script_prefix().rstrip("/"))
    try:
        match = resolve(f"{path}/")
    except Resolver404:
        return False
    return "openrouter_auth" in match.app_names and match.url_name in {*FLOW_URLS, None}


def target(wanted: str | None, configured: str | None) -> str:
    """Return where to go: the visitor's wish, else the setting, else the connection page."""
    page = safe_next(wanted)
    if page:
        return page
    if configured:
        with suppress(NoReverseMatch):
            return resolve_url(configured)
    return reverse("openrouter_auth:manage")


def own_url(name: str) -> str:
    """Return the path of one of our pages, for code that other pages run.

    Raises:
        ImproperlyConfigured: our URLs are not included.
    """
    try:
        return reverse(f"openrouter_auth:{name}")
    except NoReverseMatch as error:
        raise ImproperlyConfigured(
            "The URLs of django_openrouter_auth are not included. Add "
            'path("openrouter/", include("django_openrouter_auth.urls")) to your urls.py.'
        ) from error


def with_next(path: str, wanted: str | None) -> str:
    """Return a path of this app with a ``next`` parameter, where the wish can be granted."""
    page = safe_next(wanted)
    return f"{path}?{urlencode({'next': page})}" if page else path


def origin_of(request: HttpRequest) -> str:
    """Return scheme and host as this request reached the site."""
    return f"{request.scheme}://{request.get_host()}"
