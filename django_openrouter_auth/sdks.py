"""A user's key under way with a foreign SDK: what the HTTP clients of both SDKs promise.

Both SDKs let a site bring the HTTP client. That is the one place through which all of their
requests pass, whatever their versions do above it.
"""

import asyncio
from collections.abc import Callable, Coroutine, Mapping
from functools import lru_cache
from http.cookiejar import CookieJar, DefaultCookiePolicy
from ssl import SSLContext
from types import ModuleType
from typing import Any

from asgiref.sync import sync_to_async
from django.views.decorators.debug import sensitive_variables

from . import __version__
from .conf import app_settings
from .exceptions import KeyRejected
from .using import OpenedKey

# The event loop does not hold on to its tasks.
_closing: set[asyncio.Task[None]] = set()


class CarriedKey:
    """A key that goes to the origin of ``OPENROUTER_AUTH_API_URL``, whatever an SDK is told.

    Args:
        opened: the user's key.
        sdk: name and version of the SDK, for the header ``User-Agent``.
        rejected: raised once a 401 is confirmed.
        refused: raised instead of sending to another origin.
    """

    def __init__(
        self,
        opened: OpenedKey,
        *,
        sdk: str,
        rejected: type[KeyRejected] = KeyRejected,
        refused: type[ValueError] = ValueError,
    ) -> None:
        self._opened = opened
        self._user_agent = f"django-openrouter-auth/{__version__} {sdk}"
        self._rejected, self._refused = rejected, refused
        self._rejection: KeyRejected | None = None

    @sensitive_variables()
    def send(self, via: Callable[..., Any], request: Any, **options: Any) -> Any:
        """Send a request; raise ``KeyRejected`` once a 401 is confirmed.

        Args:
            via: ``send`` of a client of httpx.
            request: of httpx.
            **options: for ``via``.
        """
        self._look_at(request)
        failure: Exception | None = None
        try:
            response = via(request, **options | self._terms())
        except Exception as error:  # noqa: BLE001 - of httpx or httpx2, raised again below
            failure = error
        if failure is not None:
            raise _without_causes(failure)
        if response.status_code == 401:
            rejection = self._opened.confirm_rejection()
            if rejection is not None:
                response.close()
                raise self._note(rejection)
        return response

    @sensitive_variables()
    async def asend(
        self, via: Callable[..., Coroutine[Any, Any, Any]], request: Any, **options: Any
    ) -> Any:
        """Do the same with an asynchronous client; the database is asked in a thread."""
        self._look_at(request)
        failure: Exception | None = None
        try:
            response = await via(request, **options | self._terms())
        except Exception as error:  # noqa: BLE001 - as above
            failure = error
        if failure is not None:
            raise _without_causes(failure)
        if response.status_code == 401:
            rejection = await sync_to_async(self._opened.confirm_rejection)()
            if rejection is not None:
                await response.aclose()
                raise self._note(rejection)
        return response

    def _look_at(self, request: Any) -> None:
        if self._rejection is not None:
            raise self._rejection.with_traceback(None)
        # Read by the library that will connect, because parsers of URLs disagree.
        url, ours = request.url, type(request.url)(app_settings.API_URL)
        if (url.scheme, url.host, url.port) != (ours.scheme, ours.host, ours.port):
            raise self._refused("This client only talks to OpenRouter's API.")

    def _terms(self) -> dict[str, Any]:
        """Return what an SDK does not decide: the credentials, and where a request may go on."""
        return {"auth": self._sign, "follow_redirects": False}

    def _sign(self, request: Any) -> Any:
        request.headers["Authorization"] = f"Bearer {self._opened.api_key}"
        request.headers["User-Agent"] = self._user_agent
        return request

    def _note(self, rejection: KeyRejected) -> KeyRejected:
        self._rejection = self._rejected()
        vars(self._rejection).update(vars(rejection))
        return self._rejection


def _without_causes(failure: Exception) -> Exception:
    """Cut off causes: frames of theirs hold the headers, and error reports show frames."""
    failure.__cause__ = failure.__context__ = None
    return failure


def close_later(client: Any) -> None:
    """Close the connections of an asynchronous HTTP client that nobody closed."""
    try:
        loop = asyncio.get_running_loop()
    except RuntimeError:
        # Its connections ended with their loop.
        return
    task = loop.create_task(client.aclose())
    _closing.add(task)
    task.add_done_callback(_closing.discard)


def http_options(http: ModuleType) -> dict[str, Any]:
    """Return how an HTTP client is set up, for ``httpx`` or its successor ``httpx2``.

    Proxies and certificates come from the environment, as the library does it by itself.
    """
    no_cookies = CookieJar(DefaultCookiePolicy(allowed_domains=[]))
    return {
        "verify": _trust_store(http),
        "cookies": no_cookies,
        # httpx would encode the text as ASCII, which most scripts do not fit into.
        "headers": {
            name: value.encode() for name, value in app_settings.attribution_headers.items()
        },
    }


@lru_cache(maxsize=2)
def _trust_store(http: ModuleType) -> SSLContext:
    """Parse the trusted certificates once per process: it takes a long time."""
    context: SSLContext = http.create_ssl_context()
    return context


def check_options(options: Mapping[str, Any], allowed: tuple[str, ...]) -> None:
    """Refuse options of an SDK that are not known to leave the key where it belongs.

    Raises:
        TypeError: for any other option.
    """
    for name in options:
        if name not in allowed:
            raise TypeError(f"The option {name} is not allowed here, only {', '.join(allowed)}.")
