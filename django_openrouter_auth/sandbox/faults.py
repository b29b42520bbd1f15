"""The ways in which a provider fails that are not an orderly JSON answer."""

import os
import socket
import time

from django.http import HttpRequest, HttpResponse

from .switches import SandboxSwitches

NO_ANSWER = 444
"""The journal's status of a connection that was cut; the number is nginx's."""

RETRY_AFTER = "7"
"""Seconds that a 429 asks a client to wait."""


def stall(switches: SandboxSwitches) -> None:
    """Wait as long as the switchboard says a slow answer takes."""
    time.sleep(switches.slow_seconds)


def html_page(status: int) -> HttpResponse:
    """Return what a network edge sends in OpenRouter's place: a page, not JSON."""
    page = (
        "<!DOCTYPE html>\n<html><head><title>openrouter.ai | {0}</title></head>"
        "<body><h1>Error {0}</h1><p>The web server reported an error.</p>"
        "<p>This page comes from the OpenRouter sandbox.</p></body></html>\n"
    )
    return HttpResponse(page.format(status), status=status)


class ConnectionCut(Exception):
    """Raised by a view that shall not answer at all."""


def hang_up(request: HttpRequest) -> HttpResponse:
    """Close the client's connection; the returned response will not reach anybody.

    Raises:
        ConnectionResetError: where there is no socket to close, as in Django's test client.
    """
    # WSGI has no word for "hang up", and merely failing would send an orderly 500 page. The
    # development server reads the body from a buffered socket; its descriptor leads back.
    stream = getattr(request, "environ", {}).get("wsgi.input")
    reader = getattr(getattr(stream, "_read", None), "__self__", None)
    try:
        descriptor = os.dup(reader.fileno())  # type: ignore[union-attr]  # None is caught below
    except (AttributeError, OSError):
        raise ConnectionResetError("The sandbox cut the connection") from None
    with socket.socket(fileno=descriptor) as connection:
        connection.shutdown(socket.SHUT_RDWR)
    return HttpResponse(status=NO_ANSWER)
