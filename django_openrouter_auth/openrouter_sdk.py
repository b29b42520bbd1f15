"""The ``openrouter`` SDK, calling with a user's key."""

from typing import Any

from django.views.decorators.debug import sensitive_variables

from .conf import app_settings
from .credentials import open_key
from .keys import User
from .sdks import AsyncKeyClientMixin, CarriedKey, KeyClientMixin, check_options

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


class KeyClient(KeyClientMixin, httpx.Client):
    """What the SDK sends with."""

    http = httpx


class AsyncKeyClient(AsyncKeyClientMixin, httpx.AsyncClient):
    """What the SDK sends with in asynchronous code."""

    http = httpx


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
