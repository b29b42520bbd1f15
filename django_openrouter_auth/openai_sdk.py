"""The ``openai`` SDK, calling OpenRouter with a user's key."""

import sys
from typing import Any

from django.views.decorators.debug import sensitive_variables

from .conf import app_settings
from .credentials import OpenedKey, open_key
from .exceptions import KeyRejected
from .keys import User
from .sdks import (
    AsyncKeyClientMixin,
    CarriedKey,
    KeyClientMixin,
    check_options,
    http_timeout,
)

try:
    import openai
except ImportError as error:
    raise ImportError(
        'This needs the package openai: install "django-openrouter-auth[openai]".'
    ) from error

OPTIONS = ("timeout", "max_retries", "default_headers", "default_query")
# httpx with openai 2, httpx2 with openai 3.
HTTP = sys.modules[openai.DefaultHttpxClient.__bases__[0].__module__]


# The SDK passes its own exceptions on as they are, and wraps or repeats after some others.


class OpenAIKeyRejected(KeyRejected, openai.OpenAIError):
    """``KeyRejected``, raised in the middle of the SDK."""


class ForeignURL(openai.OpenAIError, ValueError):
    """Raised instead of sending a request to another origin than OpenRouter's."""


class KeyClient(KeyClientMixin, openai.DefaultHttpxClient):
    """What the SDK sends with."""

    http = HTTP


class AsyncKeyClient(AsyncKeyClientMixin, openai.DefaultAsyncHttpxClient):
    """What the SDK sends with in asynchronous code."""

    http = HTTP


@sensitive_variables()
def get_client(user: User | None, **options: Any) -> openai.OpenAI:
    """Return the SDK's client; see ``shortcuts.get_openai_client``."""
    check_options(options, OPTIONS)
    opened = open_key(user)
    client = openai.OpenAI(http_client=KeyClient(_carry(opened)), **_settings() | options)
    client.api_key = opened.api_key
    return client


@sensitive_variables()
def get_async_client(user: User | None, **options: Any) -> openai.AsyncOpenAI:
    """Return the SDK's asynchronous client; see ``shortcuts.aget_openai_client``."""
    check_options(options, OPTIONS)
    opened = open_key(user)
    http_client = AsyncKeyClient(_carry(opened))
    client = openai.AsyncOpenAI(http_client=http_client, **_settings() | options)
    client.api_key = opened.api_key
    return client


def _carry(opened: OpenedKey) -> CarriedKey:
    return CarriedKey(
        opened,
        sdk=f"openai/{openai.__version__}",
        rejected=OpenAIKeyRejected,
        refused=ForeignURL,
    )


def _settings() -> dict[str, Any]:
    return {
        # The key comes later: where the SDK refuses an option, error reports show its frames.
        "api_key": "set-later",
        "base_url": app_settings.API_URL,
        "timeout": http_timeout(openai.Timeout),
        # What timed out may have cost the user money already; the SDK would send it twice again.
        "max_retries": 0,
    }
