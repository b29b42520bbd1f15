"""What a site's own code uses to call OpenRouter for a user."""

from typing import TYPE_CHECKING

from asgiref.sync import sync_to_async
from django.contrib.auth.base_user import AbstractBaseUser
from django.contrib.auth.models import AnonymousUser

from . import keys

if TYPE_CHECKING:
    from requests import Session

__all__ = ["aget_api_key", "get_api_key", "get_session"]


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
    return keys.open_session(user)
