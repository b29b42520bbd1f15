"""What an app asks for at ``/auth``, and the way back to it.

Source: OpenRouter OAuth PKCE guide, step 1.
"""

from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from urllib.parse import urlencode, urlsplit, urlunsplit

from django.http import QueryDict

from django_openrouter_auth.pkce import METHODS

LOOPBACK_HOSTS = {"localhost", "127.0.0.1"}
KEY_NAME_LENGTH = 100
DEFAULT_LIMIT = Decimal(10)
DENIAL = "The user denied the authorization request."


class RefusedError(Exception):
    """Raised when a request cannot be shown for consent; the text is meant for developers."""


@dataclass(frozen=True)
class AuthorizationRequest:
    """The parameters of ``/auth``, checked; other parameters are ignored."""

    callback_url: str
    code_challenge: str
    method: str
    state: str | None
    key_label: str
    limit: Decimal

    @classmethod
    def from_query(cls, query: QueryDict) -> "AuthorizationRequest":
        """Read the parameters.

        Raises:
            RefusedError: for a callback or a challenge that OpenRouter does not take.
        """
        callback_url = query.get("callback_url", "")
        code_challenge = query.get("code_challenge", "")
        method = query.get("code_challenge_method", "")
        if callback_url:
            check_callback(callback_url)
        elif not code_challenge:
            raise RefusedError(
                "Without a callback_url the code is shown on screen, and that takes a "
                "code_challenge. Neither was sent."
            )
        # Without a method the challenge is remembered so, and the exchange must name none either.
        if code_challenge and method and method not in METHODS:
            raise RefusedError(
                'code_challenge_method has to be "S256" or "plain", spelled like this.'
            )
        return cls(
            callback_url=callback_url,
            code_challenge=code_challenge,
            method=method if code_challenge else "",
            state=query.get("state"),
            key_label=query.get("key_label", "")[:KEY_NAME_LENGTH],
            limit=_limit(query.get("limit", "")),
        )

    @property
    def app_name(self) -> str:
        """The name of the app: its callback's host, with the port if there is one."""
        if not self.callback_url:
            return "An app"
        return urlsplit(self.callback_url).netloc.rpartition("@")[2]

    def approved_url(self, code: str, *, echo_state: bool) -> str:
        """Return where an approval leads: the callback with ``code`` and maybe ``state``."""
        answer = {"code": code}
        if echo_state and self.state is not None:
            answer["state"] = self.state
        return self._callback_with(answer)

    def denied_url(self, *, describe: bool) -> str:
        """Return where a denial leads: the callback with ``error``, never with ``state``."""
        answer = {"error": "access_denied"}
        if describe:
            answer["error_description"] = DENIAL
        return self._callback_with(answer)

    def _callback_with(self, answer: dict[str, str]) -> str:
        url = urlsplit(self.callback_url)
        query = "&".join(part for part in (url.query, urlencode(answer)) if part)
        return urlunsplit(url._replace(path=url.path or "/", query=query))


def check_callback(callback_url: str) -> None:
    """Refuse a callback that OpenRouter would not return to.

    Raises:
        RefusedError: unless it is https, or http on localhost or 127.0.0.1; any port will do.

    Source: OpenRouter API reference, "Create authorization code".
    """
    try:
        url = urlsplit(callback_url)
        host, _port = url.hostname, url.port
    except ValueError:
        raise RefusedError(f"callback_url is not a URL: {callback_url}") from None
    if any(character.isspace() or not character.isprintable() for character in callback_url):
        raise RefusedError("callback_url contains spaces or control characters.")
    if not host:
        raise RefusedError(f"callback_url is not an absolute URL: {callback_url}")
    if url.scheme == "https" or (url.scheme == "http" and host in LOOPBACK_HOSTS):
        return
    raise RefusedError(
        "callback_url has to begin with https://, or with http://localhost or "
        f"http://127.0.0.1 for local development. It was: {callback_url}"
    )


def _limit(text: str) -> Decimal:
    try:
        limit = Decimal(text)
    except InvalidOperation:
        return DEFAULT_LIMIT
    return limit if limit.is_finite() and limit >= 0 else DEFAULT_LIMIT
