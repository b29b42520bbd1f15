"""The official SDKs, over a real socket, take the sandbox for OpenRouter."""

import http.client
from urllib.parse import urlsplit

import openai
import openrouter
import pytest
from django.contrib.auth import get_user_model
from django.utils import timezone
from openrouter import errors

from django_openrouter_auth.exceptions import KeyRejected
from django_openrouter_auth.models import OpenRouterKey
from django_openrouter_auth.sandbox.models import SandboxCode, SandboxKey, SandboxRequest
from django_openrouter_auth.shortcuts import get_openai_client, get_openrouter_client

from . import ACCOUNT, CHALLENGE, VERIFIER

pytestmark = pytest.mark.django_db(transaction=True)

MODEL = "openai/gpt-4o"
MESSAGES = [{"role": "user", "content": "Hello you"}]


@pytest.fixture
def api_url(live_server):
    """Return the address of the API on a real server."""
    return f"{live_server.url}/openrouter-sandbox/api/v1"


@pytest.fixture
def code(db):
    """Issue a code with an S256 challenge."""
    return SandboxCode.issue(account=ACCOUNT, code_challenge=CHALLENGE, method="S256")


@pytest.fixture
def router(api_url, key):
    """Return OpenRouter's own client."""
    with openrouter.OpenRouter(api_key=key, server_url=api_url) as client:
        yield client


@pytest.fixture
def openai_client(api_url, key):
    """Return OpenAI's client, as the OpenRouter guide sets it up."""
    with openai.OpenAI(api_key=key, base_url=api_url, max_retries=0) as client:
        yield client


def test_openrouter_exchanges_a_code(api_url, code):
    """A code becomes a key, and the key works."""
    with openrouter.OpenRouter(server_url=api_url) as client:
        granted = client.o_auth.exchange_auth_code_for_api_key(
            code=code, code_verifier=VERIFIER, code_challenge_method="S256"
        )
    assert SandboxKey.find(granted.key)
    assert granted.user_id
    assert not SandboxRequest.objects.exchanges(code).get().had_authorization


def test_openrouter_understands_a_refused_code(api_url):
    """A refusal is the SDK's own error, with OpenRouter's message."""
    with (
        openrouter.OpenRouter(server_url=api_url) as client,
        pytest.raises(errors.BadRequestResponseError) as refusal,
    ):
        client.o_auth.exchange_auth_code_for_api_key(code="nonsense")
    assert refusal.value.message == "Invalid code"


# The SDK warns of two fields that the API still sends.
@pytest.mark.filterwarnings("ignore:warning. .. DEPRECATED:DeprecationWarning")
def test_openrouter_reads_the_current_key(router, key):
    """All fields that the SDK demands are there."""
    data = router.api_keys.get_current_key_metadata().data
    assert data.label == f"{key[:12]}...{key[-3:]}"
    assert data.usage == 0


def test_openrouter_understands_a_dead_key(router):
    """A deleted key is the SDK's own error."""
    SandboxKey.objects.all().delete()
    with pytest.raises(errors.UnauthorizedResponseError) as refusal:
        router.api_keys.get_current_key_metadata()
    assert refusal.value.message == "User not found."


def test_openrouter_chats(router):
    """A whole answer."""
    answer = router.chat.send(model=MODEL, messages=MESSAGES)
    assert "“Hello you”" in answer.choices[0].message.content


def test_openrouter_streams_a_chat(router):
    """Comments are skipped, and the bill comes last."""
    with router.chat.send(model=MODEL, messages=MESSAGES, stream=True) as stream:
        chunks = list(stream)
    assert "“Hello you”" in "".join(chunk.choices[0].delta.content for chunk in chunks)
    assert chunks[-1].usage.cost > 0


def test_openai_chats(openai_client):
    """A whole answer."""
    answer = openai_client.chat.completions.create(model=MODEL, messages=MESSAGES)
    assert "“Hello you”" in answer.choices[0].message.content


def test_openai_streams_a_chat(openai_client):
    """Deltas, a finish and an end."""
    with openai_client.chat.completions.create(
        model=MODEL, messages=MESSAGES, stream=True
    ) as stream:
        chunks = list(stream)
    assert "“Hello you”" in "".join(chunk.choices[0].delta.content for chunk in chunks)
    assert chunks[-1].choices[0].finish_reason == "stop"


def test_openai_notices_an_error_in_the_middle_of_a_stream(openai_client, turn):
    """An error after the first words is an exception, not a short answer."""
    turn(chat_fault="error_mid_stream")
    with (
        openai_client.chat.completions.create(
            model=MODEL, messages=MESSAGES, stream=True
        ) as stream,
        pytest.raises(openai.APIError, match="Provider disconnected"),
    ):
        list(stream)


def test_openai_uses_the_responses_api(openai_client):
    """A whole response."""
    answer = openai_client.responses.create(model=MODEL, input="Hello you")
    assert "“Hello you”" in answer.output_text


def test_openai_streams_a_response(openai_client):
    """The SDK puts the response together from the events."""
    with openai_client.responses.stream(model=MODEL, input="Hello you") as stream:
        deltas = [event.delta for event in stream if event.type == "response.output_text.delta"]
        assert "".join(deltas) == stream.get_final_response().output_text


def test_openai_understands_a_spent_limit(openai_client, turn):
    """A spent limit is the SDK's own error, with OpenRouter's message."""
    turn(chat_fault="cap_spent")
    with pytest.raises(openai.PermissionDeniedError, match="Key limit exceeded"):
        openai_client.chat.completions.create(model=MODEL, messages=MESSAGES)


@pytest.fixture
def connected_user(api_url, key, settings, pools):
    """A user whose key the sandbox knows, on a site that takes the sandbox for OpenRouter."""
    settings.OPENROUTER_AUTH_API_URL = api_url
    user = get_user_model().objects.create_user("ann")
    OpenRouterKey.objects.create(
        user=user, connected_at=timezone.now(), **OpenRouterKey.derive(user.pk, key)
    )
    return user


def test_our_clients_stream(connected_user):
    """The clients that a site gets for a user stream, by either SDK."""
    with get_openai_client(connected_user) as client:
        chunks = client.chat.completions.create(model=MODEL, messages=MESSAGES, stream=True)
        assert "Hello" in "".join(chunk.choices[0].delta.content or "" for chunk in chunks)
    with (
        get_openrouter_client(connected_user) as client,
        client.chat.send(model=MODEL, messages=MESSAGES, stream=True) as events,
    ):
        assert "Hello" in "".join(event.choices[0].delta.content or "" for event in events)


@pytest.mark.parametrize("fault", ["cap_spent", "no_credit"])
def test_our_clients_leave_a_spent_limit_to_the_sdk(connected_user, turn, fault):
    """A spent limit is no dead key."""
    turn(chat_fault=fault)
    with (
        get_openai_client(connected_user) as client,
        pytest.raises(openai.APIStatusError),
    ):
        client.chat.completions.create(model=MODEL, messages=MESSAGES)
    assert OpenRouterKey.objects.get().status == "active"


def test_our_clients_notice_a_deleted_key(connected_user):
    """A key that was deleted at OpenRouter is rejected, once for all."""
    first, second = get_openai_client(connected_user), get_openrouter_client(connected_user)
    SandboxKey.objects.all().delete()
    with pytest.raises(KeyRejected):
        first.chat.completions.create(model=MODEL, messages=MESSAGES)
    with pytest.raises(KeyRejected):
        second.chat.send(model=MODEL, messages=MESSAGES)
    with pytest.raises(KeyRejected):
        get_openai_client(connected_user)
    assert OpenRouterKey.objects.get().status == "rejected"


@pytest.mark.parametrize(("fault", "keys"), [("cut_before", 0), ("cut_after", 1)])
def test_a_cut_connection_is_really_cut(api_url, code, turn, fault, keys):
    """The client sees its connection closed at once, without a byte of an answer."""
    turn(exchange_fault=fault)
    connection = http.client.HTTPConnection(urlsplit(api_url).netloc, timeout=10)
    body = f'{{"code": "{code}", "code_verifier": "{VERIFIER}", "code_challenge_method": "S256"}}'
    path = f"{urlsplit(api_url).path}/auth/keys"
    connection.request("POST", path, body, {"Content-Type": "application/json"})
    with pytest.raises(http.client.RemoteDisconnected):
        connection.getresponse()
    connection.close()
    assert SandboxKey.objects.count() == keys
    assert SandboxRequest.objects.exchanges(code).get().status == 444
