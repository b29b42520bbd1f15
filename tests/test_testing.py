"""What a site's tests are given: users with keys, OpenRouter without network, a leak scan."""

import asyncio
import base64
import logging
import os
import re
import subprocess
import sys
import textwrap
import unittest
from collections.abc import Callable
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.parse import quote

import openai
import openrouter as openrouter_sdk
import pytest
import requests
from asgiref.sync import async_to_sync
from django.contrib import messages
from django.contrib.auth.models import Group, User
from django.core import mail
from django.db.utils import DataError, IntegrityError
from django.http import HttpRequest, HttpResponse, JsonResponse, StreamingHttpResponse
from django.test import AsyncClient, Client, SimpleTestCase, TestCase
from django.urls import include, path

import django_openrouter_auth
from django_openrouter_auth import testing
from django_openrouter_auth.exceptions import KeyRejected, KeyUnreadable
from django_openrouter_auth.models import OpenRouterKey
from django_openrouter_auth.shortcuts import (
    get_api_key,
    get_openai_client,
    get_openrouter_client,
    get_session,
)
from django_openrouter_auth.templatetags.openrouter_auth import has_openrouter_key
from django_openrouter_auth.testing import (
    CODE,
    KEY,
    OTHER_KEY,
    LeakScan,
    OpenRouterTestMixin,
    approve,
    assert_no_leak,
    connect,
    deny,
    make_unreadable,
    reject,
    sdk_calls,
    users,
    watch_leaks,
)
from django_openrouter_auth.testing import openrouter as open_openrouter
from django_openrouter_auth.testing.provider import OpenRouter

from .connecting import API, HINT, outcome, row

ROOT = Path(django_openrouter_auth.__file__).resolve().parent.parent
DOCS = Path(__file__).resolve().parent.parent / "docs" / "reference" / "testing.rst"

# Users with a key


def comparable() -> dict[str, Any]:
    """Return the only key row without what differs from one connection to the next."""
    own = {"id", "secret", "connected_at", "checked_at", "updated_at"}
    return {name: value for name, value in row().items() if name not in own}


def test_stored_row_is_the_one_of_the_flow(user, connected):
    """A row of ``connect`` is the one that going through the flow leaves."""
    of_the_flow = comparable()
    key = connect(user)
    assert comparable() == of_the_flow
    assert key.checked_at is not None
    assert get_api_key(user) == KEY


def test_connect_reads_facts_as_openrouter_tells_them(user):
    """The facts of ``connect`` are those of ``GET /key``."""
    key = connect(user, OTHER_KEY, usage="1.25", limit=10, expires_at="2099-01-01T00:00:00Z")
    assert get_api_key(user) == OTHER_KEY
    assert (float(key.usage or 0), key.limit, key.label) == (1.25, 10, "sk-or-v1-a1b...c3d")
    assert key.expires_at is not None


def test_connect_is_seen_by_the_next_button(user):
    """A user object on which a button looked already shows the new key."""
    assert not has_openrouter_key(user)
    connect(user)
    assert has_openrouter_key(user)


def test_rejected_user(user):
    """A rejected key is refused as after OpenRouter's 401."""
    reject(user)
    with pytest.raises(KeyRejected):
        get_api_key(user)


def test_unreadable_user(user):
    """An unreadable key cannot be decrypted, whatever its status says."""
    key = make_unreadable(user)
    with pytest.raises(KeyUnreadable):
        get_api_key(user)
    with pytest.raises(KeyUnreadable):
        key.secret.reveal()
    assert key.status == OpenRouterKey.Status.UNREADABLE


@pytest.mark.parametrize(
    ("fixture", "status"),
    [
        ("openrouter_connected_user", "active"),
        ("openrouter_rejected_user", "rejected"),
        ("openrouter_unreadable_user", "unreadable"),
    ],
)
def test_users_of_the_fixtures(request, fixture, status):
    """Each user fixture gives a user in that state."""
    assert request.getfixturevalue(fixture).openrouter_key.status == status


@pytest.mark.parametrize(("field", "value"), [("email", "ann@example.org"), ("nickname", "ann")])
def test_users_of_other_models(monkeypatch, field, value):
    """A user model that is known by an address gets one, and another a name."""
    manager = SimpleNamespace(create_user=lambda **values: values)
    model = SimpleNamespace(USERNAME_FIELD=field, EMAIL_FIELD="email", _default_manager=manager)
    monkeypatch.setattr(users, "get_user_model", lambda: model)
    assert users.create_user("ann") == {field: value}


# The flow


def test_approve(client, user, openrouter):
    """Approving at OpenRouter connects, whatever the site is called."""
    client.force_login(user)
    response = approve(client, next="/ok/")
    assert outcome(response) == ("success", "connected")
    assert response["Location"] == "/ok/"
    assert get_api_key(user) == KEY
    assert [body["code"] for body in openrouter.exchanges] == [CODE]


def test_deny(client, user, openrouter):
    """Saying no at OpenRouter connects nothing."""
    client.force_login(user)
    assert outcome(deny(client)) == ("info", "access_denied")
    assert openrouter.calls == []


def test_approve_without_anybody(client, db):
    """Without a signed-in user the helper says what is wrong."""
    with pytest.raises(AssertionError, match="is somebody signed in"):
        approve(client)


# OpenRouter


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


def test_trouble_at_one_path(user, openrouter):
    """Trouble at one path leaves the others alone."""
    connect(user)
    openrouter.fails(402, "Insufficient credits", at="chat/completions")
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


# Leaks

DISGUISES: dict[str, Callable[[str], str]] = {
    "plain": lambda key: key,
    "base64": lambda key: base64.b64encode(f"key={key}!".encode()).decode(),
    "base64 of a header": lambda key: base64.urlsafe_b64encode(f"Bearer {key}".encode()).decode(),
    "hex": lambda key: key.encode().hex(),
    "upper hex": lambda key: key.encode().hex().upper(),
    "quoted": lambda key: quote(f"{key} "),
    "quoted all over": lambda key: "".join(f"%{byte:02X}" for byte in key.encode()),
    "first half": lambda key: key[:40],
    "second half": lambda key: key[-40:],
}


def give(request: HttpRequest, place: str, disguise: str) -> HttpResponse:
    """Show, log, send or keep the user's key in a place where it must not be."""
    secret = DISGUISES[disguise](get_api_key(request.user))
    response = HttpResponse("Hello")
    if place == "body":
        response = JsonResponse({"items": [{"token": secret}]})
    elif place == "header":
        response["X-Debug"] = secret
    elif place == "cookie":
        response.set_cookie("last", secret)
    elif place == "messages":
        messages.info(request, f"Your key is {secret}.")
    elif place == "session":
        request.session["key"] = secret
    elif place == "log":
        logging.getLogger("chat").debug("asking with %s", secret)
    elif place == "mail":
        mail.outbox.append(mail.EmailMessage("Your key", f"Schön, dass Sie da sind: {secret}"))
    elif place == "SQL":
        Group.objects.filter(name=secret).exists()
    elif place == "redirect":
        response = HttpResponse(status=302, headers={"Location": f"/?key={secret}"})
    return response


def crash(request: HttpRequest) -> HttpResponse:
    """Fail with the key in a local variable."""
    api_key = get_api_key(request.user)
    raise ValueError(len(api_key))


def stream(request: HttpRequest) -> StreamingHttpResponse:
    """Stream the key."""
    return StreamingHttpResponse(iter([b"key: ", get_api_key(request.user).encode()]))


urlpatterns = [
    path("give/<str:place>/<str:disguise>/", give),
    path("crash/", crash),
    path("stream/", stream),
    path("", include("tests.urls")),
]

PLACES = {
    "nothing": None,
    "body": "body of GET",
    "header": "header X-Debug of GET",
    "cookie": "cookie last of GET",
    "messages": "messages of GET",
    "session": "stored session",
    "log": "log of chat",
    "mail": "mail",
    "SQL": "SQL",
    "redirect": "header Location of GET",
}


@pytest.fixture
def visitor(openrouter_connected_user: User, client: Client) -> Client:
    """The browser of a connected user, on a site that leaks."""
    client.force_login(openrouter_connected_user)
    return client


@pytest.mark.urls(__name__)
@pytest.mark.parametrize("disguise", DISGUISES)
@pytest.mark.parametrize("place", PLACES)
def test_watch_finds_a_leak(visitor, place, disguise):
    """A leak is found in each place and in each disguise; without one nothing is found."""

    def visit() -> None:
        with watch_leaks():
            visitor.get(f"/give/{place}/{disguise}/")

    if place == "nothing":
        visit()
        return
    with pytest.raises(AssertionError, match=f"KEY in {PLACES[place]}") as caught:
        visit()
    assert KEY not in str(caught.value)


@pytest.mark.urls(__name__)
def test_watch_finds_a_key_in_an_error_report(visitor):
    """Django's error report, with the local variables, is searched."""

    def visit() -> None:
        visitor.raise_request_exception = False
        with watch_leaks():
            assert visitor.get("/crash/").status_code == 500

    with pytest.raises(AssertionError, match="KEY in error report"):
        visit()


@pytest.mark.urls(__name__)
def test_watch_finds_any_stored_key(visitor, openrouter_connected_user, other_user):
    """A key that only the database knows is looked for, and unreadable ones are no obstacle."""
    connect(openrouter_connected_user, "sk-or-v1-" + "7" * 64)
    make_unreadable(other_user)

    def visit() -> None:
        with watch_leaks():
            visitor.get("/give/body/plain/")

    with pytest.raises(AssertionError, match=r"key of user \d+ in body"):
        visit()


def test_watch_finds_the_key_of_the_site(client, settings):
    """The site's own key is looked for."""
    settings.OPENROUTER_AUTH_SITE_KEY = "sk-or-v1-" + "8" * 64

    def show() -> None:
        with watch_leaks(databases=()):
            logging.getLogger("chat").info("site key: %s", settings.OPENROUTER_AUTH_SITE_KEY)

    with pytest.raises(AssertionError, match="SITE_KEY in log of chat"):
        show()


@pytest.mark.urls(__name__)
@pytest.mark.django_db(transaction=True)
def test_watch_follows_asynchronous_clients(openrouter_connected_user):
    """What an asynchronous client got is searched."""

    def visit() -> None:
        browser = AsyncClient()
        browser.force_login(openrouter_connected_user)
        with watch_leaks():
            async_to_sync(browser.get)("/give/body/plain/")

    with pytest.raises(AssertionError, match="KEY in body of GET /give/body/plain/"):
        visit()


@pytest.mark.urls(__name__)
def test_watch_leaves_streams_to_their_readers(visitor):
    """A stream can still be read; it is searched where it is handed over."""
    with watch_leaks():
        response = visitor.get("/stream/")
        assert b"".join(response).endswith(KEY.encode())
    with pytest.raises(AssertionError, match="KEY in body of the answer"):
        assert_no_leak(visitor.get("/stream/"))


def test_watch_makes_no_logger_louder(caplog):
    """Records that nobody asked for are searched and go no further."""
    with watch_leaks(databases=()) as leaks:
        logging.getLogger("chat").debug("quiet")
        logging.getLogger("chat").warning("loud")
    assert [record.getMessage() for record in leaks.records] == ["quiet", "loud"]
    assert [record.getMessage() for record in caplog.records] == ["loud"]


def test_watch_after_a_broken_transaction(user, db):
    """A transaction that can answer no more is left alone; all the rest is searched."""

    def break_it() -> None:
        with watch_leaks():
            with pytest.raises((IntegrityError, DataError)):
                User.objects.create(pk=user.pk, username=user.username)
            logging.getLogger("chat").info(KEY)

    with pytest.raises(AssertionError, match="KEY in log"):
        break_it()


def test_watch_lets_the_error_of_the_block_through(db):
    """A block that fails is said to fail for its own reason."""

    def fail() -> None:
        with watch_leaks():
            logging.getLogger("chat").info(KEY)
            raise LookupError("own reason")

    with pytest.raises(LookupError, match="own reason"):
        fail()


@pytest.mark.urls(__name__)
@pytest.mark.parametrize("disguise", DISGUISES)
@pytest.mark.parametrize("place", ["body", "header", "cookie", "messages", "session", "mail"])
def test_assertion_finds_a_leak(visitor, place, disguise):
    """The assertion finds what an answer leaves behind: there, in sessions and in mail."""
    response = visitor.get(f"/give/{place}/{disguise}/")
    with pytest.raises(AssertionError, match=r"KEY in .*") as caught:
        assert_no_leak(response)
    assert KEY not in str(caught.value)


def test_assertion_takes_any_answer(db, client):
    """An answer that came by no client is searched, and a client without a session is left so."""
    assert_no_leak(HttpResponse("clean"))
    assert_no_leak(client.get("/openrouter/status/"))
    assert "sessionid" not in client.cookies
    with pytest.raises(AssertionError, match="KEY in body of the answer"):
        assert_no_leak(HttpResponse(KEY))


@pytest.mark.parametrize(
    "thing",
    [f"text with {KEY}", KEY.encode(), {"key": [KEY]}, ValueError(KEY), OTHER_KEY],
    ids=["text", "bytes", "object", "exception", "other key"],
)
def test_assertion_looks_into_anything(db, thing):
    """The assertion looks into texts, bytes, exceptions and objects."""
    with pytest.raises(AssertionError, match="A secret leaked"):
        assert_no_leak(thing)


def test_assertion_looks_for_other_secrets(db):
    """A test may look for secrets of its own."""
    assert_no_leak("verifier-of-mine")
    with pytest.raises(AssertionError, match="secret 1 in str"):
        assert_no_leak("verifier-of-mine", secrets=["verifier-of-mine"])


@pytest.mark.parametrize("encode", [base64.b64encode, base64.urlsafe_b64encode])
def test_both_alphabets_of_base64(db, encode):
    """A secret whose base64 differs between the two alphabets is found in both."""
    secret = "verifier~~~of~~~mine"
    with pytest.raises(AssertionError, match="secret 1 in bytes"):
        assert_no_leak(encode(secret.encode()), secrets=[secret])


def test_assertion_finds_causes(db):
    """An exception that was raised from one with a key is no better."""
    error = ValueError("clean")
    error.__cause__ = KeyError(KEY)
    with pytest.raises(AssertionError, match="exception in the exception"):
        assert_no_leak(error)


def test_mask_is_no_leak(browser, connected):
    """The pages of this package, which show the mask, leak nothing."""
    page = browser.get("/openrouter/")
    assert HINT in page.content.decode()
    assert_no_leak(page)


def test_followed_redirects_are_searched(browser, db):
    """A redirect that was followed is searched, although only the last answer is left."""
    page = browser.get("/", follow=True)
    page.redirect_chain = [(f"/?key={KEY}", 302)]
    with pytest.raises(AssertionError, match="KEY in redirects"):
        assert_no_leak(page)


def test_site_without_sessions(db, settings):
    """A site without the app of sessions is searched all the same."""
    settings.DEBUG = True  # for the sandbox, which the test site has
    gone = {"django.contrib.sessions", "django.contrib.admin"}
    settings.INSTALLED_APPS = [name for name in settings.INSTALLED_APPS if name not in gone]
    assert_no_leak("clean")


def test_sessions_of_other_databases_are_left_alone(db):
    """A table in a database that the test may not use is not asked."""
    scan = LeakScan()
    scan.plant_keys()
    scan.search_sessions(databases=())
    assert scan.found == []


@pytest.mark.usefixtures("openrouter_leaks")
def test_fixture_lets_a_whole_connection_pass(client, user, openrouter):
    """Connecting, using, looking and disconnecting leaks no key."""
    client.force_login(user)
    approve(client)
    openrouter.answers("Fine.")
    get_session(user).post("chat/completions", json={})
    for page in ("", "status/", "disconnect/"):
        client.get(f"/openrouter/{page}")
    client.post("/openrouter/disconnect/")


# Test cases


class MixinTests(OpenRouterTestMixin, TestCase):
    def test_openrouter_answers(self):
        """A test case has OpenRouter without any more ado."""
        user = User.objects.create_user("ann")
        connect(user)
        self.openrouter.answers("Fine.")
        assert get_session(user).post("chat/completions").ok
        assert self.openrouter_leaks.records

    def test_calls_are_its_own(self):
        """Each test begins without calls."""
        assert self.openrouter.calls == []


class SimpleMixinTests(OpenRouterTestMixin, SimpleTestCase):
    def test_no_database_is_needed(self):
        """A test case without database is searched without it."""
        assert requests.get(f"{API}/key", timeout=1).ok


def test_leak_fails_a_test_case():
    """A test case during which a key leaks fails, and names the place."""

    class LeakyTests(OpenRouterTestMixin, SimpleTestCase):
        def test_leak(self):
            logging.getLogger("chat").info(KEY)

    result = unittest.TestResult()
    unittest.defaultTestLoader.loadTestsFromTestCase(LeakyTests).run(result)
    [(_, report)] = result.failures + result.errors
    assert "KEY in log of chat" in report


# The plugin


def python(*arguments: str, folder: Path, interpreter: str = sys.executable) -> str:
    """Run Python in a folder, with this package and no settings; return what it printed."""
    kept = {name: value for name, value in os.environ.items() if "DJANGO" not in name}
    where = {} if interpreter != sys.executable else {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [interpreter, *arguments],
        cwd=folder,
        env={name: value for name, value in kept.items() if name != "PYTHONPATH"} | where,
        capture_output=True,
        text=True,
        check=False,
    )
    return f"{done.stdout}{done.stderr}\nexit {done.returncode}"


def test_plugin_imports_nothing(tmp_path):
    """A run of pytest that uses no fixture pays for no import."""
    script = """
        import sys, pytest
        before = set(sys.modules)
        import django_openrouter_auth.pytest_plugin
        print(sorted(set(sys.modules) - before))
    """
    printed = python("-c", textwrap.dedent(script), folder=tmp_path)
    assert "['django_openrouter_auth', 'django_openrouter_auth.pytest_plugin']" in printed


PLUGIN = ("-p", "django_openrouter_auth.pytest_plugin")
BARE = ("-m", "pytest", "-W", "error", "-p", "no:django", "-p", "no:cacheprovider")


def test_plugin_without_django(tmp_path):
    """A run without settings, without pytest-django and without Django's models goes on."""
    (tmp_path / "test_it.py").write_text("def test_it():\n    pass\n")
    printed = python(*BARE, *PLUGIN, folder=tmp_path)
    assert "1 passed" in printed
    listed = python(*BARE, *PLUGIN, "--fixtures", folder=tmp_path)
    assert "openrouter_leaks" in listed


def test_plugin_is_registered_once(request):
    """The plugin is there once, however it was asked for."""
    manager = request.config.pluginmanager
    name = "django_openrouter_auth.pytest_plugin"
    assert [
        key for key, plugin in manager.list_name_plugin() if "openrouter" in key and plugin
    ] == [name]


def test_every_fixture_begins_with_our_name_and_is_described():
    """The table of fixtures is complete, and no name can surprise a site."""
    from django_openrouter_auth import pytest_plugin

    public = [
        name for name, item in vars(pytest_plugin).items() if hasattr(item, "_get_wrapped_function")
    ]
    described = re.findall(r"\* - ``(\w+)``\n     - ", DOCS.read_text())
    assert sorted(public) == sorted(described)
    assert all(name.startswith("openrouter") for name in public)


def test_every_helper_is_described():
    """Every public name of ``testing`` is on its page."""
    text = DOCS.read_text()
    described = set(re.findall(r"auto(?:function|class):: (\w+)", text)) - {"OpenRouter", "Call"}
    assert described | {"KEY", "OTHER_KEY", "CODE"} == set(testing.__all__)
    (members,) = re.findall(r"autoclass:: OpenRouter\(\)\n   :members: (.+)", text)
    public = {name for name in vars(OpenRouter) if not name.startswith("_")}
    assert set(members.split(", ")) == public - {"find_trouble", "find_answer"}


# A site

SETTINGS = """
SECRET_KEY = "only-for-tests-" + "0123456789" * 4
DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}}
INSTALLED_APPS = [
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django_openrouter_auth",
]
MIDDLEWARE = [
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
]
TEMPLATES = [{"BACKEND": "django.template.backends.django.DjangoTemplates", "APP_DIRS": True}]
ROOT_URLCONF = "urls"
"""
URLS = """
from django.urls import include, path

from chat.views import ask

urlpatterns = [path("ask/", ask), path("openrouter/", include("django_openrouter_auth.urls"))]
"""
PYTEST = """
[pytest]
DJANGO_SETTINGS_MODULE = settings
python_files = tests.py test_*.py
pythonpath = .
filterwarnings = error
"""
LEAKS = """
import logging

from django.contrib.auth.models import User
from django.http import JsonResponse
from django.test import TestCase

from django_openrouter_auth.shortcuts import get_api_key
from django_openrouter_auth.testing import OpenRouterTestMixin, connect


def test_leak(client, openrouter_connected_user, openrouter_leaks, monkeypatch):
    logging.getLogger("chat").info("key: %s", get_api_key(openrouter_connected_user))


class LeakTests(OpenRouterTestMixin, TestCase):
    def test_leak(self):
        connect(user := User.objects.create_user("ann"))
        logging.getLogger("chat").info("key: %s", get_api_key(user))
"""


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """The site of the documentation's example, in a folder of its own."""
    (tmp_path / "settings.py").write_text(SETTINGS)
    (tmp_path / "urls.py").write_text(URLS)
    (tmp_path / "pytest.ini").write_text(PYTEST)
    (tmp_path / "manage.py").write_text(
        "import os, sys\n"
        'os.environ["DJANGO_SETTINGS_MODULE"] = "settings"\n'
        "from django.core.management import execute_from_command_line\n"
        "execute_from_command_line(sys.argv)\n"
    )
    (tmp_path / "chat").mkdir()
    (tmp_path / "chat" / "__init__.py").touch()
    for text in re.findall(r"code-block:: python\n\n((?:   .*\n|\n)+)", DOCS.read_text()):
        block = textwrap.dedent(text)
        (tmp_path / block.splitlines()[0].removeprefix("# ")).write_text(block)
    return tmp_path


def test_documented_example(site):
    """The example of the documentation passes, with pytest and with Django's test runner."""
    assert "9 passed" in python("-m", "pytest", *PLUGIN, "-q", folder=site)
    ran = python("-W", "error", "manage.py", "test", "chat", "--pattern", "tests.py", folder=site)
    assert "Ran 5 tests" in ran
    assert ran.endswith("exit 0")


def test_leaks_fail_in_a_site(site):
    """A leak fails the test of a site, with the fixture and with the mixin."""
    (site / "chat" / "test_leaks.py").write_text(LEAKS)
    printed = python("-m", "pytest", *PLUGIN, "-q", "chat/test_leaks.py", folder=site)
    assert printed.count("AssertionError: A secret leaked: KEY in log of chat") >= 2
    assert printed.endswith("exit 1")


@pytest.fixture(scope="session")
def site_python(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The Python of an environment with the wheel, its extra, pytest and pytest-django."""
    folder = tmp_path_factory.mktemp("testing") / "environment"
    subprocess.run([sys.executable, "-m", "venv", folder], check=True)
    interpreter = str(folder / "bin" / "python")
    install = [interpreter, "-m", "pip", "install", "-qq", "--disable-pip-version-check"]
    wanted = [f"{wheel}[testing]", "pytest", "pytest-django"]
    subprocess.run([*install, *wanted], check=True)
    return interpreter


@pytest.mark.packaging
def test_example_with_the_wheel(site, site_python):
    """With the wheel installed the example passes without a word about the plugin."""
    assert "9 passed" in python("-m", "pytest", "-q", folder=site, interpreter=site_python)
    # Asked for by name as well, it is still there once.
    named = python("-m", "pytest", *PLUGIN, "-q", folder=site, interpreter=site_python)
    assert "9 passed" in named


@pytest.mark.packaging
def test_leak_with_the_wheel(site, site_python):
    """With the wheel installed a deliberate leak fails, in both worlds."""
    (site / "chat" / "test_leaks.py").write_text(LEAKS)
    arguments = ("-m", "pytest", "-q", "chat/test_leaks.py")
    printed = python(*arguments, folder=site, interpreter=site_python)
    assert printed.count("AssertionError: A secret leaked: KEY in log of chat") >= 2
    assert printed.endswith("exit 1")
