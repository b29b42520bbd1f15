import json
from decimal import Decimal
from http import HTTPStatus

import pytest

from django_openrouter_auth.sandbox.models import SandboxGeneration, SandboxKey

from . import ACCOUNT

pytestmark = pytest.mark.django_db

MODEL = "openai/gpt-4o"
BODIES: dict[str, dict[str, object]] = {
    "api_chat": {"model": MODEL, "messages": [{"role": "user", "content": "Hello you"}]},
    "api_responses": {"model": MODEL, "input": "Hello you"},
}


@pytest.fixture(params=["api_chat", "api_responses"])
def api(request):
    """Name both APIs in turn."""
    return request.param


@pytest.fixture
def ask(api, call, key):
    """Ask a model over both APIs in turn."""

    def ask(key=key, **more):
        return call(api, key=key, json=BODIES[api] | more)

    return ask


def read(answer):
    """Return the lines of comments, the events, and whether the stream came to its end."""
    blocks = answer.getvalue().decode().split("\n\n")
    assert blocks.pop() == ""
    comments = [block for block in blocks if block.startswith(":")]
    data = [block.removeprefix("data: ") for block in blocks if not block.startswith(":")]
    done = bool(data) and data[-1] == "[DONE]"
    return comments, [json.loads(each) for each in data[: -1 if done else None]], done


def chat_text(events):
    """Return the text of a streamed chat."""
    return "".join(event["choices"][0]["delta"]["content"] for event in events)


def test_chat_answers_with_the_message_quoted(call, key):
    """A friendly text that quotes the last message of the user, in OpenRouter's live shape."""
    answer = call("api_chat", key=key, json=BODIES["api_chat"])
    body = answer.json()
    assert answer["X-Generation-Id"] == body["id"]
    assert body["id"].startswith("gen-")
    assert (body["object"], body["model"]) == ("chat.completion", MODEL)
    [choice] = body["choices"]
    assert choice["finish_reason"] == choice["native_finish_reason"] == "stop"
    assert "You said: “Hello you”." in choice["message"]["content"]
    usage = body["usage"]
    assert usage["total_tokens"] == usage["prompt_tokens"] + usage["completion_tokens"]


@pytest.mark.parametrize(
    ("messages", "quoted"),
    [
        ([{"role": "user", "content": "A"}, {"role": "assistant", "content": "B"}], "“A”"),
        ([{"role": "user", "content": "A"}, {"role": "user", "content": "B"}], "“B”"),
        ([{"role": "user", "content": [{"type": "text", "text": "A"}, {"text": 1}, 2]}], "“A”"),
        ([{"role": "user"}], "“”"),
        ([{"role": "system", "content": "A"}], "“”"),
        ([{"role": "user", "content": "x" * 2001}], f"“{'x' * 2000}…”"),
    ],
)
def test_the_last_message_of_the_user_is_quoted(call, key, messages, quoted):
    """Text and parts of text count; a long message is cut."""
    body = call("api_chat", key=key, json={"model": MODEL, "messages": messages}).json()
    assert quoted in body["choices"][0]["message"]["content"]


def test_chat_streams(call, key):
    """Comments, deltas, a finish, the bill that repeats it, and the end."""
    answer = call("api_chat", key=key, json=BODIES["api_chat"] | {"stream": True})
    assert answer["Content-Type"] == "text/event-stream"
    comments, events, done = read(answer)
    assert comments == [": OPENROUTER PROCESSING"] * 2
    assert done
    assert {event["id"] for event in events} == {answer["X-Generation-Id"]}
    assert {event["object"] for event in events} == {"chat.completion.chunk"}
    assert "You said: “Hello you”." in chat_text(events)
    reasons = [event["choices"][0]["finish_reason"] for event in events]
    assert reasons[-3:] == [None, "stop", "stop"]
    assert [event for event in events if "usage" in event] == events[-1:]


def test_the_stream_says_what_the_whole_answer_says(call, key):
    """The text does not depend on the way it is delivered."""
    whole = call("api_chat", key=key, json=BODIES["api_chat"]).json()
    streamed = call("api_chat", key=key, json=BODIES["api_chat"] | {"stream": True})
    assert chat_text(read(streamed)[1]) == whole["choices"][0]["message"]["content"]


def test_responses_answer_with_the_message_quoted(call, key):
    """The Responses API has a shape of its own."""
    answer = call("api_responses", key=key, json=BODIES["api_responses"])
    body = answer.json()
    assert body["id"] == f"resp_{answer['X-Generation-Id']}"
    assert (body["object"], body["status"], body["error"]) == ("response", "completed", None)
    [message] = body["output"]
    assert "You said: “Hello you”." in message["content"][0]["text"]


def test_responses_take_a_list_of_messages(call, key):
    """Input may be a list as well as a text."""
    given = [{"type": "message", "role": "user", "content": [{"text": "A"}]}]
    body = call("api_responses", key=key, json={"model": MODEL, "input": given}).json()
    assert "“A”" in body["output"][0]["content"][0]["text"]


def test_responses_stream(call, key):
    """From response.created to response.completed, numbered without a gap."""
    answer = call("api_responses", key=key, json=BODIES["api_responses"] | {"stream": True})
    _, events, done = read(answer)
    assert done
    kinds = [event["type"] for event in events]
    assert kinds[:2] == ["response.created", "response.in_progress"]
    assert kinds[-1] == "response.completed"
    assert [event["sequence_number"] for event in events] == list(range(len(events)))
    deltas = [e["delta"] for e in events if e["type"] == "response.output_text.delta"]
    assert "".join(deltas) == events[-1]["response"]["output"][0]["content"][0]["text"]


def test_an_answer_is_charged_to_the_key(ask):
    """Model, app and price of every answer are kept, the texts are not."""
    ask()
    generation = SandboxGeneration.objects.get()
    assert (generation.model, generation.app) == (MODEL, "")
    assert generation.cost == generation.tokens * Decimal("0.0005")
    assert str(generation) == generation.generation_id


@pytest.mark.parametrize("header", ["X-OpenRouter-Title", "X-Title", "Referer"])
def test_an_answer_is_attributed_to_the_app(call, key, header):
    """The app is known by its title, under the new name or the old one, or by its address."""
    call("api_chat", key=key, json=BODIES["api_chat"], headers={header: "My app"})
    assert SandboxGeneration.objects.get().app == "My app"


def test_a_key_is_needed(api, ask, call):
    """No key and an unknown key are 401."""
    assert call(api, json=BODIES[api]).status_code == HTTPStatus.UNAUTHORIZED
    assert ask(key="sk-or-v1-" + "0" * 64).json()["error"]["message"] == "User not found."


def test_models_are_asked_with_post(api, call, key):
    """Other methods are 405."""
    answer = call(api, key=key, method="GET")
    assert answer.status_code == HTTPStatus.METHOD_NOT_ALLOWED


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (None, "No models provided"),
        ("gpt", "gpt is not a valid model ID"),
        ("a/b c", "a/b c is not a valid model ID"),
    ],
)
def test_the_model_has_to_be_one(ask, model, message):
    """A missing or malformed model is 400, and names the account as the real API does."""
    answer = ask(model=model)
    assert answer.status_code == HTTPStatus.BAD_REQUEST
    assert answer.json()["error"]["message"] == message
    assert answer.json()["user_id"].startswith("user_")


@pytest.mark.parametrize("messages", [None, [], "Hello", ["Hello"], [{"content": "Hello"}]])
def test_chat_needs_messages(call, key, messages):
    """A body without messages, or with something else, is 400."""
    answer = call("api_chat", key=key, json={"model": MODEL, "messages": messages})
    assert answer.status_code == HTTPStatus.BAD_REQUEST


@pytest.mark.parametrize("given", [None, [], 1])
def test_responses_need_input(call, key, given):
    """A body without input, or with something else, is 400."""
    answer = call("api_responses", key=key, json={"model": MODEL, "input": given})
    assert answer.status_code == HTTPStatus.BAD_REQUEST


@pytest.mark.parametrize(
    ("reset", "word"),
    [("", "total"), ("daily", "daily"), ("weekly", "weekly"), ("monthly", "monthly")],
)
def test_a_spent_limit_is_403(ask, reset, word):
    """The message names the limit and where to raise it."""
    _, capped = SandboxKey.mint(account=ACCOUNT, limit=Decimal("0.01"), limit_reset=reset)
    assert ask(key=capped).status_code == HTTPStatus.OK
    ask(key=capped)
    answer = ask(key=capped)
    assert answer.status_code == HTTPStatus.FORBIDDEN
    assert answer.json()["error"]["message"] == (
        f"Key limit exceeded ({word} limit). Manage it using https://openrouter.ai/settings/keys"
    )


def test_a_spent_limit_can_be_402(ask, turn):
    """The guides' spelling of the same."""
    turn(cap_status=402)
    _, capped = SandboxKey.mint(account=ACCOUNT, limit=Decimal(0))
    answer = ask(key=capped)
    assert answer.status_code == HTTPStatus.PAYMENT_REQUIRED
    assert answer.json()["error"]["metadata"] == {"limit_source": "openrouter_key_limit"}


@pytest.mark.parametrize(
    ("fault", "status", "message"),
    [
        ("unauthorized", 401, "User not found."),
        ("no_credit", 402, "Insufficient credits."),
        ("cap_spent", 403, "Key limit exceeded"),
        ("rate_limited", 429, "Provider returned error"),
        ("server_error", 500, "Internal Server Error"),
    ],
)
def test_refusals_can_be_played(ask, turn, fault, status, message):
    """Each costs nothing."""
    turn(chat_fault=fault)
    answer = ask()
    assert answer.status_code == answer.json()["error"]["code"] == status
    assert answer.json()["error"]["message"].startswith(message)
    assert not SandboxGeneration.objects.exists()


def test_a_rate_limit_says_when_to_come_back(ask, turn):
    """In the header and in the body."""
    turn(chat_fault="rate_limited")
    answer = ask()
    assert answer["Retry-After"] == "7"
    assert answer.json()["error"]["metadata"]["retry_after_seconds"] == 7


def test_a_slow_answer_comes_in_the_end(ask, turn, naps):
    """It takes as long as the switch says, and then answers as usual."""
    turn(chat_fault="slow", slow_seconds=6)
    assert ask().status_code == HTTPStatus.OK
    assert naps == [6]


def test_an_error_in_200(call, key, turn):
    """Status 200, and nothing in it but an error; streams get the same."""
    turn(chat_fault="error_in_200")
    for stream in (False, True):
        answer = call("api_chat", key=key, json=BODIES["api_chat"] | {"stream": stream})
        assert answer.status_code == HTTPStatus.OK
        assert answer.json() == {
            "error": {
                "message": "Provider disconnected unexpectedly",
                "code": 502,
                "metadata": {"error_type": "provider_unavailable"},
            }
        }
    assert not SandboxGeneration.objects.exists()


def test_a_failed_response_in_200(call, key, turn):
    """Status 200, and a response that failed."""
    turn(chat_fault="error_in_200")
    body = call("api_responses", key=key, json=BODIES["api_responses"]).json()
    assert (body["status"], body["output"]) == ("failed", [])
    assert body["error"]["code"] == "server_error"
    assert body["error_type"] == "provider_unavailable"


def test_an_error_as_the_first_event(ask, turn):
    """The stream begins with the error, and that is all."""
    turn(chat_fault="error_first")
    _, events, done = read(ask(stream=True))
    assert len(events) == 1
    assert "Provider disconnected" in json.dumps(events)
    assert not done


def test_an_error_after_the_first_words(api, ask, turn):
    """Some text, then an error, then nothing."""
    turn(chat_fault="error_mid_stream")
    _, events, done = read(ask(stream=True))
    assert not done
    if api == "api_chat":
        assert chat_text(events) == "Hello from the"
        assert events[-1]["error"]["code"] == 502
        assert events[-1]["choices"][0]["finish_reason"] == "error"
    else:
        assert events[-1]["type"] == "response.failed"
        assert events[-1]["response"]["status"] == "failed"


def test_a_stream_that_just_stops(ask, turn):
    """Some text, and neither a finish nor an end."""
    turn(chat_fault="cut_stream")
    _, events, done = read(ask(stream=True))
    assert not done
    assert "Hello" in json.dumps(events)
    assert '"stop"' not in json.dumps(events)
    assert "response.completed" not in json.dumps(events)
