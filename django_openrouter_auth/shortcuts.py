"""What a site's own code uses to call OpenRouter for a user."""

from typing import TYPE_CHECKING, Any

from asgiref.sync import sync_to_async
from django.contrib.auth.base_user import AbstractBaseUser
from django.contrib.auth.models import AnonymousUser

from . import credentials, keys
from .credentials import ResolvedKey

if TYPE_CHECKING:
    import openai
    import openrouter
    from requests import Session

__all__ = [
    "ResolvedKey",
    "aget_api_key",
    "aget_openai_client",
    "aget_openrouter_client",
    "aresolve_api_key",
    "get_api_key",
    "get_openai_client",
    "get_openrouter_client",
    "get_session",
    "resolve_api_key",
]


def get_api_key(user: AbstractBaseUser | AnonymousUser | None) -> str:
    """Return a user's OpenRouter key in plain text: hand it on, do not keep it.

    Args:
        user: whose key; anonymous visitors have none.

    Raises:
        NotConnected: the user has not connected OpenRouter.
        KeyRejected: OpenRouter no longer accepts the key.
        KeyUnreadable: the key cannot be decrypted; the user has to connect again.
    """
    return keys.reveal_key(user)


async def aget_api_key(user: AbstractBaseUser | AnonymousUser | None) -> str:
    """Return a user's key from asynchronous code, as :func:`get_api_key` does."""
    return await sync_to_async(get_api_key)(user)


def resolve_api_key(user: AbstractBaseUser | AnonymousUser | None) -> ResolvedKey:
    """Return a user's own key, or the site's key for a user who has not connected one.

    The site's key is ``OPENROUTER_AUTH_SITE_KEY``. It is never used for a user whose own key was
    rejected or cannot be read: the site would pay, and nobody would know. Where it is a callable
    and returns what cannot be a key, that raises ``Misconfigured``.

    Args:
        user: whose key; anonymous visitors have none.

    Returns:
        ``(api_key, source)``, where ``source`` is ``"user"`` or ``"site"``.

    Raises:
        NotConnected: the user has not connected OpenRouter, and there is no site key.
        KeyRejected, KeyUnreadable: as :func:`get_api_key` does.
    """
    return credentials.resolve_key(user)


async def aresolve_api_key(user: AbstractBaseUser | AnonymousUser | None) -> ResolvedKey:
    """Do in asynchronous code what :func:`resolve_api_key` does."""
    return await sync_to_async(resolve_api_key)(user)


def get_session(user: AbstractBaseUser | AnonymousUser | None) -> "Session":
    """Return a ``requests.Session`` that calls OpenRouter's API with a user's key.

    ``session.post("chat/completions", json=…)`` is sent below ``OPENROUTER_AUTH_API_URL``. The
    key goes to that origin only, also on redirects; connections stay open from one session of a
    thread to the next. ``OPENROUTER_AUTH_TIMEOUT`` applies where the call names no ``timeout``.

    Args:
        user: whose key; anonymous visitors have none.

    Raises:
        NotConnected, KeyRejected, KeyUnreadable: as :func:`get_api_key` does.

    A call of the session raises ``KeyRejected`` when OpenRouter answers 401 and ``GET /key``
    confirms it, and ``requests.exceptions.InvalidURL`` for a URL of another origin.
    """
    return credentials.open_session(user)


def get_openai_client(
    user: AbstractBaseUser | AnonymousUser | None, **options: Any
) -> "openai.OpenAI":
    """Return an ``openai.OpenAI`` that calls OpenRouter's API with a user's key.

    The key goes to the origin of ``OPENROUTER_AUTH_API_URL`` only.

    Args:
        user: whose key; anonymous visitors have none.
        **options: ``timeout`` (default: ``OPENROUTER_AUTH_TIMEOUT``), ``max_retries`` (default: 0),
            ``default_headers`` and ``default_query``, as the SDK has them.

    Raises:
        ImportError: ``django-openrouter-auth[openai]`` is not installed.
        NotConnected, KeyRejected, KeyUnreadable: as :func:`get_api_key` does.

    A call raises ``KeyRejected`` when OpenRouter answers 401 and ``GET /key`` confirms it, and
    ``ValueError`` for a URL of another origin.
    """
    # The SDKs take long to import, and most processes never call OpenRouter.
    from .openai_sdk import get_client  # noqa: PLC0415 - an optional extra

    return get_client(user, **options)


async def aget_openai_client(
    user: AbstractBaseUser | AnonymousUser | None, **options: Any
) -> "openai.AsyncOpenAI":
    """Return an ``openai.AsyncOpenAI``, otherwise as :func:`get_openai_client` does."""
    # In the thread, which also bears the import.
    return await sync_to_async(_get_async_openai_client)(user, **options)


def _get_async_openai_client(
    user: AbstractBaseUser | AnonymousUser | None, **options: Any
) -> "openai.AsyncOpenAI":
    from .openai_sdk import get_async_client  # noqa: PLC0415 - an optional extra

    return get_async_client(user, **options)


def get_openrouter_client(
    user: AbstractBaseUser | AnonymousUser | None, **options: Any
) -> "openrouter.OpenRouter":
    """Return an ``openrouter.OpenRouter`` that calls with a user's key.

    The key goes to the origin of ``OPENROUTER_AUTH_API_URL`` only.

    Args:
        user: whose key; anonymous visitors have none.
        **options: ``timeout_ms`` (default: ``OPENROUTER_AUTH_TIMEOUT``), ``retry_config`` (default:
            no retries), ``http_referer``, ``x_open_router_title``, ``x_open_router_categories`` and
            ``debug_logger``, as the SDK has them.

    Raises:
        ImportError: ``django-openrouter-auth[openrouter]`` is not installed.
        NotConnected, KeyRejected, KeyUnreadable: as :func:`get_api_key` does.

    A call raises ``KeyRejected`` when OpenRouter answers 401 and ``GET /key`` confirms it, and
    ``ValueError`` for a URL of another origin.
    """
    from .openrouter_sdk import get_client  # noqa: PLC0415 - an optional extra

    return get_client(user, **options)


async def aget_openrouter_client(
    user: AbstractBaseUser | AnonymousUser | None, **options: Any
) -> "openrouter.OpenRouter":
    """Do in asynchronous code what :func:`get_openrouter_client` does.

    The SDK's client has both kinds of methods: ``chat.send()`` and ``chat.send_async()``.
    """
    return await sync_to_async(get_openrouter_client)(user, **options)
