"""``POST /api/v1/responses``, whole and streamed.

Source: OpenRouter API reference, "Responses", and OpenAI API reference for the event types.
"""

from collections.abc import Iterator

from django.http import HttpRequest, JsonResponse
from django.http.response import HttpResponseBase

from .api import ApiError, api_view, error
from .chat import WORDS_BEFORE_FAULT
from .inference import DONE, PROCESSING, Answer, ask, event, event_stream, last_user_text
from .switches import ChatFault

FAILURE: dict[str, object] = {
    "code": "server_error",
    "message": "Provider disconnected unexpectedly",
}


def read_input(body: dict[str, object]) -> str:
    """Return the last message of the user.

    Raises:
        ApiError: 400 when ``input`` is neither text nor a list of messages.
    """
    given = body.get("input")
    if isinstance(given, str):
        return given
    if not isinstance(given, list) or not given:
        raise ApiError(error(400, "Invalid Responses API request: input is required"))
    return last_user_text(given)


@api_view("POST")
def responses(request: HttpRequest) -> HttpResponseBase:
    """Answer a request to the Responses API."""
    answer = ask(request, read_input)
    if answer.fault == ChatFault.ERROR_IN_200:
        failed = {**document(answer, "failed"), "error_type": "provider_unavailable"}
        return JsonResponse(failed, headers=answer.headers)
    if answer.stream:
        return event_stream(events(answer), answer)
    return JsonResponse(document(answer, "completed"), headers=answer.headers)


def document(answer: Answer, status: str) -> dict[str, object]:
    """Return the response object: ``in_progress``, ``completed`` or ``failed``."""
    completed = status == "completed"
    return {
        "id": f"resp_{answer.generation_id}",
        "object": "response",
        "created_at": answer.created,
        "completed_at": answer.created if completed else None,
        "status": status,
        "model": answer.model,
        "output": [item(answer, status)] if completed else [],
        "error": FAILURE if status == "failed" else None,
        "incomplete_details": None,
        "instructions": None,
        "metadata": {},
        "parallel_tool_calls": True,
        "temperature": 1,
        "tool_choice": "auto",
        "tools": [],
        "top_p": 1,
        "usage": {
            "input_tokens": answer.prompt_tokens,
            "input_tokens_details": {"cached_tokens": 0},
            "output_tokens": answer.completion_tokens,
            "output_tokens_details": {"reasoning_tokens": 0},
            "total_tokens": answer.total_tokens,
            "cost": float(answer.cost),
        }
        if completed
        else None,
    }


def item(answer: Answer, status: str) -> dict[str, object]:
    """Return the one message of the output."""
    return {
        "type": "message",
        "id": f"msg_{answer.generation_id}",
        "role": "assistant",
        "status": status,
        "content": [part(answer.text)] if status == "completed" else [],
    }


def part(text: str) -> dict[str, object]:
    """Return the one part of the message."""
    return {"type": "output_text", "text": text, "annotations": [], "logprobs": []}


def events(answer: Answer) -> Iterator[str]:
    """Yield the events of a streamed response, faults included."""
    sequence = iter(range(len(answer.words) + 20))

    def typed(kind: str, **fields: object) -> str:
        return event({"type": kind, **fields, "sequence_number": next(sequence)})

    place: dict[str, object] = {
        "item_id": f"msg_{answer.generation_id}",
        "output_index": 0,
        "content_index": 0,
    }
    yield PROCESSING
    if answer.fault == ChatFault.ERROR_FIRST:
        yield typed("error", **FAILURE, param=None)
        return
    yield typed("response.created", response=document(answer, "in_progress"))
    yield typed("response.in_progress", response=document(answer, "in_progress"))
    yield typed("response.output_item.added", output_index=0, item=item(answer, "in_progress"))
    yield typed("response.content_part.added", **place, part=part(""))
    for count, word in enumerate(answer.words):
        if count == WORDS_BEFORE_FAULT and answer.fault == ChatFault.CUT_STREAM:
            return
        if count == WORDS_BEFORE_FAULT and answer.fault == ChatFault.ERROR_MID_STREAM:
            yield typed("response.failed", response=document(answer, "failed"))
            return
        yield typed("response.output_text.delta", **place, delta=word, logprobs=[])
    yield typed("response.output_text.done", **place, text=answer.text, logprobs=[])
    yield typed("response.content_part.done", **place, part=part(answer.text))
    yield typed("response.output_item.done", output_index=0, item=item(answer, "completed"))
    yield typed("response.completed", response=document(answer, "completed"))
    yield DONE
