"""HTTP to OpenRouter: the token exchange and ``GET /key``.

What bends ``requests`` to our promises is here and in ``session.py``: what is sent along, where a
key may go, and what an answer means.

Source: OpenRouter's OAuth PKCE guide and its API reference (``/auth/keys``, ``/key``).
"""

import json
import logging
import os
import re
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar
from urllib.parse import urlsplit

import requests
import urllib3
from requests.adapters import DEFAULT_CA_BUNDLE_PATH, HTTPAdapter
from requests.auth import AuthBase

from . import __version__
from .conf import app_settings, is_api_key
from .exceptions import (
    ExchangeRejected,
    KeyRejected,
    OpenRouterAuthError,
    ProviderProtocol,
    ProviderUnavailable,
    RateLimited,
    TLSError,
)
from .key_info import KeyInfo, read_identifier, read_key_info
from .transport import POOLS_BY_SCHEME, AnswerTooLong, call_deadline, trust_store

T = TypeVar("T")

logger = logging.getLogger("django_openrouter_auth")

MAX_BODY = 64 * 1024
KNOWN_PREFIX = "sk-or-"
USER_AGENT = f"django-openrouter-auth/{__version__}"
NEVER_SENT = (
    requests.ConnectTimeout,
    requests.exceptions.ProxyError,
    requests.exceptions.InvalidURL,
    requests.exceptions.MissingSchema,
    requests.exceptions.InvalidSchema,
)
HEADERS = {
    "User-Agent": USER_AGENT,
    "Accept": "application/json",
    "Accept-Encoding": "identity",
}
EXCHANGE = "exchange"
STATUS = "status"


@dataclass(frozen=True)
class ExchangedKey:
    """What OpenRouter hands out for a code."""

    api_key: str = field(repr=False)
    openrouter_user_id: str


class OpenRouterAdapter(HTTPAdapter):
    """Send with the shared trust store and the call's deadline; never retry."""

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        super().init_poolmanager(*args, **kwargs)
        self.poolmanager.pool_classes_by_scheme = POOLS_BY_SCHEME

    def proxy_manager_for(self, proxy: str, **proxy_kwargs: Any) -> Any:
        manager = super().proxy_manager_for(proxy, **proxy_kwargs)
        # A SOCKS proxy needs urllib3's own classes, so there only single waits are bounded.
        if not proxy.lower().startswith("socks"):
            manager.pool_classes_by_scheme = POOLS_BY_SCHEME
        return manager

    def build_connection_pool_key_attributes(
        self, request: requests.PreparedRequest, verify: bool | str, cert: Any = None
    ) -> tuple[Any, Any]:
        host, pool = super().build_connection_pool_key_attributes(request, verify, cert)
        if host["scheme"] == "https" and verify:
            # REQUESTS_CA_BUNDLE and CURL_CA_BUNDLE arrive here as a path in ``verify``.
            path = DEFAULT_CA_BUNDLE_PATH if verify is True else str(verify)
            pool.pop("ca_certs", None)
            pool.pop("ca_cert_dir", None)
            try:
                pool["ssl_context"] = trust_store(path, Path(path).stat().st_mtime_ns)
            except OSError as error:
                raise requests.exceptions.SSLError(f"unusable CA bundle: {path}") from error
        return host, pool

    def cert_verify(self, conn: Any, url: str, verify: bool | str, cert: Any) -> None:
        # requests would point the connection at the bundle, and urllib3 parse it again.
        if not (url.lower().startswith("https") and verify):
            super().cert_verify(conn, url, verify, cert)  # type: ignore[no-untyped-call]  # untyped in types-requests


class NoCredentials(AuthBase):
    """Send no credentials; with ``auth=None`` requests would look for some in a netrc file."""

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        return request


class BearerAuth(AuthBase):
    """Send a key as bearer token, and only to the origin of ``OPENROUTER_AUTH_API_URL``."""

    def __init__(self, api_key: str) -> None:
        # In a closure the key shows up in no vars(), and a session that holds it in no pickle.
        self._authorization: Callable[[], str] = lambda: f"Bearer {api_key}"

    def __repr__(self) -> str:
        return "BearerAuth(<hidden>)"

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        if is_ours(request.url or ""):
            request.headers["Authorization"] = self._authorization()
        return request


def is_ours(url: str) -> bool:
    """Return whether a URL has the origin of ``OPENROUTER_AUTH_API_URL``."""
    try:
        return _origin(url) == _origin(app_settings.API_URL)
    except ValueError:
        return False


def _origin(url: str) -> tuple[str, str | None, int | None]:
    parts = urlsplit(url)
    default = {"https": 443, "http": 80}.get(parts.scheme)
    return parts.scheme, parts.hostname, parts.port or default


_per_thread = threading.local()


def of_this_thread(make: Callable[[], T]) -> T:
    """Return this thread's own object of a kind, made when it is first asked for."""
    if getattr(_per_thread, "process", None) != os.getpid():
        # After a fork the connections belong to the parent: two processes would mix answers up.
        _per_thread.process, _per_thread.kept = os.getpid(), {}
    if make not in _per_thread.kept:
        _per_thread.kept[make] = make()
    found: T = _per_thread.kept[make]
    return found


class OpenRouterConnection:
    """One short conversation: a fresh connection, closed at the end of the ``with`` block."""

    def __enter__(self) -> Self:
        self._adapter = OpenRouterAdapter()
        # Once for the whole conversation: it looks through the environment.
        self._environment = _environment(app_settings.API_URL)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._adapter.close()

    def exchange_code(
        self, code: str, code_verifier: str | None, code_challenge_method: str | None
    ) -> ExchangedKey:
        """Exchange an authorization code for a key, in exactly one request.

        Args:
            code: the authorization code, as it came back.
            code_verifier: the verifier of the challenge that was sent, or ``None``.
            code_challenge_method: ``"S256"``, ``"plain"``, or ``None`` when no challenge was sent.

        Raises:
            ExchangeRejected: OpenRouter answered 400 or 403.
            RateLimited, ProviderUnavailable, ProviderProtocol, TLSError: as they say; with
                ``outcome_unknown`` where OpenRouter may have made a key.

        Source: OpenRouter API reference, ``POST /auth/keys``; no ``Authorization`` is needed.
        """
        body = {"code": code}
        if code_challenge_method is not None and code_verifier is not None:
            body |= {
                "code_verifier": code_verifier,
                "code_challenge_method": code_challenge_method,
            }
        data = self._call("POST", "/auth/keys", EXCHANGE, auth=NoCredentials(), json_body=body)
        api_key = data.get("key")
        if not is_api_key(api_key) or data.get("error") is not None:
            raise ProviderProtocol(stage=EXCHANGE, status_code=200, outcome_unknown=True)
        if not api_key.startswith(KNOWN_PREFIX):
            logger.warning("openrouter exchange gave a key with an unknown prefix")
        found = _without(api_key, data)
        return ExchangedKey(api_key, read_identifier(found.get("user_id")))

    def read_key(self, api_key: str, *, patience: float | None = None) -> KeyInfo:
        """Ask OpenRouter what it knows about a key.

        Args:
            api_key: the key itself.
            patience: seconds for the whole call, if fewer than ``OPENROUTER_AUTH_TIMEOUT`` allows.

        Raises:
            KeyRejected: OpenRouter answered 401: the key is dead.
            RateLimited, ProviderUnavailable, ProviderProtocol, TLSError: the key could not be
                checked; that says nothing about the key.

        Source: OpenRouter API reference, ``GET /key``.
        """
        data = self._call("GET", "/key", STATUS, auth=BearerAuth(api_key), patience=patience)
        found = data.get("data")
        if not isinstance(found, dict):
            raise ProviderProtocol(stage=STATUS, status_code=200)
        return read_key_info(_without(api_key, found))

    def _call(
        self,
        method: str,
        path: str,
        stage: str,
        *,
        auth: AuthBase,
        json_body: dict[str, str] | None = None,
        patience: float | None = None,
    ) -> dict[str, Any]:
        return self._ask(method, path, stage, _read_object, auth, json_body, patience)

    def _ask(
        self,
        method: str,
        path: str,
        stage: str,
        read_answer: Callable[[requests.Response, str], T],
        auth: AuthBase,
        json_body: dict[str, str] | None = None,
        patience: float | None = None,
    ) -> T:
        connect, read = app_settings.TIMEOUT
        whole = connect + read
        if patience is not None:
            connect, read, whole = min(connect, patience), min(read, patience), patience
        failure: OpenRouterAuthError
        token = call_deadline.set(time.monotonic() + whole)
        try:
            url = app_settings.API_URL.rstrip("/") + path
            request = requests.Request(method, url, HEADERS, json=json_body, auth=auth).prepare()
            # Sent by the adapter itself: a session would keep cookies, and read and unpack the
            # body of a redirect, of any size, even where it is told not to follow one.
            with self._adapter.send(
                request, stream=True, timeout=(connect, read), **self._environment
            ) as response:
                return read_answer(response, stage)
        except OpenRouterAuthError as error:
            failure = error
        except requests.exceptions.SSLError:
            failure = TLSError(stage=stage)
        except (requests.exceptions.InvalidHeader, AnswerTooLong):
            failure = ProviderProtocol(stage=stage, outcome_unknown=stage == EXCHANGE)
        except urllib3.exceptions.LocationValueError:
            # An address that is none: the settings are wrong, not OpenRouter.
            raise
        except (requests.RequestException, urllib3.exceptions.HTTPError, OSError) as error:
            failure = ProviderUnavailable(
                stage=stage, outcome_unknown=stage == EXCHANGE and not _was_never_sent(error)
            )
        finally:
            call_deadline.reset(token)
        # Raised out here so that no ``__context__`` keeps the request, which holds the secret.
        raise failure.with_traceback(None)

    def probe(self) -> tuple[int, str]:
        """Ask ``GET /key`` without a key; return the status and the ``Date`` of the answer.

        Raises:
            ProviderUnavailable, ProviderProtocol, TLSError: there was no answer.
        """
        return self._ask("GET", "/key", STATUS, _read_head, NoCredentials())


def _environment(url: str) -> dict[str, Any]:
    """Return what the environment says about proxies and trusted certificates."""
    session = of_this_thread(requests.Session)
    settings = session.merge_environment_settings(url, {}, None, None, None)
    return {name: settings[name] for name in ("proxies", "verify")}


def _was_never_sent(error: Exception) -> bool:
    """Return whether a request failed before its first byte could leave."""
    if isinstance(error, NEVER_SENT):
        return True
    cause = error.args[0] if error.args else None
    reason = getattr(cause, "reason", cause)
    return isinstance(reason, urllib3.exceptions.NewConnectionError)


def _read_object(response: requests.Response, stage: str) -> dict[str, Any]:
    """Return the JSON object of a good answer, or raise what the answer means."""
    status = response.status_code
    if status not in (200, 201):
        raise _meaning_of(response, stage)
    minted = stage == EXCHANGE
    refused = ProviderProtocol(stage=stage, status_code=status, outcome_unknown=minted)
    media_type = response.headers.get("Content-Type", "").partition(";")[0].strip().lower()
    encoding = response.headers.get("Content-Encoding", "identity").strip().lower()
    length = response.headers.get("Content-Length", "0").strip()
    if media_type != "application/json" or encoding != "identity" or not _is_small(length):
        raise refused
    try:
        body: bytes | None = response.raw.read(MAX_BODY + 1, decode_content=False)
    except ValueError:  # http.client, about the size of a chunk that is none
        body = None
    if body is None or len(body) > MAX_BODY:
        raise refused
    cut_off = ProviderUnavailable(stage=stage, status_code=status, outcome_unknown=minted)
    if response.raw.length_remaining:
        raise cut_off
    try:
        text = body.decode("utf-8").strip()
        # NaN and Infinity, which are no JSON, are read: null in their place would mean "no limit".
        data = json.loads(text, object_pairs_hook=_without_duplicates)
    # RecursionError: 64 KiB of "[" are enough for one.
    except (ValueError, RecursionError):
        data = None
    if isinstance(data, dict):
        return data
    # A NUL is a sign of UTF-16 or UTF-32, which end otherwise.
    if body.lstrip().startswith(b"{") and not body.rstrip().endswith(b"}") and b"\0" not in body:
        raise cut_off
    raise refused


def _read_head(response: requests.Response, stage: str) -> tuple[int, str]:
    return response.status_code, response.headers.get("Date", "")


def _meaning_of(response: requests.Response, stage: str) -> OpenRouterAuthError:
    """Return what a status other than success means; the texts of OpenRouter vary too much."""
    status = response.status_code
    if status == 429:
        return RateLimited(
            stage=stage,
            status_code=status,
            retry_after=_seconds(response.headers.get("Retry-After", "")),
        )
    if status == 408 or 500 <= status <= 599:
        return ProviderUnavailable(
            stage=stage,
            status_code=status,
            retry_after=_seconds(response.headers.get("Retry-After", "")),
            outcome_unknown=stage == EXCHANGE,
        )
    if stage == STATUS and status == 401:
        return KeyRejected(stage=stage, status_code=status)
    if stage == EXCHANGE and status in (400, 403):
        return ExchangeRejected(stage=stage, status_code=status)
    return ProviderProtocol(
        stage=stage,
        status_code=status,
        outcome_unknown=stage == EXCHANGE and 200 <= status <= 299,
    )


def _without(api_key: str, data: dict[str, Any]) -> dict[str, Any]:
    """Drop what repeats the key: other fields are stored and shown in plain text."""
    return {
        name: value
        for name, value in data.items()
        if not (isinstance(value, str) and api_key in value)
    }


def _without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("duplicate name")
    return found


def _is_small(length: str) -> bool:
    return bool(re.fullmatch(r"[0-9]{1,9}", length)) and int(length) <= MAX_BODY


def _seconds(text: str) -> int | None:
    """Return how long ``Retry-After`` asks to wait: it is a number of seconds or a date."""
    if re.fullmatch(r"[0-9]{1,5}", text):
        return int(text)
    try:
        left = round(parsedate_to_datetime(text[:64]).timestamp() - time.time())
    except (ValueError, OverflowError):
        return None
    return max(0, left) if left < 100_000 else None
