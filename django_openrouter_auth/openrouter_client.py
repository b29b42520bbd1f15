"""The ``openrouter`` SDK, calling with a user's key."""

import os
from functools import lru_cache
from typing import Any

from django.views.decorators.debug import sensitive_variables

from .conf import app_settings
from .keys import User
from .sdks import CarriedKey, check_options, close_later, http_options
from .using import open_key

try:
    import httpx
    import openrouter
except ImportError as error:
    raise ImportError(
        'This needs the package openrouter: install "django-openrouter-auth[openrouter]".'
    ) from error

OPTIONS = (
    "timeout_ms",
    "retry_config",
    "http_referer",
    "x_open_router_title",
    "x_open_router_categories",
    "debug_logger",
)


class KeyClient(httpx.Client):
    """What the SDK sends with; closing it leaves the connections open for others."""

    def __init__(self, carried: CarriedKey) -> None:
        super().__init__(timeout=_timeout(), **http_options(httpx))
        self._carried = carried

    def send(self, *args: Any, **options: Any) -> Any:
        return self._carried.send(_connections(os.getpid()).send, *args, **options)


class AsyncKeyClient(httpx.AsyncClient):
    """What the SDK's asynchronous methods send with; its connections belong to one event loop."""

    def __init__(self, carried: CarriedKey) -> None:
        super().__init__(timeout=_timeout(), **http_options(httpx))
        self._carried = carried

    async def send(self, *args: Any, **options: Any) -> Any:
        return await self._carried.asend(super().send, *args, **options)

    def __del__(self) -> None:
        if not self.is_closed:
            close_later(self)


# By process: after a fork the connections belong to the parent.
@lru_cache(maxsize=1)
def _connections(process: int) -> httpx.Client:
    """Return the client whose connections all threads share."""
    return httpx.Client(**http_options(httpx))


@sensitive_variables()
def get_client(user: User | None, **options: Any) -> openrouter.OpenRouter:
    """Return the SDK's client; see ``shortcuts.get_openrouter_client``."""
    check_options(options, OPTIONS)
    carried = CarriedKey(open_key(user), sdk=f"openrouter/{openrouter.VERSION}")
    settings: dict[str, Any] = {
        # The key is added on the way out: the SDK's configuration would show it.
        "api_key": "added-when-sent",
        "server_url": app_settings.API_URL,
        # The SDK would repeat for an hour what may have cost the user money already.
        "retry_config": None,
    }
    client = openrouter.OpenRouter(
        client=KeyClient(carried), async_client=AsyncKeyClient(carried), **settings | options
    )
    # The SDK closes what it opened itself, and `async with` is to close these connections.
    client.sdk_configuration.async_client_supplied = False
    return client


def _timeout() -> httpx.Timeout:
    connect, read = app_settings.TIMEOUT
    return httpx.Timeout(read, connect=connect)
