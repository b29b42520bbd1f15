"""OpenRouter without network: what it answers next, and what it was asked."""

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any, Self

import requests
from urllib3.exceptions import MaxRetryError, NewConnectionError

from ..conf import app_settings
from .facts import KEY, OPENROUTER_USER, key_facts
from .sdk_calls import sdk_calls_as_requests

try:
    import responses
    from responses.registries import FirstMatchRegistry
except ImportError as error:
    raise ImportError(
        "OpenRouter's answers in tests need the package responses: "
        'install "django-openrouter-auth[testing]".'
    ) from error

EXCHANGE = "auth/keys"
STATUS = "key"
CHAT = "chat/completions"
EVERYWHERE = "*"

Answer = Callable[[Any], dict[str, Any]]
"""What ``responses`` is to answer to a request: the arguments of ``responses.Response``."""


@dataclass(frozen=True)
class Call:
    """A call that the site made.

    Attributes:
        method: ``"POST"``.
        path: below ``OPENROUTER_AUTH_API_URL``, without query: ``"chat/completions"``.
        headers: its headers; names in any case.
        json: the body, ``None`` if it is not JSON.
        api_key: the key that was sent along, or ``None``.
    """

    method: str
    path: str
    headers: Mapping[str, str] = field(repr=False)
    json: Any
    api_key: str | None = field(repr=False)


class OpenRouter:
    """OpenRouter in place of the network, while a ``with`` block lasts.

    It answers what is sent by ``requests``, and by httpx, with which the SDKs call.

    Attributes:
        mock: the ``responses.RequestsMock`` behind it, for whatever is not covered here; what is
            registered there comes first, unless there is trouble.
    """

    def __init__(self) -> None:
        self._answers: dict[tuple[str, str], Answer] = {}
        self._troubles: dict[str, Answer] = {}
        self._strays: list[str] = []
        self._api_key = KEY
        self._forgot = False
        self.mock = responses.RequestsMock(assert_all_requests_are_fired=False, registry=_Registry)
        registry: Any = self.mock.get_registry()
        registry.find_trouble, registry.find_answer = self._find_trouble, self._find_answer

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            stack.callback(self.mock.stop)
            self.mock.start()
            stack.enter_context(sdk_calls_as_requests())
            self._open = stack.pop_all()
        return self

    def __exit__(self, kind: object, error: object, traceback: object) -> None:
        self._open.close()
        # An error that is under way says more.
        if self._strays and error is None:
            raise AssertionError(f"Nothing here answers {', '.join(self._strays)}.")

    # Good days

    def grants(self, api_key: str = KEY, **facts: Any) -> None:
        """Hand out a key for any code, and know it."""
        body = {"key": api_key, "user_id": OPENROUTER_USER}
        self._say("POST", EXCHANGE, lambda request: {"json": body})
        self._api_key = api_key
        self.knows(**facts)

    def knows(self, **facts: Any) -> None:
        """Answer ``GET /key`` with these facts, such as ``usage=1.25`` or ``limit=10``."""
        data = key_facts(self._api_key, facts)
        self._forgot = False
        self._say("GET", STATUS, lambda request: {"json": {"data": data}})

    def answers(self, text: str, **more: Any) -> None:
        """Answer chats with a text, streamed where that is asked for.

        Args:
            text: what the model says.
            **more: other fields of the answer, such as ``usage={"cost": 0.01}``.
        """
        self._say("POST", CHAT, lambda request: _chat(_json_of(request), text, more))

    # Bad days

    def refuses(self, status: int = 403, message: str = "Invalid code or code_verifier") -> None:
        """Refuse every code, until it ``grants`` again."""
        self._say("POST", EXCHANGE, lambda request: _error(status, message))

    def forgets(self) -> None:
        """Answer 401 to every key, as if all were deleted, until it ``grants`` or ``knows``."""
        self._forgot = True
        self._say("GET", STATUS, lambda request: _error(401, "User not found."))

    def fails(
        self,
        status: int = 500,
        message: str = "Internal Server Error",
        *,
        retry_after: int | None = None,
        at: str = EVERYWHERE,
    ) -> None:
        """Answer with an error until it ``recovers``: 402 no credit, 429 too many calls, 5xx.

        Args:
            status: the HTTP status.
            message: OpenRouter's words.
            retry_after: seconds, for the header ``Retry-After``.
            at: the path below the API, such as ``"chat/completions"``; all of them without it.
        """
        headers = {} if retry_after is None else {"Retry-After": str(retry_after)}
        self._troubles[at.strip("/")] = lambda request: {
            **_error(status, message),
            "headers": headers,
        }

    def talks_nonsense(self, *, at: str = EVERYWHERE) -> None:
        """Answer 200 with a web page until it ``recovers``."""
        page = {"body": "<!doctype html><title>Hello</title>", "content_type": "text/html"}
        self._troubles[at.strip("/")] = lambda request: page

    def times_out(self, *, at: str = EVERYWHERE) -> None:
        """Take calls and answer too late until it ``recovers``; no test has to wait for it."""
        self._troubles[at.strip("/")] = lambda request: {
            "body": requests.ReadTimeout("Read timed out.")
        }

    def goes_down(self, *, at: str = EVERYWHERE) -> None:
        """Refuse connections until it ``recovers``."""
        self._troubles[at.strip("/")] = lambda request: {"body": _refusal(request)}

    def recovers(self) -> None:
        """End ``fails``, ``talks_nonsense``, ``times_out`` and ``goes_down``."""
        self._troubles.clear()

    # What it was asked

    @property
    def calls(self) -> list[Call]:
        """All calls so far, those that failed included."""
        return [_call(call.request) for call in self.mock.calls]

    @property
    def chats(self) -> list[Call]:
        """The calls of ``chat/completions``."""
        return [call for call in self.calls if call.path == CHAT]

    @property
    def exchanges(self) -> list[dict[str, Any]]:
        """The bodies of the calls that exchange a code for a key."""
        return [call.json for call in self.calls if call.path == EXCHANGE]

    def _say(self, method: str, path: str, answer: Answer) -> None:
        self.mock.remove(method, app_settings.API_URL.rstrip("/") + f"/{path}")
        self._answers[method, path] = answer

    def _find_trouble(self, request: Any) -> responses.BaseResponse | None:
        """Return what is answered instead of everything else, on bad days."""
        path = _path(request)
        if path is None:
            return None
        return _respond(request, self._troubles.get(path) or self._troubles.get(EVERYWHERE))

    def _find_answer(self, request: Any) -> responses.BaseResponse | None:
        """Return what is answered to a call for which nothing is registered with ``mock``."""
        path = _path(request)
        answer = None if path is None else self._answers.get((request.method, path))
        if self._forgot and path not in (None, EXCHANGE):
            answer = self._answers["GET", STATUS]
        if answer is None and not self._is_let_through(request.url):
            self._strays.append(f"{request.method} {request.url.partition('?')[0]}")
        return _respond(request, answer)

    def _is_let_through(self, url: str) -> bool:
        """Return whether a test let this part of the network through, as for a live server."""
        return any(re.match(prefix, url) for prefix in _patterns(self.mock.passthru_prefixes))


class _Registry(FirstMatchRegistry):
    """What is registered with ``mock``, before it trouble and after it the usual answers."""

    find_trouble: Callable[[Any], responses.BaseResponse | None]
    find_answer: Callable[[Any], responses.BaseResponse | None]

    def find(self, request: Any) -> tuple[responses.BaseResponse | None, list[str]]:
        if trouble := self.find_trouble(request):
            return trouble, []
        found, reasons = super().find(request)
        return found or self.find_answer(request), reasons


def _respond(request: Any, answer: Answer | None) -> responses.BaseResponse | None:
    return answer and responses.Response(request.method, request.url, **answer(request))


def _patterns(prefixes: Iterable[Any]) -> Iterator[Any]:
    for prefix in prefixes:
        yield re.escape(prefix) if isinstance(prefix, str) else prefix


def _path(request: Any) -> str | None:
    """Return the path of a call below the API, or ``None`` for a call that goes elsewhere."""
    api = app_settings.API_URL.rstrip("/") + "/"
    url: str = request.url.partition("?")[0]
    return url.removeprefix(api) if url.startswith(api) else None


def _json_of(request: Any) -> Any:
    try:
        return json.loads(request.body or "")
    except ValueError:
        return None


def _call(request: Any) -> Call:
    kind, _, credentials = request.headers.get("Authorization", "").partition(" ")
    return Call(
        method=request.method,
        path=_path(request) or request.url,
        headers=request.headers,
        json=_json_of(request),
        api_key=credentials if kind == "Bearer" else None,
    )


def _error(status: int, message: str) -> dict[str, Any]:
    return {"json": {"error": {"message": message, "code": status}}, "status": status}


def _refusal(request: Any) -> requests.ConnectionError:
    """Return what ``requests`` raises where nobody listens."""
    reason = NewConnectionError(None, "Connection refused")  # type: ignore[arg-type]  # no pool
    return requests.ConnectionError(MaxRetryError(None, request.url, reason))  # type: ignore[arg-type]


def _chat(asked: Any, text: str, more: dict[str, Any]) -> dict[str, Any]:
    """Return a chat completion as OpenRouter sends it, whole or in events."""
    asked = asked if isinstance(asked, dict) else {}
    answer = {
        "id": "gen-1",
        "created": 1_750_000_000,
        "model": asked.get("model", "a/model"),
        "system_fingerprint": None,
    }
    message = {"role": "assistant", "content": text}
    choice = {"index": 0, "finish_reason": "stop"}
    if not asked.get("stream"):
        whole = {"object": "chat.completion", "choices": [choice | {"message": message}]}
        return {"json": answer | whole | more}
    answer["object"] = "chat.completion.chunk"
    first = answer | {"choices": [{"index": 0, "delta": message, "finish_reason": None}]}
    last = answer | {"choices": [choice | {"delta": {"content": ""}}]} | more
    events = [": OPENROUTER PROCESSING", *(f"data: {json.dumps(part)}" for part in (first, last))]
    body = "\n\n".join([*events, "data: [DONE]", ""])
    return {"body": body, "content_type": "text/event-stream"}
