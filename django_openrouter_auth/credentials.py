"""Calling OpenRouter with a user's key."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, NamedTuple

from django.views.decorators.debug import sensitive_variables

from .conf import app_settings, is_api_key
from .exceptions import KeyRejected, Misconfigured, NotConnected
from .introspection import confirm_rejection
from .keys import User, read_key_row

if TYPE_CHECKING:
    from .session import OpenRouterSession


@dataclass(frozen=True)
class OpenedKey:
    """A user's key in plain text, for one who calls OpenRouter with it.

    Attributes:
        api_key: the key itself.
        confirm_rejection: to be asked after OpenRouter answered 401: what to raise if ``GET /key``
            confirms that the key is dead, else ``None``. The row says so from then on.
    """

    api_key: str = field(repr=False)
    confirm_rejection: Callable[[], KeyRejected | None] = field(repr=False)


class ResolvedKey(NamedTuple):
    """A key and whose it is; its text hides the key."""

    api_key: str
    source: Literal["user", "site"]

    def __repr__(self) -> str:
        return f"ResolvedKey(api_key=<hidden>, source={self.source!r})"


@sensitive_variables()
def open_key(user: User | None) -> OpenedKey:
    """Return a user's key, ready to be used; raises as ``reveal_key`` does."""
    key, api_key = read_key_row(user)
    return OpenedKey(api_key, lambda: confirm_rejection(key, api_key))


@sensitive_variables()
def open_session(user: User | None) -> "OpenRouterSession":
    """Return a session that calls OpenRouter with a user's key; raises as ``reveal_key`` does."""
    # requests takes long to import, and most processes never call OpenRouter.
    from .session import OpenRouterSession  # noqa: PLC0415 - slow, and often not needed

    opened = open_key(user)
    return OpenRouterSession(opened.api_key, opened.confirm_rejection)


@sensitive_variables()
def resolve_key(user: User | None) -> ResolvedKey:
    """Return a user's key, or the site's for one who has none; see ``shortcuts``."""
    try:
        return ResolvedKey(read_key_row(user)[1], "user")
    # Nothing else: whose key was rejected or cannot be read is told so, and nobody else pays.
    except NotConnected:
        site_key = _read_site_key()
        if site_key is None:
            raise
    return ResolvedKey(site_key, "site")


@sensitive_variables()
def _read_site_key() -> str | None:
    configured = app_settings.SITE_KEY
    site_key = configured() if callable(configured) else configured
    if site_key is None or site_key == "":
        return None
    if is_api_key(site_key):
        return site_key
    # It may be a key with a flaw, and error reports show frames.
    del site_key
    raise Misconfigured(stage="use")
