"""The authorization request, which sends the user to OpenRouter, and the answer that comes back.

Source: OpenRouter OAuth PKCE guide, steps 1 and 2.
"""

import re
from dataclasses import dataclass, field
from typing import Self
from urllib.parse import quote, urlencode, urlsplit

from django.core.exceptions import TooManyFieldsSent
from django.http import QueryDict
from django.urls import reverse
from django.utils.datastructures import MultiValueDict

from .conf import LOOPBACK_HOSTS, app_settings, declared_settings
from .exceptions import (
    AccessDenied,
    CodeMalformed,
    CodeMissing,
    EnteredCodeMalformed,
    InsecureCallback,
    KeyInsteadOfCode,
    Misconfigured,
    NoCodeEntered,
    ProviderErrorParam,
)
from .pkce import make_code_challenge, make_code_verifier

# A setting must neither send the user to another callback nor weaken the challenge.
OWN_PARAMETERS = ("callback_url", "code_challenge", "code_challenge_method", "state")
LONGEST_LABEL = 100
CODE = re.compile(r"[\x21-\x7e]{1,512}")
QUOTES = "\"'`"
KEY_PREFIX = "sk-or-"
ADDRESS = re.compile(r"https?://|\?", re.IGNORECASE)
LONGEST_ADDRESS = 8000
RETURNED_STATE = re.compile(r"/callback/([A-Za-z0-9_-]{43})/?$")


def require_usable_settings() -> None:
    """Refuse to start where a default in place of a wrong setting would lead somewhere else.

    Raises:
        Misconfigured: as said.
    """
    declared = declared_settings()
    for name in ("SITE_URL", "AUTHORIZE_URL", "API_URL", "AUTHORIZE_PARAMS"):
        if declared[f"OPENROUTER_AUTH_{name}"].is_wrong():
            raise Misconfigured(stage="start")


def require_safe_origin(origin: str) -> None:
    """Refuse to start where OpenRouter would not return.

    Args:
        origin: scheme and host of this site, as the browser reaches it.

    Raises:
        InsecureCallback: OpenRouter does not return to this origin.

    Source: OpenRouter OAuth PKCE guide: https, or http on localhost and 127.0.0.1, any port.
    """
    parts = urlsplit(origin)
    is_local = parts.scheme == "http" and parts.hostname in LOOPBACK_HOSTS
    if parts.scheme != "https" and not is_local:
        raise InsecureCallback(stage="start")


@dataclass(frozen=True)
class AuthorizationRequest:
    """What OpenRouter is asked for in one attempt.

    Attributes:
        code_verifier: the secret behind the challenge, or ``None`` without one.
        method: ``"S256"``, ``"plain"``, or ``None`` without a challenge.
        requested: what this site would like: a name for the key, a limit …; the user decides.
    """

    code_verifier: str | None = field(repr=False)
    method: str | None
    requested: dict[str, str]

    @classmethod
    def make(cls, method: str | None, key_label: str) -> Self:
        """Return a request with a fresh verifier.

        Args:
            method: ``"S256"``, ``"plain"``, or ``None`` for no challenge.
            key_label: the name of the key at OpenRouter, or an empty string.
        """
        requested = {
            name: str(value).lower() if isinstance(value, bool) else str(value)
            for name, value in app_settings.AUTHORIZE_PARAMS.items()
            if value is not None and name not in OWN_PARAMETERS
        }
        if key_label:
            requested["key_label"] = key_label
        return cls(make_code_verifier() if method else None, method, requested)

    def url(self, *, callback_url: str | None = None, state: str | None = None) -> str:
        """Return the URL of OpenRouter's consent page.

        Args:
            callback_url: where OpenRouter returns to; ``None`` lets it show the code on its page.
            state: the attempt's state, which OpenRouter hands back.
        """
        challenge = None
        if self.code_verifier and self.method:
            challenge = make_code_challenge(self.code_verifier, self.method)
        ours = {
            "callback_url": callback_url,
            "code_challenge": challenge,
            "code_challenge_method": self.method,
            "state": state,
        }
        sent = self.requested | {name: value for name, value in ours.items() if value is not None}
        base = app_settings.AUTHORIZE_URL
        return f"{base}{'&' if '?' in base else '?'}{urlencode(sent, quote_via=quote)}"


def build_callback_url(origin: str, state: str) -> str:
    """Return the URL to which OpenRouter shall return: the state is a part of its path."""
    return origin.rstrip("/") + reverse("openrouter_auth:callback", args=[state])


def read_code(answer: MultiValueDict[str, str]) -> str:
    """Return the authorization code from the callback's query; it is opaque.

    Raises:
        AccessDenied: the user said no, which arrives as ``error=access_denied``.
        ProviderErrorParam: another error came back.
        CodeMissing: neither a code nor an error came back.
        CodeMalformed: the code is not one value of 1 to 512 printable ASCII characters.
    """
    if "error" in answer:
        if answer.getlist("error") == ["access_denied"]:
            raise AccessDenied(stage="callback")
        raise ProviderErrorParam(stage="callback")
    codes = answer.getlist("code")
    if not any(codes):
        raise CodeMissing(stage="callback")
    if len(codes) > 1 or not CODE.fullmatch(codes[0]):
        raise CodeMalformed(stage="callback")
    return codes[0]


@dataclass(frozen=True)
class Entry:
    """What a person entered in place of a return from OpenRouter.

    Attributes:
        answer: the code, or the whole query of the address that was pasted.
        state: the state from that address; empty where a bare code was entered.
    """

    answer: MultiValueDict[str, str] = field(repr=False)
    state: str = ""


def read_entry(text: str) -> Entry:
    """Return what a person entered: a code, or the address to which OpenRouter returned them.

    Browsers on another machine cannot open a callback on localhost; its address still has all
    that is needed.

    Raises:
        NoCodeEntered: there is nothing.
        KeyInsteadOfCode: it is an API key.
        EnteredCodeMalformed: it is neither a code nor an address with one.
    """
    trimmed = text.strip().strip(QUOTES).strip()
    if not trimmed:
        raise NoCodeEntered(stage="callback")
    if KEY_PREFIX in trimmed.lower():
        raise KeyInsteadOfCode(stage="callback")
    if CODE.fullmatch(trimmed) and not ADDRESS.match(trimmed):
        return Entry(_only_code(trimmed))
    return _read_address(trimmed)


def _read_address(text: str) -> Entry:
    try:
        address = urlsplit(text if len(text) <= LONGEST_ADDRESS else "")
        answer = QueryDict(address.query)
    except (ValueError, TooManyFieldsSent):
        answer = QueryDict()
    else:
        returned = RETURNED_STATE.search(address.path)
        if returned:
            return Entry(answer, returned[1])
    codes = answer.getlist("code")
    if len(codes) != 1 or not CODE.fullmatch(codes[0]):
        raise EnteredCodeMalformed(stage="callback")
    return Entry(_only_code(codes[0]))


def _only_code(code: str) -> MultiValueDict[str, str]:
    return MultiValueDict({"code": [code]})
