"""Asking a model: who may, what goes wrong, what it answers and what that costs."""

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from decimal import Decimal

from django.http import HttpRequest, JsonResponse, StreamingHttpResponse
from django.utils import timezone
from django.utils.crypto import get_random_string

from .api import ApiError, authenticate, error, owner_id, unknown_key
from .faults import RETRY_AFTER, stall
from .journal import json_object
from .models import SandboxGeneration, SandboxKey
from .switches import CapStatus, ChatFault, SandboxSwitches

PROVIDER = "OpenRouter sandbox"
DOLLARS_PER_TOKEN = Decimal("0.0005")
"""Dear enough to see a limit run out after a few messages."""

MODEL = re.compile(r"[a-z0-9~._-]+/[A-Za-z0-9._:-]+")
QUOTED = 2000
"""How many characters of a message the answer repeats."""

CAP_WORDS = {"": "total", "daily": "daily", "weekly": "weekly", "monthly": "monthly"}


@dataclass(frozen=True)
class Answer:
    """What a model says, and what it cost."""

    model: str
    words: list[str]
    prompt_tokens: int
    stream: bool
    fault: str
    generation_id: str
    created: int

    @property
    def text(self) -> str:
        """The whole answer."""
        return "".join(self.words)

    @property
    def completion_tokens(self) -> int:
        """Tokens of the answer; the sandbox counts words."""
        return len(self.words)

    @property
    def total_tokens(self) -> int:
        """Tokens that are paid for."""
        return self.prompt_tokens + self.completion_tokens

    @property
    def cost(self) -> Decimal:
        """US dollars."""
        return self.total_tokens * DOLLARS_PER_TOKEN

    @property
    def headers(self) -> dict[str, str]:
        """Response headers of every answer, streamed or not."""
        return {"X-Generation-Id": self.generation_id}


def ask(request: HttpRequest, read_prompt: Callable[[dict[str, object]], str]) -> Answer:
    """Check a request as OpenRouter would, and answer it.

    Args:
        request: the request; its key pays.
        read_prompt: finds the last message of the user in the body, or raises ``ApiError``.

    Raises:
        ApiError: the refusal.
    """
    switches = SandboxSwitches.load()
    key = authenticate(request, switches)
    _play_fault(switches, key)
    body = json_object(request)
    model = body.get("model")
    if not isinstance(model, str):
        raise ApiError(error(400, "No models provided", user=owner_id(key)))
    prompt = read_prompt(body)
    if not MODEL.fullmatch(model):
        raise ApiError(error(400, f"{model} is not a valid model ID", user=owner_id(key)))
    if key.limit_remaining is not None and key.limit_remaining <= 0:
        raise ApiError(_cap_spent(key, switches))
    quoted = prompt if len(prompt) <= QUOTED else f"{prompt[:QUOTED]}…"
    text = (
        f"Hello from the OpenRouter sandbox! You said: “{quoted}”. "
        "No model was asked; the price is made up."
    )
    answer = Answer(
        model=model,
        words=re.findall(r"\s*\S+", text),
        prompt_tokens=max(len(prompt.split()), 1),
        stream=body.get("stream") is True,
        fault=switches.chat_fault,
        generation_id=f"gen-{int(timezone.now().timestamp())}-{get_random_string(20)}",
        created=int(timezone.now().timestamp()),
    )
    if answer.fault not in {ChatFault.ERROR_IN_200, ChatFault.ERROR_FIRST}:
        _charge(request, key, answer)
    return answer


def _play_fault(switches: SandboxSwitches, key: SandboxKey) -> None:
    user = owner_id(key)
    match switches.chat_fault:
        case ChatFault.SLOW:
            stall(switches)
        case ChatFault.UNAUTHORIZED:
            raise ApiError(unknown_key())
        case ChatFault.NO_CREDIT:
            message = "Insufficient credits. Add more using https://openrouter.ai/credits"
            source: dict[str, object] = {"limit_source": "openrouter_credits"}
            raise ApiError(error(402, message, metadata=source, user=user))
        case ChatFault.CAP_SPENT:
            raise ApiError(_cap_spent(key, switches))
        case ChatFault.RATE_LIMITED:
            shared: dict[str, object] = {
                "limit_source": "upstream_provider_shared_pool",
                "retry_after_seconds": int(RETRY_AFTER),
            }
            wait = {"Retry-After": RETRY_AFTER}
            raise ApiError(
                error(429, "Provider returned error", metadata=shared, user=user, headers=wait)
            )
        case ChatFault.SERVER_ERROR:
            raise ApiError(error(500, "Internal Server Error", user=user))


def _cap_spent(key: SandboxKey, switches: SandboxSwitches) -> JsonResponse:
    if switches.cap_status == CapStatus.PAYMENT_REQUIRED:
        message = (
            "This request requires more credits, or fewer max_tokens. You requested up to "
            "65536 tokens, but can only afford 0."
        )
        source: dict[str, object] = {"limit_source": "openrouter_key_limit"}
        return error(402, message, metadata=source, user=owner_id(key))
    message = (
        f"Key limit exceeded ({CAP_WORDS[key.limit_reset]} limit). "
        "Manage it using https://openrouter.ai/settings/keys"
    )
    return error(403, message, user=owner_id(key))


def _charge(request: HttpRequest, key: SandboxKey, answer: Answer) -> None:
    headers = request.headers
    app = headers.get("X-OpenRouter-Title") or headers.get("X-Title") or headers.get("Referer")
    SandboxGeneration.objects.create(
        key=key,
        generation_id=answer.generation_id,
        model=answer.model[:200],
        app=(app or "")[:200],
        tokens=answer.total_tokens,
        cost=answer.cost,
        created_at=timezone.now(),
    )


def message_text(content: object) -> str:
    """Return the text of a message's content: a string, or a list of parts."""
    if isinstance(content, str):
        return content
    parts = content if isinstance(content, list) else []
    texts = [part.get("text") for part in parts if isinstance(part, dict)]
    return " ".join(text for text in texts if isinstance(text, str))


def last_user_text(messages: list[object]) -> str:
    """Return the text of the last message that a user wrote, or ``""``."""
    for message in reversed(messages):
        if isinstance(message, dict) and message.get("role") == "user":
            return message_text(message.get("content"))
    return ""


def event_stream(events: Iterator[str], answer: Answer) -> StreamingHttpResponse:
    """Return server-sent events, as OpenRouter sends them.

    Source: OpenRouter documentation, "Streaming".
    """
    headers = {**answer.headers, "Cache-Control": "no-cache"}
    return StreamingHttpResponse(events, content_type="text/event-stream", headers=headers)


def event(data: dict[str, object]) -> str:
    """Return one event: a line of JSON and an empty line."""
    return f"data: {json.dumps(data, ensure_ascii=False)}\n\n"


PROCESSING = ": OPENROUTER PROCESSING\n\n"
DONE = "data: [DONE]\n\n"
