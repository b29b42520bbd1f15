"""OpenRouter without network: good and bad days, what it was asked, and the SDKs."""

import asyncio
import re
import sys
from importlib import import_module
from importlib.util import find_spec
from typing import Any

import openai
import openrouter as openrouter_sdk
import pytest
import requests

from django_openrouter_auth.exceptions import KeyRejected
from django_openrouter_auth.shortcuts import (
    get_api_key,
    get_openai_client,
    get_openrouter_client,
    get_session,
)
from django_openrouter_auth.testing import KEY, OTHER_KEY, approve, connect, sdk_calls
from django_openrouter_auth.testing import openrouter as open_openrouter

from ..connecting import API, outcome


@pytest.mark.parametrize(
    ("trouble", "arguments", "code"),
    [
        ("refuses", {}, "exchange_rejected"),
        ("fails", {"status": 503}, "provider_unavailable"),
        ("fails", {"status": 429, "retry_after": 7}, "rate_limited"),
        ("talks_nonsense", {}, "provider_protocol"),
        ("times_out", {}, "provider_unavailable"),
        ("goes_down", {}, "provider_unavailable"),
        ("forgets", {}, "key_rejected"),
    ],
)
def test_bad_days_while_connecting(client, user, openrouter, trouble, arguments, code):
    """Each kind of trouble ends an attempt as that trouble does, and comes to an end."""
    client.force_login(user)
    getattr(openrouter, trouble)(**arguments)
    assert outcome(approve(client))[1] == code
    openrouter.recovers()
    openrouter.grants()
    approve(client)
    assert get_api_key(user) == KEY


def test_trouble_is_what_it_is(user, openrouter):
    """A call of the site sees the trouble as ``requests`` shows it."""
    connect(user)
    openrouter.answers("Fine.")
    session = get_session(user)
    openrouter.fails(429, "Slow down", retry_after=7)
    limited = session.post("chat/completions")
    assert (limited.status_code, limited.headers["Retry-After"]) == (429, "7")
    assert limited.json()["error"] == {"message": "Slow down", "code": 429}
    openrouter.recovers()
    openrouter.times_out()
    with pytest.raises(requests.ReadTimeout):
        session.post("chat/completions")
    openrouter.recovers()
    openrouter.goes_down()
    with pytest.raises(requests.ConnectionError):
        session.get("whatever")
    openrouter.recovers()
    assert session.post("chat/completions").ok


@pytest.mark.parametrize("path", ["chat/completions", "/chat/completions"])
def test_trouble_at_one_path(user, openrouter, path):
    """Trouble at one path leaves the others alone; it may be written as a session takes it."""
    connect(user)
    openrouter.fails(402, "Insufficient credits", at=path)
    with get_session(user) as session:
        assert session.post("chat/completions").status_code == 402
        assert session.get("key").status_code == 200


def test_forgotten_key(user, openrouter):
    """A forgotten key is refused everywhere, until OpenRouter knows it again."""
    connect(user)
    openrouter.answers("Fine.")
    openrouter.forgets()
    with pytest.raises(KeyRejected):
        get_session(user).post("chat/completions")
    connect(user)
    openrouter.knows(limit=10)
    assert "choices" in get_session(user).post("chat/completions").json()
    assert get_session(user).get("key").json()["data"]["limit"] == 10


def test_answer_of_a_chat(user, openrouter):
    """A chat is answered with the text, and with what else the test wants."""
    connect(user)
    openrouter.answers("Fine.", usage={"cost": 0.01})
    answer = get_session(user).post("chat/completions", json={"model": "a/b"}).json()
    assert answer["choices"][0]["message"] == {"role": "assistant", "content": "Fine."}
    assert (answer["model"], answer["usage"]) == ("a/b", {"cost": 0.01})


def test_recorded_calls(user, openrouter):
    """A test sees what was asked, and with whose key, but no ``repr`` shows the key."""
    connect(user, OTHER_KEY)
    openrouter.answers("Fine.")
    openrouter.mock.get(f"{API}/models", json={})
    get_session(user).post("chat/completions?x=1", json={"messages": []})
    get_session(user).get("models")
    openrouter.mock.get("https://elsewhere.example/", json={})
    requests.get("https://elsewhere.example/", timeout=1)
    chat, models, elsewhere = openrouter.calls
    assert openrouter.chats == [chat]
    assert (chat.method, chat.path, chat.json) == ("POST", "chat/completions", {"messages": []})
    assert (chat.api_key, models.json, models.path) == (OTHER_KEY, None, "models")
    assert chat.headers["authorization"] == f"Bearer {OTHER_KEY}"
    assert (elsewhere.path, elsewhere.api_key) == ("https://elsewhere.example/", None)
    assert OTHER_KEY not in repr(openrouter.calls)


def test_settings_are_followed(user, settings, openrouter):
    """OpenRouter answers where ``OPENROUTER_AUTH_API_URL`` points at that moment."""
    settings.OPENROUTER_AUTH_API_URL = "https://eu.openrouter.ai/api/v1/"
    connect(user)
    assert get_session(user).get("key").ok


@pytest.mark.parametrize("forgets", [False, True])
def test_calls_elsewhere_fail_the_test(forgets):
    """What nothing answers is refused, and fails the block although the site caught it."""

    def careless() -> None:
        with open_openrouter() as provider:
            if forgets:
                provider.forgets()
            with pytest.raises(requests.ConnectionError):
                requests.get("https://elsewhere.example/?token=secret", timeout=1)

    with pytest.raises(AssertionError, match=r"answers GET https://elsewhere.example/\.$"):
        careless()


def test_error_under_way_wins():
    """A failing test is not hidden behind the refused call that came before."""

    def fail() -> None:
        with open_openrouter() as provider:
            with pytest.raises(requests.ConnectionError):
                requests.post(f"{API}/chat/completions", timeout=1)
            assert provider.chats == []

    with pytest.raises(AssertionError, match="Call"):
        fail()


@pytest.mark.parametrize("kind", [str, re.compile])
def test_live_server_may_be_let_through(live_server, openrouter, kind):
    """A test may let its own live server through."""
    openrouter.mock.add_passthru(kind(live_server.url))
    with requests.Session() as session:
        session.trust_env = False
        assert session.get(f"{live_server.url}/", timeout=10).ok


def test_own_answers_come_first(user, openrouter):
    """What a test registers with ``mock`` comes first, until it says otherwise."""
    connect(user)
    openrouter.mock.get(f"{API}/key", status=418)
    assert get_session(user).get("key").status_code == 418
    openrouter.knows()
    assert get_session(user).get("key").status_code == 200


MESSAGES: list[Any] = [{"role": "user", "content": "How are you?"}]


def test_openai_client(openrouter):
    """The ``openai`` package is answered too, whole and streamed."""
    openrouter.answers("Grüß Gott")
    with openai.OpenAI(api_key=KEY, base_url=API) as sdk:
        whole = sdk.chat.completions.create(model="a/b", messages=MESSAGES)
        stream = sdk.chat.completions.create(model="a/b", messages=MESSAGES, stream=True)
        streamed = "".join(chunk.choices[0].delta.content or "" for chunk in stream)
    assert [whole.choices[0].message.content, streamed] == ["Grüß Gott"] * 2
    assert [call.api_key for call in openrouter.chats] == [KEY, KEY]


def test_asynchronous_openai_client(openrouter):
    """So is its asynchronous client."""
    openrouter.answers("Fine.")

    async def ask() -> str | None:
        async with openai.AsyncOpenAI(api_key=KEY, base_url=API) as sdk:
            answer = await sdk.chat.completions.create(model="a/b", messages=MESSAGES)
        return answer.choices[0].message.content

    assert asyncio.run(ask()) == "Fine."


HTTP_LIBRARIES = [import_module(name) for name in sdk_calls.LIBRARIES if find_spec(name)]
libraries = pytest.mark.parametrize("library", HTTP_LIBRARIES, ids=lambda library: library.__name__)


@libraries
def test_bad_days_through_httpx(openrouter, library):
    """Trouble reaches the SDKs' libraries as their own exceptions."""
    openrouter.goes_down()
    with pytest.raises(library.ConnectError):
        library.get(f"{API}/key")
    openrouter.recovers()
    openrouter.times_out()
    with pytest.raises(library.ReadTimeout):
        library.get(f"{API}/key")


@libraries
def test_calls_elsewhere_through_httpx(library):
    """The network is closed for the SDKs' libraries, too."""

    def careless() -> None:
        with open_openrouter(), pytest.raises(library.ConnectError):
            library.get("https://elsewhere.example/")

    with pytest.raises(AssertionError, match="elsewhere"):
        careless()


def test_openrouter_client(openrouter):
    """The ``openrouter`` package is answered too."""
    openrouter.answers("Fine.")
    with openrouter_sdk.OpenRouter(api_key=KEY, server_url=API) as sdk:
        answer = sdk.chat.send(model="a/b", messages=MESSAGES)
    assert answer.choices[0].message.content == "Fine."
    assert [call.api_key for call in openrouter.chats] == [KEY]


def test_ready_made_clients(user, openrouter):
    """The clients of ``shortcuts`` are answered, and a forgotten key is rejected through them."""
    connect(user, OTHER_KEY)
    openrouter.answers("Fine.")
    openai_client, openrouter_client = get_openai_client(user), get_openrouter_client(user)
    openai_client.chat.completions.create(model="a/b", messages=MESSAGES)
    openrouter_client.chat.send(model="a/b", messages=MESSAGES)
    assert [call.api_key for call in openrouter.chats] == [OTHER_KEY, OTHER_KEY]
    openrouter.forgets()
    with pytest.raises(KeyRejected):
        openai_client.chat.completions.create(model="a/b", messages=MESSAGES)


def test_sdks_leak_nothing(openrouter, openrouter_leaks):
    """What the SDKs log, at every level, holds no key: a site may use them in a watched test."""
    openrouter.answers("Fine.")
    with openai.OpenAI(api_key=KEY, base_url=API) as sdk:
        sdk.chat.completions.create(model="a/b", messages=MESSAGES)
    with openrouter_sdk.OpenRouter(api_key=KEY, server_url=API) as other_sdk:
        other_sdk.chat.send(model="a/b", messages=MESSAGES)
    assert {record.name.split(".")[0] for record in openrouter_leaks.records} >= {"openai"}


def test_without_httpx(monkeypatch):
    """A site without the SDKs has no such library and needs none."""
    for name in sdk_calls.LIBRARIES:
        monkeypatch.setitem(sys.modules, name, None)
    with open_openrouter():
        assert requests.get(f"{API}/key", timeout=1).ok


def test_without_responses(monkeypatch):
    """A site without ``responses`` is told what to install."""
    monkeypatch.setitem(sys.modules, "responses", None)
    monkeypatch.delitem(sys.modules, "django_openrouter_auth.testing.provider")
    with pytest.raises(ImportError, match=r"install \"django-openrouter-auth\[testing\]\""):
        open_openrouter()
