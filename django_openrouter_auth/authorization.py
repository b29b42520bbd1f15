"""The authorization request, which sends the user to OpenRouter, and the answer that comes back.

Source: OpenRouter OAuth PKCE guide, steps 1 and 2.
"""

import re
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

from django.urls import reverse
from django.utils.datastructures import MultiValueDict

from .conf import LOOPBACK_HOSTS, app_settings, declared_settings
from .exceptions import (
    AccessDenied,
    CodeMalformed,
    CodeMissing,
    InsecureCallback,
    Misconfigured,
    ProviderErrorParam,
)

CODE = re.compile(r"[\x21-\x7e]{1,512}")


def require_safe_start(origin: str) -> None:
    """Refuse to start where OpenRouter would not return, or a code might go astray.

    Args:
        origin: scheme and host of this site, as the browser reaches it.

    Raises:
        Misconfigured: a setting that this depends on cannot be used.
        InsecureCallback: OpenRouter does not return to this origin.

    Source: OpenRouter OAuth PKCE guide: https, or http on localhost and 127.0.0.1, any port.
    """
    declared = declared_settings()
    for name in ("SITE_URL", "AUTHORIZE_URL", "API_URL", "AUTHORIZE_PARAMS"):
        if declared[f"OPENROUTER_AUTH_{name}"].is_wrong():
            raise Misconfigured(stage="start")
    parts = urlsplit(origin)
    is_local = parts.scheme == "http" and parts.hostname in LOOPBACK_HOSTS
    if parts.scheme != "https" and not is_local:
        raise InsecureCallback(stage="start")


def build_authorization_url(
    origin: str, state: str, challenge: str | None, method: str | None, key_label: str
) -> str:
    """Return the URL of OpenRouter's consent page for one attempt.

    Args:
        origin: scheme and host of this site.
        state: the attempt's state, which becomes a part of the callback's path.
        challenge: the code challenge, or ``None`` for none.
        method: ``"S256"``, ``"plain"``, or ``None`` without a challenge.
        key_label: the name of the key at OpenRouter, or an empty string.
    """
    ours: dict[str, Any] = {
        "callback_url": origin.rstrip("/") + reverse("openrouter_auth:callback", args=[state]),
        "code_challenge": challenge,
        "code_challenge_method": method,
        "state": state,
    }
    if key_label:
        ours["key_label"] = key_label
    parameters = {
        name: str(value).lower() if isinstance(value, bool) else value
        for name, value in {**app_settings.AUTHORIZE_PARAMS, **ours}.items()
        if value is not None
    }
    url = app_settings.AUTHORIZE_URL
    return f"{url}{'&' if '?' in url else '?'}{urlencode(parameters, quote_via=quote)}"


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
