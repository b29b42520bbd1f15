"""The search for keys: what it finds, and what it leaves alone."""

import base64
import logging
from collections.abc import Callable
from urllib.parse import quote

import pytest
from asgiref.sync import async_to_sync
from django.contrib import messages
from django.contrib.auth.models import Group, User
from django.core import mail
from django.db.utils import DataError, IntegrityError
from django.http import HttpRequest, HttpResponse, JsonResponse, StreamingHttpResponse
from django.test import AsyncClient, Client
from django.urls import include, path

from django_openrouter_auth.shortcuts import get_api_key, get_session
from django_openrouter_auth.testing import (
    KEY,
    OTHER_KEY,
    LeakScan,
    approve,
    assert_no_leak,
    connect,
    make_unreadable,
    watch_leaks,
)

from ..connecting import HINT

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


def test_watch_finds_a_key_that_the_site_computes(settings):
    """So is one that a callable returns."""
    settings.OPENROUTER_AUTH_SITE_KEY = lambda: "sk-or-v1-" + "8" * 64

    def show() -> None:
        with watch_leaks(databases=()):
            logging.getLogger("chat").info("site key: %s", settings.OPENROUTER_AUTH_SITE_KEY())

    with pytest.raises(AssertionError, match="SITE_KEY in log of chat"):
        show()


@pytest.mark.parametrize(
    "unusable", [lambda: 1 // 0, lambda: None, lambda: 7], ids=["fails", "none", "number"]
)
def test_watch_goes_on_without_a_site_key(settings, unusable):
    """A callable that fails or returns no key is no obstacle."""
    settings.OPENROUTER_AUTH_SITE_KEY = unusable
    with watch_leaks(databases=()) as leaks:
        pass
    assert set(leaks.planted) == {"KEY", "OTHER_KEY"}


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


def _chain(error: Exception, **links: Exception) -> Exception:
    for name, link in links.items():
        setattr(error, f"__{name}__", link)
    return error


@pytest.mark.parametrize(
    "error",
    [
        _chain(ValueError("clean"), cause=KeyError(KEY)),
        _chain(ValueError("clean"), context=KeyError(KEY)),
        _chain(ValueError("clean"), context=KeyError(KEY), cause=KeyError("clean")),
        ExceptionGroup("clean", [ValueError("clean"), KeyError(KEY)]),
    ],
    ids=["cause", "context", "both", "group"],
)
def test_assertion_finds_what_is_behind_an_exception(db, error):
    """An exception that comes from one with a key, or holds one, is no better."""
    with pytest.raises(AssertionError, match="KEY in exception in the exception"):
        assert_no_leak(error)


class Unwritable:
    """Like a queryset that needs a transaction which is over."""

    def __repr__(self):
        raise RuntimeError


def test_locals_that_cannot_be_written(db):
    """An object in a frame whose ``repr`` fails hides no secret beside it, and fails no search."""
    source = "def fail(broken, secret):\n    raise KeyError"
    names = {"__name__": "shop.views"}
    exec(source, names)
    with pytest.raises(KeyError) as caught:
        names["fail"](Unwritable(), KEY)
    scan = LeakScan()
    scan.plant_keys()
    scan.search_exception("the exception", caught.value)
    assert scan.found == ["KEY in frame fail in the exception"]


def test_exceptions_that_go_round_in_circles(db):
    """An exception that is its cause's cause is looked at once."""
    error = ValueError("clean")
    _chain(error, cause=_chain(KeyError("clean"), cause=error))
    assert_no_leak(error)


@pytest.mark.parametrize("head", [{"reason": KEY}, {"headers": {KEY: "1"}}])
def test_assertion_looks_at_the_head(db, head):
    """The reason in the status line and the names of headers are searched."""
    with pytest.raises(AssertionError, match=r"KEY in (status line|header)") as caught:
        assert_no_leak(HttpResponse("clean", **head))
    assert KEY not in str(caught.value)


@pytest.mark.urls(__name__)
def test_places_hide_the_key(visitor):
    """A place whose own name holds the key is named without it."""

    def visit() -> None:
        with watch_leaks():
            visitor.get("/openrouter/", {"key": KEY}, headers={"X-Key": KEY})
            logging.getLogger(f"chat.{KEY}").info("asking with %s", KEY)

    with pytest.raises(AssertionError, match=r"KEY in log of chat\.\(secret\)") as caught:
        visit()
    assert KEY not in str(caught.value)


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
