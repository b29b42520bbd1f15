"""``POST /api/v1/chat/completions``, whole and streamed.

Source: OpenRouter API reference, "Chat completions", and documentation, "Streaming".
"""

from collections.abc import Iterator

from django.http import HttpRequest, JsonResponse
from django.http.response import HttpResponseBase

from .api import ApiError, api_view, error
from .inference import (
    DOLLARS_PER_TOKEN,
    DONE,
    PROCESSING,
    PROVIDER,
    Answer,
    ask,
    event,
    event_stream,
    last_user_text,
)
from .switches import ChatFault

WORDS_BEFORE_FAULT = 3


def read_messages(body: dict[str, object]) -> str:
    """Return the last message of the user.

    Raises:
        ApiError: 400 when there are no messages, or they are not messages.
    """
    messages = body.get("messages")
    if not isinstance(messages, list) or not messages:
        raise ApiError(error(400, 'Input required: specify "prompt" or "messages"'))
    if not all(isinstance(message, dict) and message.get("role") for message in messages):
        raise ApiError(error(400, "Invalid input: every message needs a role"))
    return last_user_text(messages)


def provider_error() -> dict[str, object]:
    """Return the error of a provider that gave up after OpenRouter had said 200.

    Source: OpenRouter documentation, "Errors and debugging".
    """
    return {
        "message": "Provider disconnected unexpectedly",
        "code": 502,
        "metadata": {"error_type": "provider_unavailable"},
    }


@api_view("POST")
def completions(request: HttpRequest) -> HttpResponseBase:
    """Answer a chat."""
    answer = ask(request, read_messages)
    if answer.fault == ChatFault.ERROR_IN_200:
        return JsonResponse({"error": provider_error()}, headers=answer.headers)
    if answer.stream:
        return event_stream(chunks(answer), answer)
    choice = {
        "index": 0,
        "finish_reason": "stop",
        "native_finish_reason": "stop",
        "logprobs": None,
        "message": {
            "role": "assistant",
            "content": answer.text,
            "refusal": None,
            "reasoning": None,
        },
    }
    body = {
        **_head(answer, "chat.completion"),
        "provider": PROVIDER,
        "system_fingerprint": None,
        "service_tier": None,
        "choices": [choice],
        "usage": usage(answer),
    }
    return JsonResponse(body, headers=answer.headers)


def _head(answer: Answer, kind: str) -> dict[str, object]:
    return {
        "id": answer.generation_id,
        "object": kind,
        "created": answer.created,
        "model": answer.model,
    }


def usage(answer: Answer) -> dict[str, object]:
    """Return the bill: tokens, and US dollars in ``cost``."""
    return {
        "prompt_tokens": answer.prompt_tokens,
        "completion_tokens": answer.completion_tokens,
        "total_tokens": answer.total_tokens,
        "cost": float(answer.cost),
        "is_byok": False,
        "prompt_tokens_details": {"cached_tokens": 0},
        "completion_tokens_details": {"reasoning_tokens": 0},
        "cost_details": {
            "upstream_inference_cost": None,
            "upstream_inference_prompt_cost": float(answer.prompt_tokens * DOLLARS_PER_TOKEN),
            "upstream_inference_completions_cost": float(
                answer.completion_tokens * DOLLARS_PER_TOKEN
            ),
        },
    }


def chunks(answer: Answer) -> Iterator[str]:
    """Yield the events of a streamed chat, faults included."""

    def chunk(content: str, finish_reason: str | None = None, **more: object) -> str:
        choice = {
            "index": 0,
            "delta": {"role": "assistant", "content": content},
            "finish_reason": finish_reason,
            "native_finish_reason": finish_reason,
            "logprobs": None,
        }
        head = _head(answer, "chat.completion.chunk")
        return event({**head, "provider": PROVIDER, "choices": [choice], **more})

    yield PROCESSING
    if answer.fault == ChatFault.ERROR_FIRST:
        yield chunk("", "error", error=provider_error())
        return
    yield PROCESSING
    for count, word in enumerate(answer.words):
        if count == WORDS_BEFORE_FAULT and answer.fault == ChatFault.CUT_STREAM:
            return
        if count == WORDS_BEFORE_FAULT and answer.fault == ChatFault.ERROR_MID_STREAM:
            yield chunk("", "error", error=provider_error())
            return
        yield chunk(word)
    yield chunk("", "stop")
    yield chunk("", "stop", usage=usage(answer))
    yield DONE
