"""The SDKs as a site gets them: a user's key, on real sockets, and where it never goes."""

import asyncio
import gc
import os
import sys
import weakref
from collections.abc import Callable
from functools import partial
from queue import Queue
from typing import Any

import httpx
import openai
import openrouter
import pytest
from asgiref.sync import async_to_sync
from django.contrib.auth.models import AnonymousUser
from django.utils import timezone
from openrouter import errors

from django_openrouter_auth import __version__, openai_sdk, openrouter_sdk, sdks
from django_openrouter_auth.exceptions import KeyRejected, KeyUnreadable, NotConnected
from django_openrouter_auth.models import OpenRouterKey
from django_openrouter_auth.shortcuts import (
    aget_openai_client,
    aget_openrouter_client,
    get_openai_client,
    get_openrouter_client,
)

from .calling import ANSWER, ASKED, CHAT, attempt, attempt_async, begin_anew
from .connecting import KEY, OTHER_KEY
from .leakscan import LeakScan
from .standin import STATUS, Standin, Wire, cut, refusal, reply, reset, silence

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("pools")]

EVENT = (
    b'data: {"id": "gen-1", "object": "chat.completion.chunk", "created": 1, "model": "m", '
    b'"choices": [{"index": 0, "delta": {"content": "Hi"}, "finish_reason": null}]}\n\n'
)

Talk = Callable[..., list[Any]]


def talk_openai(user: Any, times: int = 1, **options: Any) -> list[Any]:
    """Ask by way of ``openai.OpenAI``."""

    def ask() -> Any:
        return client.chat.completions.create(**ASKED).choices[0].message.content

    with get_openai_client(user, **options) as client:
        return [attempt(ask) for _ in range(times)]


@async_to_sync
async def atalk_openai(user: Any, times: int = 1, **options: Any) -> list[Any]:
    """Ask by way of ``openai.AsyncOpenAI``."""

    async def ask() -> Any:
        return (await client.chat.completions.create(**ASKED)).choices[0].message.content

    async with await aget_openai_client(user, **options) as client:
        return [await attempt_async(ask) for _ in range(times)]


def talk_openrouter(user: Any, times: int = 1, **options: Any) -> list[Any]:
    """Ask by way of ``openrouter.OpenRouter``."""
    with get_openrouter_client(user, **options) as client:
        ask = lambda: client.chat.send(**ASKED).choices[0].message.content  # noqa: E731 - short
        return [attempt(ask) for _ in range(times)]


@async_to_sync
async def atalk_openrouter(user: Any, times: int = 1, **options: Any) -> list[Any]:
    """Ask by way of the asynchronous methods of ``openrouter.OpenRouter``."""

    async def ask() -> Any:
        return (await client.chat.send_async(**ASKED)).choices[0].message.content

    async with await aget_openrouter_client(user, **options) as client:
        return [await attempt_async(ask) for _ in range(times)]


TALKS = [talk_openai, atalk_openai, talk_openrouter, atalk_openrouter]


@pytest.fixture(params=TALKS, ids=["openai", "openai-async", "openrouter", "openrouter-async"])
def talk(request: pytest.FixtureRequest) -> Talk:
    """Each way to ask OpenRouter something: a client is made, used and closed."""
    found: Talk = request.param
    return found


# Using them


def test_ready_to_use(user, key, standin, talk):
    """One line makes a client that calls OpenRouter with the user's key."""
    standin.answer(CHAT, reply(ANSWER))
    assert talk(user) == ["Hi"]
    (request,) = standin.journal
    assert request.headers.get_all("Authorization") == [f"Bearer {KEY}"]
    assert request.json["messages"] == ASKED["messages"]


@pytest.mark.parametrize("title", ["Meine App", "写作助手", "Café ☕"])
def test_attribution(user, key, standin, settings, talk, title):
    """The names of the site go along, as UTF-8 where they need it, and ours before the SDK's."""
    settings.OPENROUTER_AUTH_APP_TITLE = title
    settings.OPENROUTER_AUTH_APP_URL = "https://app.example"
    talk(user)
    headers = standin.journal[0].headers
    assert headers["X-OpenRouter-Title"].encode("latin-1").decode() == title
    assert headers["HTTP-Referer"] == "https://app.example"
    assert headers["User-Agent"].startswith(f"django-openrouter-auth/{__version__} open")


def test_no_attribution(user, key, standin, talk):
    """Without the settings no such header is sent."""
    talk(user)
    headers = standin.journal[0].headers
    assert headers["X-OpenRouter-Title"] is None
    assert headers["HTTP-Referer"] is None


def test_time_limit(user, key, standin, settings, talk):
    """``OPENROUTER_AUTH_TIMEOUT`` holds, and what timed out is not sent again by itself."""
    settings.OPENROUTER_AUTH_TIMEOUT = (2, 0.1)
    standin.answer(CHAT, silence)
    (failure,) = talk(user)
    assert isinstance(failure, openai.APITimeoutError | httpx.ReadTimeout)
    assert len(standin.journal) == 1


def test_errors_are_not_repeated(user, key, standin, talk):
    """Nor is a call that OpenRouter failed."""
    standin.answer(CHAT, refusal(503, "No provider"))
    (failure,) = talk(user)
    assert isinstance(failure, openai.InternalServerError | errors.OpenRouterError)
    assert len(standin.journal) == 1


@pytest.mark.parametrize(
    ("ask", "options"),
    [
        (talk_openai, {"timeout": 5, "max_retries": 1}),
        (atalk_openai, {"timeout": 5, "max_retries": 1}),
        (talk_openrouter, {"timeout_ms": 5000}),
        (atalk_openrouter, {"timeout_ms": 5000}),
    ],
)
def test_options(user, key, standin, settings, ask, options):
    """A site may choose other time limits, and repetition."""
    settings.OPENROUTER_AUTH_TIMEOUT = (2, 0.1)
    if "max_retries" in options:
        standin.answer(CHAT, refusal(503, "No provider"))
    slow = reply(ANSWER)
    standin.answer(CHAT, lambda wire: (wire.is_left(within=0.3), wire.send(slow)))
    assert ask(user, **options) == ["Hi"]


@pytest.mark.parametrize("name", ["api_key", "base_url", "server_url", "http_client", "client"])
def test_options_that_would_move_the_key(user, key, talk, name):
    """What decides where the key goes is not for a site to choose."""
    with pytest.raises(TypeError, match=f"The option {name} is not allowed here, only time"):
        talk(user, **{name: None})


def test_streaming(user, key, standin):
    """Answers can be read while they come in."""
    standin.answer(CHAT, reply(EVENT + b"data: [DONE]\n\n", content_type="text/event-stream"))
    with (
        get_openai_client(user) as client,
        client.chat.completions.create(stream=True, **ASKED) as stream,
    ):
        assert [chunk.choices[0].delta.content for chunk in stream] == ["Hi"]


def test_asynchronous_streaming(user, key, standin):
    """So they can in asynchronous code."""
    standin.answer(CHAT, reply(EVENT + b"data: [DONE]\n\n", content_type="text/event-stream"))

    async def read() -> list[Any]:
        async with await aget_openai_client(user) as client:
            stream = await client.chat.completions.create(stream=True, **ASKED)
            return [chunk.choices[0].delta.content async for chunk in stream]

    assert async_to_sync(read)() == ["Hi"]


@pytest.mark.parametrize("make", [get_openai_client, get_openrouter_client])
@pytest.mark.parametrize("stranger", [None, AnonymousUser()])
def test_strangers_have_no_client(make, stranger):
    """Nobody is not connected."""
    with pytest.raises(NotConnected):
        make(stranger)


def test_unusable_keys(user, key, talk):
    """A rejected or unreadable key makes no client."""
    OpenRouterKey.objects.update(status="rejected")
    with pytest.raises(KeyRejected):
        talk(user)
    OpenRouterKey.objects.update(status="active", owner_hash="")
    with pytest.raises(KeyUnreadable):
        talk(user)


# A dead key


def test_confirmed_401(user, key, standin, talk, rejections, django_capture_on_commit_callbacks):
    """A 401 that ``GET /key`` confirms rejects the key, once; nothing more is sent."""
    standin.minted.clear()
    standin.answer(CHAT, refusal(401, "User not found."))
    with django_capture_on_commit_callbacks(execute=True):
        found = talk(user, times=3)
    assert [isinstance(error, KeyRejected) for error in found] == [True] * 3
    assert [request.path for request in standin.journal] == [CHAT, STATUS]
    key.refresh_from_db()
    assert key.status == "rejected"
    assert rejections == [key]


def test_confirmed_401_is_not_repeated(user, key, standin):
    """Nor does the SDK try again where the site asked it to."""
    standin.minted.clear()
    standin.answer(CHAT, refusal(401, "User not found."))
    (error,) = talk_openai(user, max_retries=5)
    assert isinstance(error, KeyRejected)
    assert error.status_code == 401
    assert [request.path for request in standin.journal] == [CHAT, STATUS]


def test_openrouter_retries_pass_it_on(user, key, standin):
    """A confirmed 401 goes straight through the retries of the ``openrouter`` SDK."""
    patient = openrouter.utils.BackoffStrategy(1, 10, 1.5, 1000)
    standin.minted.clear()
    standin.answer(CHAT, refusal(401, "User not found."))
    retry = openrouter.utils.RetryConfig("backoff", patient, True)
    (error,) = talk_openrouter(user, retry_config=retry)
    assert isinstance(error, KeyRejected)
    assert len(standin.asked(CHAT)) == 1


def test_unconfirmed_401(user, key, standin, talk):
    """T28: a 401 that ``GET /key`` does not confirm is the SDK's own error."""
    standin.answer(CHAT, *[refusal(401, "Provider says no")] * 3, reply(ANSWER))
    *found, last = talk(user, times=4)
    expected = openai.AuthenticationError | errors.UnauthorizedResponseError
    assert all(isinstance(error, expected) for error in found)
    assert last == "Hi"
    assert len(standin.status_checks) == 1
    key.refresh_from_db()
    assert key.status == "active"


@pytest.mark.parametrize("status", [400, 402, 403, 404, 429, 500])
def test_other_statuses_are_not_looked_into(user, key, standin, talk, status):
    """Only a 401 raises the question whether the key is dead."""
    standin.answer(CHAT, refusal(status, "x"))
    (error,) = talk(user)
    assert isinstance(error, openai.APIStatusError | errors.OpenRouterError)
    assert standin.status_checks == []


WAYS: dict[str, tuple[str, Callable[[openai.OpenAI], Any]]] = {
    "raw": ("chat/completions", lambda sdk: sdk.chat.completions.with_raw_response.create(**ASKED)),
    "stream": ("chat/completions", lambda sdk: sdk.chat.completions.create(stream=True, **ASKED)),
    "streamed": (
        "chat/completions",
        lambda sdk: sdk.chat.completions.with_streaming_response.create(**ASKED).__enter__(),
    ),
    "pages": ("models", lambda sdk: list(sdk.models.list())),
    "path": ("anything", lambda sdk: sdk.get("/anything", cast_to=object)),
    "responses": ("responses", lambda sdk: sdk.responses.create(model="m", input="x")),
}


@pytest.mark.parametrize("way", WAYS)
def test_every_way_of_asking_notices(user, key, standin, way):
    """Raw and streamed calls notice a dead key too, and derived clients know of it."""
    path, ask = WAYS[way]
    standin.minted.clear()
    standin.answer(f"/api/v1/{path}", refusal(401, "User not found."))
    with get_openai_client(user) as client:
        with pytest.raises(KeyRejected):
            ask(client.with_options(max_retries=3))
        with pytest.raises(KeyRejected):
            ask(client)
    assert [request.path for request in standin.journal] == [f"/api/v1/{path}", STATUS]


def _stream(user: Any, left: Queue[bool]) -> tuple[Any, bool]:
    with get_openai_client(user) as client:
        ask = partial(client.chat.completions.create, stream=True, **ASKED)
        return attempt(ask), left.get(timeout=10)


@async_to_sync
async def _astream(user: Any, left: Queue[bool]) -> tuple[Any, bool]:
    async with await aget_openai_client(user) as client:
        ask = partial(client.chat.completions.create, stream=True, **ASKED)
        return await attempt_async(ask), await asyncio.to_thread(left.get, timeout=10)


@pytest.mark.parametrize("ask", [_stream, _astream])
def test_the_answer_of_a_dead_key_is_let_go(user, key, standin, ask):
    """A connection with a 401 that nobody reads to its end is closed, not kept for ever."""
    left: Queue[bool] = Queue()

    def play(wire: Wire) -> None:
        wire.send(reply(b"...", status=401, Content_Length=10_000))
        left.put(wire.is_left(within=5))
        wire.hang_up()

    standin.minted.clear()
    standin.answer(CHAT, play)
    error, was_left = ask(user, left)
    assert isinstance(error, KeyRejected)
    assert was_left


def test_it_is_an_error_of_the_sdk(user, key, standin):
    """Code that expects errors of the ``openai`` SDK meets one."""
    standin.minted.clear()
    standin.answer(CHAT, refusal(401, "User not found."))
    (error,) = talk_openai(user)
    assert isinstance(error, openai.OpenAIError)
    assert (error.code, error.stage) == ("key_rejected", "use")
    assert error.row == (key.pk, key.key_hash, key.connected_at)


# Where the key goes


def test_other_origins(user, key, standin, subtests):
    """A URL of another origin is refused before anything is sent."""
    with Standin(host="localhost") as other, get_openai_client(user) as client:
        for url in (
            f"{other.url}/key",
            f"http://127.0.0.1:{other.port}/",
            f"https://127.0.0.1:{standin.port}/api/v1/key",
            f"http://127.0.0.1:{standin.port}@localhost:{other.port}/",
            f"HTTP://LOCALHOST:{other.port}/",
            "https://evil.example/",
        ):
            with subtests.test(url=url), pytest.raises(openai.OpenAIError, match="only talks"):
                client.get(url, cast_to=object)
        assert other.journal == standin.journal == []


@async_to_sync
async def _aget(user: Any, url: str) -> None:
    async with await aget_openai_client(user) as client:
        await client.get(url, cast_to=object)


@async_to_sync
async def _asend(user: Any, url: str) -> None:
    async with await aget_openrouter_client(user) as client:
        await client.chat.send_async(server_url=url, **ASKED)


LEAVING: list[Callable[[Any, str], object]] = [
    lambda user, url: get_openai_client(user).with_options(base_url=url).models.list(),
    lambda user, url: get_openai_client(user).copy(base_url=url).models.list(),
    lambda user, url: get_openrouter_client(user).chat.send(server_url=url, **ASKED),
    _aget,
    _asend,
]


@pytest.mark.parametrize("leave", LEAVING, ids=["with_options", "copy", "server", "get", "asend"])
def test_other_servers(user, key, standin, leave):
    """Nor does a client that is told of another server send anything there."""
    with (
        Standin(host="localhost") as other,
        pytest.raises(ValueError, match="only talks to OpenRouter's API"),
    ):
        leave(user, other.url)
    assert other.journal == standin.journal == []


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_redirects(user, key, standin, talk, status):
    """A redirect is an error and not followed."""
    with Standin(host="localhost") as other:
        standin.answer(CHAT, reply(status=status, Location=f"{other.url}/chat/completions"))
        (failure,) = talk(user)
        assert other.journal == []
    assert isinstance(failure, openai.APIStatusError | errors.OpenRouterError)
    assert len(standin.journal) == 1


def test_redirects_that_the_site_wants(user, key, standin):
    """Nor is one that the site asked the ``openai`` SDK to follow."""
    with Standin(host="localhost") as other, get_openai_client(user) as client:
        standin.answer("/api/v1/x", reply(status=307, Location=f"{other.url}/key"))
        with pytest.raises(openai.APIStatusError):
            client.get("/x", cast_to=object, options={"follow_redirects": True})
        assert other.journal == []


def test_netrc_and_credentials_of_the_site(user, key, standin, talk, tmp_path, monkeypatch):
    """Neither netrc nor the SDKs' own environment variables replace the key or its way."""
    path = tmp_path / "netrc"
    path.write_text("default login me password secret\n")
    path.chmod(0o600)
    monkeypatch.setenv("NETRC", str(path))
    for name in ("OPENAI_API_KEY", "OPENAI_ADMIN_KEY", "OPENROUTER_API_KEY"):
        monkeypatch.setenv(name, "key of the site")
    monkeypatch.setenv("OPENAI_BASE_URL", "http://localhost:9/")
    monkeypatch.setenv("OPENAI_CUSTOM_HEADERS", "Authorization: Bearer of the site")
    talk(user)
    (request,) = standin.journal
    assert request.headers.get_all("Authorization") == [f"Bearer {KEY}"]


def test_credentials_in_a_url(user, key, standin):
    """A user name in a URL does not take the place of the key."""
    with get_openai_client(user) as client:
        url = f"http://me:secret@127.0.0.1:{standin.port}/api/v1/key"
        assert client.get(url, cast_to=object)
    assert standin.journal[0].headers["Authorization"] == f"Bearer {KEY}"


def test_proxy_of_the_environment(user, key, standin, settings, monkeypatch, talk):
    """A proxy of the environment is used."""
    settings.OPENROUTER_AUTH_API_URL = "http://localhost/api/v1"
    monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{standin.port}")
    standin.answer("http://localhost/api/v1/chat/completions", reply(ANSWER))
    assert talk(user) == ["Hi"]


def test_cookies_are_dropped(user, key, standin, talk):
    """No cookie is kept from one call to the next."""
    standin.answer(CHAT, reply(ANSWER, Set_Cookie="a=b"), reply(ANSWER))
    assert talk(user, times=2) == ["Hi", "Hi"]
    assert standin.journal[1].headers["Cookie"] is None


# Trust


def test_certificates(user, key, authority, settings, monkeypatch, talk):
    """Certificates are verified, with the bundle of the environment, which is parsed once."""
    with Standin(authority.context, host="localhost") as secure:
        settings.OPENROUTER_AUTH_API_URL = secure.url
        (failure,) = talk(user)
        assert isinstance(failure, openai.APIConnectionError | httpx.ConnectError)
        assert secure.journal == []
        begin_anew()
        monkeypatch.setenv("SSL_CERT_FILE", str(authority.bundle))
        for _ in range(2):
            secure.answer(CHAT, reply(ANSWER))
            assert talk(user) == ["Hi"]
    assert sdks._trust_store.cache_info().misses == 1


# Connections


@pytest.mark.parametrize("ask", [talk_openai, talk_openrouter])
def test_connections_are_kept(user, key, standin, ask):
    """Clients share the connections of the process, also when one of them was closed."""
    standin.answer(CHAT, *[reply(ANSWER)] * 3)
    assert ask(user) + ask(user, times=2) == ["Hi"] * 3
    assert [request.connection for request in standin.journal] == [1, 1, 1]


@pytest.mark.parametrize("module", [openai_sdk, openrouter_sdk])
def test_connections_are_not_shared_with_a_forked_process(module, monkeypatch):
    """A forked process opens connections of its own: two would mix up their answers."""
    ours = sdks._connections(module.KeyClient, os.getpid())
    assert sdks._connections(module.KeyClient, os.getpid()) is ours
    monkeypatch.setattr(os, "getpid", lambda: -1)
    assert sdks._connections(module.KeyClient, os.getpid()) is not ours


@pytest.mark.parametrize("ask", [atalk_openai, atalk_openrouter])
def test_asynchronous_connections_end_with_their_client(user, key, standin, ask):
    """An asynchronous client keeps its connections to itself and closes them."""
    standin.answer(CHAT, *[reply(ANSWER)] * 3)
    assert ask(user, times=2) + ask(user) == ["Hi"] * 3
    assert [request.connection for request in standin.journal] == [1, 1, 2]


def http_client_of(client: Any) -> Any:
    """Return what an SDK sends with in asynchronous code."""
    return getattr(client, "_client", None) or client.sdk_configuration.async_client


@pytest.mark.parametrize("make", [aget_openai_client, aget_openrouter_client])
def test_forgotten_clients_are_closed(user, key, make):
    """An asynchronous client that nobody closed does not keep its connections open."""
    clients = [async_to_sync(make)(user)]

    async def forget() -> None:
        closed = asyncio.Event()

        async def note() -> None:
            closed.set()

        http_client_of(clients[0])._transport.aclose = note
        clients.clear()
        gc.collect()
        await asyncio.wait_for(closed.wait(), 5)

    async_to_sync(forget)()
    assert not sdks._closing


@pytest.mark.parametrize("make", [aget_openai_client, aget_openrouter_client])
def test_clients_that_outlive_their_loop(user, key, make):
    """Where no event loop runs any more there is nothing left to close, and no noise."""
    client = async_to_sync(make)(user)
    left = weakref.ref(http_client_of(client))
    del client
    gc.collect()
    assert left() is None
    assert not sdks._closing


# What shows


def test_nothing_shows_the_key(user, key, standin, leaks, talk, caplog):
    """No log at DEBUG, no ``repr`` and no attribute in sight holds the key."""
    leaks.plant(key=KEY)
    standin.answer(CHAT, reply(ANSWER))
    assert talk(user) == ["Hi"]
    for client in (get_openai_client(user), get_openrouter_client(user)):
        leaks.search("client", client)
        http_client = http_client_of(client)
        leaks.search("HTTP client", [http_client, vars(http_client)])
        carried = http_client._carried
        leaks.search("carried key", [carried, vars(carried), vars(carried)["_opened"]])
    leaks.search("configuration", vars(get_openrouter_client(user).sdk_configuration))
    assert {record.name for record in leaks.records} & {"httpx", "httpx2"}


FAILURES = [cut(), reset(), cut(reply(ANSWER)[:80]), silence, refusal(500, "x"), refusal(401, "x")]
FAILURE_IDS = ["cut", "reset", "cut-answer", "silence", "500", "401"]


@pytest.mark.parametrize("trouble", FAILURES, ids=FAILURE_IDS)
def test_no_failure_shows_the_key(user, key, standin, settings, leaks, talk, trouble):
    """Nor do exceptions, the frames that they drag along, and error reports."""
    settings.OPENROUTER_AUTH_TIMEOUT = (2, 0.1)
    leaks.plant(key=KEY)
    standin.answer(CHAT, trouble)
    (failure,) = talk(user)
    assert isinstance(failure, Exception)
    leaks.search_exception("call", failure)


BAD = {"X-Bad": "two\nlines"}


@async_to_sync
async def _create_badly(user: Any) -> object:
    async with await aget_openai_client(user) as client:
        return await client.chat.completions.create(extra_headers=BAD, **ASKED)


@async_to_sync
async def _send_badly(user: Any) -> object:
    async with await aget_openrouter_client(user) as client:
        return await client.chat.send_async(http_headers=BAD, **ASKED)


BADLY: list[Callable[[Any], object]] = [
    lambda user: get_openai_client(user).chat.completions.create(extra_headers=BAD, **ASKED),
    lambda user: get_openrouter_client(user).chat.send(http_headers=BAD, **ASKED),
    _create_badly,
    _send_badly,
]


@pytest.mark.parametrize("ask", BADLY, ids=["openai", "openrouter", "openai-async", "async"])
def test_no_refused_header_shows_the_key(user, key, standin, leaks, ask):
    """Nor does a header that cannot be sent: the frames that refuse it hold all headers."""
    leaks.plant(key=KEY)
    failure = attempt(lambda: ask(user))
    assert isinstance(failure, openai.APIConnectionError | httpx.LocalProtocolError)
    assert standin.journal == []
    leaks.search_exception("call", failure)


def test_no_broken_stream_shows_the_key(user, key, standin, leaks: LeakScan):
    """Nor does a stream that breaks off in the middle."""
    leaks.plant(key=KEY)

    def play(wire: Wire) -> None:
        wire.send(reply(EVENT, content_type="text/event-stream", Content_Length=10_000))
        wire.hang_up()

    standin.answer(CHAT, play)
    with get_openai_client(user) as client:
        stream = client.chat.completions.create(stream=True, **ASKED)
        failure = attempt(lambda: list(stream))
    assert isinstance(failure, Exception)
    leaks.search_exception("stream", failure)


def test_debug_logger_of_openrouter(user, key, standin, leaks):
    """The debug logger of the ``openrouter`` SDK, which writes all headers, writes no key."""
    leaks.plant(key=KEY)
    logged: list[str] = []

    class Log:
        def debug(self, msg: str, *args: Any, **kwargs: Any) -> None:
            logged.append(msg % args)

    standin.answer(CHAT, reply(ANSWER))
    talk_openrouter(user, debug_logger=Log())
    assert "Headers" in "".join(logged)
    leaks.search("debug log", logged)


@pytest.mark.parametrize("make", [get_openai_client, async_to_sync(aget_openai_client)])
def test_refused_options_do_not_show_the_key(user, key, leaks, make):
    """Where the SDK refuses an option, its frames hold no key either."""
    leaks.plant(key=KEY)
    refused = attempt(lambda: make(user, max_retries=None))
    assert isinstance(refused, TypeError)
    leaks.search_exception("refused option", refused)


def test_the_key_can_be_handed_on(user, key):
    """``client.api_key`` is the key: other libraries ask for it."""
    assert get_openai_client(user).api_key == KEY


# Extras


@pytest.mark.parametrize(
    ("make", "package", "module"),
    [
        (get_openai_client, "openai", openai_sdk),
        (async_to_sync(aget_openai_client), "openai", openai_sdk),
        (get_openrouter_client, "openrouter", openrouter_sdk),
        (get_openrouter_client, "httpx", openrouter_sdk),
        (async_to_sync(aget_openrouter_client), "openrouter", openrouter_sdk),
    ],
)
def test_missing_package(user, monkeypatch, make, package, module):
    """Where an extra is not installed, the error says what to install."""
    monkeypatch.delitem(sys.modules, module.__name__)
    monkeypatch.setitem(sys.modules, package, None)
    extra = module.__name__.partition(".")[2].removesuffix("_sdk")
    with pytest.raises(ImportError, match=rf"django-openrouter-auth\[{extra}\]"):
        make(user)


def test_another_user(user, other_user, key, standin):
    """Clients of two users, who share connections, each send their own key."""
    standin.minted.append(OTHER_KEY)
    derived = OpenRouterKey.derive(other_user.pk, OTHER_KEY)
    OpenRouterKey.objects.create(user=other_user, connected_at=timezone.now(), **derived)
    standin.answer(CHAT, *[reply(ANSWER)] * 3)
    first, second = get_openai_client(user), get_openai_client(other_user)
    for client in (first, second, first):
        client.chat.completions.create(**ASKED)
    assert [request.headers["Authorization"] for request in standin.journal] == [
        f"Bearer {KEY}",
        f"Bearer {OTHER_KEY}",
        f"Bearer {KEY}",
    ]
