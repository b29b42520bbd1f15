"""A key in use: a session's promises about a dead key, the site's key, and asynchronous code."""

import asyncio
import pprint
import threading
from collections.abc import Awaitable, Iterator
from datetime import timedelta
from typing import Any

import pytest
from asgiref.sync import async_to_sync
from django.contrib.auth.models import AnonymousUser, User
from django.utils import timezone

from django_openrouter_auth import client, keys
from django_openrouter_auth.exceptions import (
    KeyRejected,
    KeyUnreadable,
    Misconfigured,
    NotConnected,
)
from django_openrouter_auth.models import OpenRouterKey
from django_openrouter_auth.shortcuts import (
    aget_api_key,
    aget_openai_client,
    aget_openrouter_client,
    aresolve_api_key,
    get_openai_client,
    get_session,
    resolve_api_key,
)
from django_openrouter_auth.signals import key_rejected

from .calling import ASKED, CHAT, attempt
from .connecting import KEY
from .standin import STATUS, refusal

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("pools", "thread_pool")]

SITE_KEY = "sk-or-v1-" + "5" * 64


@pytest.fixture
def thread_pool() -> Iterator[None]:
    """The sessions' connections of this thread, closed when the test ends."""
    vars(client._per_thread).clear()
    yield
    client.of_this_thread(client.OpenRouterAdapter).close()
    vars(client._per_thread).clear()


# A session and a dead key


def test_two_sessions_tell_once(user, key, standin, rejections, django_capture_on_commit_callbacks):
    """Two sessions that meet the same dead key ask once, tell once, and both raise."""
    standin.minted.clear()
    standin.answer(CHAT, *[refusal(401, "User not found.")] * 2)
    first, second = get_session(user), get_session(user)
    with django_capture_on_commit_callbacks(execute=True):
        for session in (first, second, first, second):
            with pytest.raises(KeyRejected):
                session.post("chat/completions", json={})
    assert [request.path for request in standin.journal] == [CHAT, STATUS, CHAT]
    key.refresh_from_db()
    assert key.status == "rejected"
    assert rejections == [key]


def test_session_and_client_tell_once(
    user, key, standin, rejections, django_capture_on_commit_callbacks
):
    """So do a session and a client of an SDK."""
    standin.minted.clear()
    standin.answer(CHAT, *[refusal(401, "User not found.")] * 2)
    session, sdk = get_session(user), get_openai_client(user)
    with django_capture_on_commit_callbacks(execute=True):
        with pytest.raises(KeyRejected):
            session.post("chat/completions", json={})
        with pytest.raises(KeyRejected):
            sdk.chat.completions.create(**ASKED)
    assert len(standin.status_checks) == 1
    assert rejections == [key]


def test_receivers_of_key_rejected(user, key, standin, django_capture_on_commit_callbacks):
    """A receiver that raises spoils nothing, and what it is told holds no key."""
    told: list[dict[str, Any]] = []

    def listen(**facts: Any) -> None:
        told.append(facts)
        raise RuntimeError("receiver")

    key_rejected.connect(listen)
    standin.minted.clear()
    standin.answer(CHAT, refusal(401, "User not found."))
    with django_capture_on_commit_callbacks(execute=True), pytest.raises(KeyRejected):
        get_session(user).post("chat/completions", json={})
    key_rejected.disconnect(listen)
    (facts,) = told
    assert (facts["user"], facts["key"], facts["sender"]) == (user, key, OpenRouterKey)
    assert "secret" not in vars(facts["key"])


def test_unconfirmed_401s_are_asked_about_twice_a_minute(user, key, standin, monkeypatch):
    """A site that goes on after 401s does not double its requests: one question in 30 seconds."""
    standin.answer(CHAT, *[refusal(401, "Provider says no")] * 8)
    session = get_session(user)
    for _ in range(4):
        assert session.post("chat/completions", json={}).status_code == 401
    assert len(standin.status_checks) == 1
    later = timezone.now() + timedelta(seconds=31)
    monkeypatch.setattr(timezone, "now", lambda: later)
    for another in (session, get_session(user), session):
        assert another.post("chat/completions", json={}).status_code == 401
    assert len(standin.status_checks) == 2
    key.refresh_from_db()
    assert key.status == "active"


def test_session_after_a_disconnect(user, key, standin):
    """After the user has disconnected a 401 means the same, and nothing is written down."""
    session = get_session(user)
    OpenRouterKey.objects.all().delete()
    standin.answer(CHAT, *[refusal(401, "User not found.")] * 2)
    assert session.post("chat/completions", json={}).status_code == 401
    standin.minted.clear()
    with pytest.raises(KeyRejected):
        session.post("chat/completions", json={})
    assert not OpenRouterKey.objects.exists()


def test_rejected_stream(user, key, standin):
    """A dead key is noticed on a call that was to be a stream, too."""
    standin.minted.clear()
    standin.answer(CHAT, refusal(401, "User not found."))
    with pytest.raises(KeyRejected):
        get_session(user).post("chat/completions", json={}, stream=True)


# The site's key


def test_own_key_comes_first(user, key, settings):
    """A user's own key is used, and the site's is not even looked up."""
    settings.OPENROUTER_AUTH_SITE_KEY = lambda: pytest.fail("looked up")
    assert resolve_api_key(user) == (KEY, "user")


@pytest.mark.parametrize("configured", [SITE_KEY, lambda: SITE_KEY], ids=["string", "callable"])
@pytest.mark.parametrize("who", ["user", "anonymous", "nobody", "unsaved"])
def test_site_key(user, settings, configured, who):
    """Who has no key gets the site's, where there is one."""
    people = {"user": user, "anonymous": AnonymousUser(), "nobody": None, "unsaved": User()}
    settings.OPENROUTER_AUTH_SITE_KEY = configured
    found = resolve_api_key(people[who])
    assert (found.api_key, found.source) == (SITE_KEY, "site")


@pytest.mark.parametrize(
    "configured",
    [None, "", "short", 7, lambda: None, lambda: ""],
    ids=["none", "empty", "short", "number", "callable-none", "callable-empty"],
)
def test_no_site_key(user, settings, configured):
    """Without a usable setting, or where the callable has none to give, nobody has a key."""
    settings.OPENROUTER_AUTH_SITE_KEY = configured
    with pytest.raises(NotConnected):
        resolve_api_key(user)


@pytest.mark.parametrize(
    "returned", ["short", 7, b"x" * 40, SITE_KEY + "\n", [SITE_KEY], False], ids=ascii
)
def test_unusable_site_key(user, settings, leaks, returned):
    """A callable that returns something else is named as the mistake, without what it returned."""
    leaks.plant(site_key=SITE_KEY)
    settings.OPENROUTER_AUTH_SITE_KEY = lambda: returned
    mistake = attempt(lambda: resolve_api_key(user))
    assert isinstance(mistake, Misconfigured)
    assert mistake.stage == "use"
    leaks.search_exception("resolve_api_key", mistake)


def test_failing_site_key(user, settings):
    """An exception of the callable is the site's own, and comes through."""

    def fail() -> str:
        raise RuntimeError("vault is sealed")

    settings.OPENROUTER_AUTH_SITE_KEY = fail
    with pytest.raises(RuntimeError, match="vault is sealed"):
        resolve_api_key(user)


@pytest.mark.parametrize(
    ("spoiled", "expected"),
    [({"status": "rejected"}, KeyRejected), ({"owner_hash": ""}, KeyUnreadable)],
    ids=["rejected", "unreadable"],
)
def test_no_silent_fall_back(user, key, settings, spoiled, expected):
    """Whose own key was rejected or cannot be read is told so: the site does not pay instead."""
    settings.OPENROUTER_AUTH_SITE_KEY = lambda: pytest.fail("looked up")
    OpenRouterKey.objects.update(**spoiled)
    with pytest.raises(expected):
        resolve_api_key(user)
    with pytest.raises(expected):
        async_to_sync(aresolve_api_key)(user)


def test_site_key_in_asynchronous_code(user, settings):
    """``aresolve_api_key`` finds the same."""
    settings.OPENROUTER_AUTH_SITE_KEY = SITE_KEY
    assert async_to_sync(aresolve_api_key)(user) == resolve_api_key(user) == (SITE_KEY, "site")


def test_resolved_key_shows_nothing(user, key, leaks):
    """The text of what was found hides the key, however it is made."""
    leaks.plant(key=KEY)
    found = resolve_api_key(user)
    for text in (str(found), repr(found), f"{found}", f"{found!r}", f"{found:}", f"{found!s}"):
        leaks.search("text", text)
        assert "user" in text
    leaks.search("text", pprint.pformat([found]))
    api_key, source = found
    assert (api_key, source) == (KEY, "user")


# Asynchronous code


class Wait:
    """A step in another thread that ends only when the event loop has turned meanwhile."""

    def __init__(self) -> None:
        self.began, self.turned = asyncio.Event(), threading.Event()

    def __call__(self) -> bool:
        """Take the step; return whether the loop turned."""
        self.loop.call_soon_threadsafe(self.began.set)
        return self.turned.wait(5)

    async def during(self, work: Awaitable[Any]) -> Any:
        """Do what takes the step, and turn the loop meanwhile."""
        self.loop = asyncio.get_running_loop()
        task = asyncio.ensure_future(work)
        await asyncio.wait_for(self.began.wait(), 10)
        self.turned.set()
        return await task


@pytest.mark.parametrize(
    "ask", [aget_api_key, aresolve_api_key, aget_openai_client, aget_openrouter_client]
)
def test_the_event_loop_turns_meanwhile(user, key, monkeypatch, ask):
    """While the database is asked for a key, other requests of the process are served."""
    wait = Wait()

    def slow_rows() -> Any:
        assert wait()
        return OpenRouterKey.objects

    monkeypatch.setattr(keys, "key_rows", slow_rows)
    assert async_to_sync(wait.during)(ask(user))


def test_the_event_loop_turns_while_a_401_is_confirmed(user, key, standin):
    """So they are while OpenRouter is asked whether a key is dead."""
    wait = Wait()
    standin.answer(CHAT, refusal(401, "User not found."))
    standin.answer(STATUS, lambda wire: wire.send(refusal(401 if wait() else 500, "x")))

    async def call() -> None:
        async with await aget_openai_client(user) as sdk:
            await wait.during(sdk.chat.completions.create(**ASKED))

    with pytest.raises(KeyRejected):
        async_to_sync(call)()
