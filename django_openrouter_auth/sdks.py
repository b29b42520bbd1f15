"""A user's key under way with a foreign SDK: what the HTTP clients of both SDKs promise.

Both SDKs let a site bring the HTTP client. That is the one place through which all of their
requests pass, whatever their versions do above it.
"""

import asyncio
import os
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
from .credentials import OpenedKey
from .exceptions import KeyRejected

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
    def send(self, send: Callable[..., Any], request: Any, **options: Any) -> Any:
        """Send a request; raise ``KeyRejected`` once a 401 is confirmed.

        Args:
            send: what sends, of a client of httpx.
            request: of httpx.
            **options: for ``send``.
        """
        self._require_our_origin(request)
        failure: Exception | None = None
        try:
            response = send(request, **options | self._send_options())
        except Exception as error:  # noqa: BLE001 - of httpx or httpx2, raised again below
            failure = error
        if failure is not None:
            request.headers.pop("Authorization", None)
            raise _without_causes(failure)
        if response.status_code == 401:
            rejection = self._opened.confirm_rejection()
            if rejection is not None:
                response.close()
                raise self._remember(rejection)
        return response

    @sensitive_variables()
    async def asend(
        self, send: Callable[..., Coroutine[Any, Any, Any]], request: Any, **options: Any
    ) -> Any:
        """Do the same with an asynchronous client; the database is asked in a thread."""
        self._require_our_origin(request)
        failure: Exception | None = None
        try:
            response = await send(request, **options | self._send_options())
        except Exception as error:  # noqa: BLE001 - of httpx or httpx2, raised again below
            failure = error
        if failure is not None:
            request.headers.pop("Authorization", None)
            raise _without_causes(failure)
        if response.status_code == 401:
            rejection = await sync_to_async(self._opened.confirm_rejection)()
            if rejection is not None:
                await response.aclose()
                raise self._remember(rejection)
        return response

    def _require_our_origin(self, request: Any) -> None:
        if self._rejection is not None:
            raise self._rejection.with_traceback(None)
        # Read by the library that will connect, because parsers of URLs disagree.
        url, ours = request.url, type(request.url)(app_settings.API_URL)
        if (url.scheme, url.host, url.port) != (ours.scheme, ours.host, ours.port):
            raise self._refused("This client only talks to OpenRouter's API.")

    def _send_options(self) -> dict[str, Any]:
        """Return what an SDK does not decide: the credentials, and where a request may go on."""
        return {"auth": self._authorize, "follow_redirects": False}

    def _authorize(self, request: Any) -> Any:
        request.headers["Authorization"] = f"Bearer {self._opened.api_key}"
        request.headers["User-Agent"] = self._user_agent
        return request

    def _remember(self, rejection: KeyRejected) -> KeyRejected:
        self._rejection = self._rejected()
        vars(self._rejection).update(vars(rejection))
        return self._rejection


def _without_causes(failure: Exception) -> Exception:
    """Cut off causes: frames of theirs hold the headers, and error reports show frames."""
    failure.__cause__ = failure.__context__ = None
    return failure


class KeyClientMixin:
    """For an SDK's HTTP client, its last base: it sends with a user's key.

    Closing it leaves the connections open for others.

    Attributes:
        http: ``httpx`` or its successor ``httpx2``.
    """

    http: ModuleType

    def __init__(self, carried: CarriedKey) -> None:
        super().__init__(**_http_options(self.http))
        self._carried = carried

    def send(self, request: Any, **options: Any) -> Any:
        key_client: Any = type(self)  # which mypy does not take for hashable
        connections = _connections(key_client, os.getpid())
        return self._carried.send(connections.send, request, **options)


class AsyncKeyClientMixin:
    """The same in asynchronous code, with connections of its own: they belong to an event loop."""

    http: ModuleType

    def __init__(self, carried: CarriedKey) -> None:
        super().__init__(**_http_options(self.http))
        self._carried = carried

    async def send(self, request: Any, **options: Any) -> Any:
        sdk_client: Any = super()
        return await self._carried.asend(sdk_client.send, request, **options)

    def __del__(self: Any) -> None:
        if not self.is_closed:
            _close_later(self)


def _close_later(client: Any) -> None:
    """Close the connections of an asynchronous HTTP client that nobody closed."""
    try:
        loop = asyncio.get_running_loop()
    except RuntimeError:
        # Its connections ended with their loop.
        return
    task = loop.create_task(client.aclose())
    _closing.add(task)
    task.add_done_callback(_closing.discard)


# By process: after a fork the connections belong to the parent.
@lru_cache(maxsize=2)
def _connections(key_client: type[KeyClientMixin], process: int) -> Any:
    """Return the client, as the SDK itself has it, whose connections all threads share."""
    return key_client.__bases__[-1](**_http_options(key_client.http))


def http_timeout(make: Callable[..., Any]) -> Any:
    """Return the time limits of the site.

    Args:
        make: ``Timeout`` of the SDK's HTTP library.
    """
    connect, read = app_settings.TIMEOUT
    return make(read, connect=connect)


def _http_options(http: ModuleType) -> dict[str, Any]:
    """Return how an HTTP client is set up.

    Proxies and certificates come from the environment, as the library does it by itself.
    """
    no_cookies = CookieJar(DefaultCookiePolicy(allowed_domains=[]))
    return {
        "verify": _trust_store(http),
        "timeout": http_timeout(http.Timeout),
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
