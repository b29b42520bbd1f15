"""Requiring a key: what visitors without one are answered, and how they come back."""

import re
from collections.abc import Callable
from html import unescape
from inspect import isawaitable
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import pytest
from asgiref.sync import async_to_sync
from django.conf.urls.i18n import i18n_patterns
from django.contrib.auth.models import AnonymousUser, User
from django.contrib.messages import get_messages
from django.db import connection, connections, transaction
from django.db.backends.sqlite3.base import DatabaseWrapper
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.template import engines
from django.template.response import TemplateResponse
from django.test import AsyncClient, Client
from django.test.utils import CaptureQueriesContext
from django.urls import include, path, re_path, set_script_prefix
from django.utils.decorators import method_decorator
from django.views.decorators.cache import cache_page
from django.views.generic import TemplateView, View

from django_openrouter_auth.decorators import openrouter_key_required
from django_openrouter_auth.exceptions import (
    KeyRejected,
    KeyUnreadable,
    NotConnected,
    ProviderUnavailable,
)
from django_openrouter_auth.fields import SealedKey
from django_openrouter_auth.keys import show_key
from django_openrouter_auth.mixins import OpenRouterKeyRequiredMixin
from django_openrouter_auth.models import OpenRouterKey
from django_openrouter_auth.shortcuts import aget_api_key, get_api_key, get_session
from django_openrouter_auth.signals import key_rejected

from .connecting import API, CODE

MIDDLEWARE = "django_openrouter_auth.middleware.OpenRouterKeyRequiredMiddleware"
LOGIN_REQUIRED = "django.contrib.auth.middleware.LoginRequiredMiddleware"

JSON = {"Accept": "application/json"}
HTMX = {"HX-Request": "true"}
SCRIPT = {"Accept": "*/*", "Sec-Fetch-Dest": "empty"}


# A site's views


def asking(request):
    """Write something, and then call OpenRouter."""
    User.objects.create_user("written")
    get_session(request.user).post("chat/completions", json={})
    return HttpResponse("in")


@openrouter_key_required
def function(request):
    """Greet who is let in."""
    return HttpResponse("in")


@openrouter_key_required
async def async_function(request):
    """Greet who is let in."""
    return HttpResponse("in")


class Open(View):
    """A class-based view for everybody."""

    def get(self, request):
        return HttpResponse("in")

    post = get


class AsyncOpen(View):
    """The same with asynchronous handlers."""

    async def get(self, request):
        return HttpResponse("in")

    post = get


class WithMixin(OpenRouterKeyRequiredMixin, Open):
    pass


class AsyncWithMixin(OpenRouterKeyRequiredMixin, AsyncOpen):
    pass


class Numbered(OpenRouterKeyRequiredMixin, View):
    def get(self, request, number):
        return HttpResponse(number)


class AsyncNumbered(OpenRouterKeyRequiredMixin, View):
    async def get(self, request, number):
        return HttpResponse(number)


class MixinLast(TemplateView, OpenRouterKeyRequiredMixin):
    """A class that names its bases in the other order."""

    template_name = "home.html"


@method_decorator(openrouter_key_required, name="dispatch")
class Dispatch(Open):
    pass


@method_decorator(openrouter_key_required, name="dispatch")
class AsyncDispatch(AsyncOpen):
    pass


class OneHandler(View):
    @method_decorator(openrouter_key_required)
    def get(self, request):
        return HttpResponse("in")

    post = get


class OneAsyncHandler(View):
    @method_decorator(openrouter_key_required)
    async def get(self, request):
        return HttpResponse("in")

    post = get


def calling(request):
    """Call OpenRouter, and leave what happens without a key to the middleware."""
    get_api_key(request.user)
    return HttpResponse("in")


async def async_calling(request):
    """Do the same without blocking the event loop."""
    await aget_api_key(await request.auser())
    return HttpResponse("in")


class Calling(View):
    def get(self, request):
        return calling(request)

    post = get


def rendering(request):
    """Call OpenRouter only when the template is rendered."""
    template = engines["django"].from_string("in{{ call }}")
    return TemplateResponse(request, template, {"call": lambda: get_api_key(request.user)[:0]})


GUARDED = {
    "function": function,
    "async-function": async_function,
    "mixin": WithMixin.as_view(),
    "async-mixin": AsyncWithMixin.as_view(),
    "dispatch": Dispatch.as_view(),
    "async-dispatch": AsyncDispatch.as_view(),
    "handler": OneHandler.as_view(),
    "async-handler": OneAsyncHandler.as_view(),
    "as-view": openrouter_key_required(Open.as_view()),
    "async-as-view": openrouter_key_required(AsyncOpen.as_view()),
}
RAISING = {
    "calling": calling,
    "async-calling": async_calling,
    "class-calling": Calling.as_view(),
    "rendering": rendering,
}


class Failure:
    """What the failing views raise."""

    error: Exception = NotConnected()


def failing(request):
    """Fail as a test has chosen, after writing to the database."""
    User.objects.create(username="written")
    raise Failure.error


def writing_elsewhere(request):
    """Write to another database before it turns out that there is no key."""
    with connections["other"].cursor() as cursor:
        cursor.execute("INSERT INTO note VALUES (1)")
    raise NotConnected(stage="use")


async def async_failing(request):
    """Fail as a test has chosen."""
    raise Failure.error


def nothing(request: HttpRequest) -> Any:
    """Forget to answer."""


class Site:
    """A site's URLs."""

    urlpatterns: list[Any] = [
        path("openrouter/", include("django_openrouter_auth.urls")),
        path("accounts/", include("django.contrib.auth.urls")),
        *(path(f"{name}/", view) for name, view in (GUARDED | RAISING).items()),
        path("chat/", function),
        path("mixin-last/", MixinLast.as_view()),
        re_path("^by-position/([0-9])/$", Numbered.as_view()),
        path("by-name/<number>/", Numbered.as_view()),
        re_path("^async/by-position/([0-9])/$", AsyncNumbered.as_view()),
        path("async/by-name/<number>/", AsyncNumbered.as_view()),
        path("failing/", failing),
        path("async-failing/", async_failing),
        path("guarded-failing/", openrouter_key_required(failing)),
        path("async-guarded-failing/", openrouter_key_required(async_failing)),
        path(
            "own-transactions/",
            transaction.non_atomic_requests(openrouter_key_required(failing)),
        ),
        path("writing-elsewhere/", openrouter_key_required(writing_elsewhere)),
        path("asking/", asking),
        path("guarded-asking/", openrouter_key_required(asking)),
        path("guarded-calling/", openrouter_key_required(calling)),
        path("cached/", cache_page(60)(function)),
        path("nothing/", openrouter_key_required(nothing)),
    ]


@pytest.fixture(autouse=True)
def site(settings):
    """The site, which uses the middleware too."""
    settings.ROOT_URLCONF = Site
    settings.MIDDLEWARE = [*settings.MIDDLEWARE, MIDDLEWARE]
    return settings


@pytest.fixture
def fail_with(monkeypatch):
    """Choose the exception that the failing views raise."""
    return lambda error: monkeypatch.setattr(Failure, "error", error)


@pytest.fixture(params=[Client, AsyncClient])
def stranger(request, db):
    """A visitor who is not signed in, through WSGI and ASGI."""
    return request.param()


@pytest.fixture
def visitor(stranger, user):
    """The same visitor, signed in."""
    stranger.force_login(user)
    return stranger


def ask(client, url, method="get", **arguments):
    """Make a request by a client of either kind."""
    answer = getattr(client, method)(url, **arguments)

    async def wait():
        return await answer

    return async_to_sync(wait)() if isawaitable(answer) else answer


def where_next(url):
    """The page that a URL wants to return to."""
    return parse_qs(urlsplit(url).query).get("next", [""])[0]


def connect_page(page):
    """The URL of the page that connects and then goes on to a page."""
    return f"/openrouter/connect/?{urlencode({'next': page})}"


def varies_on(response, *names):
    """Whether an answer says that it depends on certain headers."""
    return {name.strip() for name in response["Vary"].split(",")} >= {*names}


def is_private(response):
    """Whether no cache may keep an answer, nor confuse it with another."""
    headers = ("Accept", "Cookie", "HX-Request")
    return response["Cache-Control"] == "no-store" and varies_on(response, *headers)


# Who is answered what


@pytest.mark.parametrize("name", [*GUARDED, *RAISING])
def test_who_has_a_key_is_let_in(name, visitor, connected):
    """A visitor with a usable key sees every kind of view, under WSGI and ASGI."""
    for method in ("get", "post") if name in GUARDED else ("get",):
        response = ask(visitor, f"/{name}/", method)
        assert (response.status_code, response.content) == (200, b"in")


@pytest.mark.parametrize("name", [*GUARDED, *RAISING])
def test_person_without_a_key_is_sent_to_connect(name, visitor):
    """A person is redirected to the page with the button, from every kind of view."""
    response = ask(visitor, f"/{name}/?q=a b")
    assert response.status_code == 303
    assert response["Location"] == connect_page(f"/{name}/?q=a%20b")
    assert is_private(response)


@pytest.mark.parametrize("name", [*GUARDED, *RAISING])
def test_program_without_a_key_is_told(name, visitor):
    """A program gets problem details with 403, from every kind of view."""
    response = ask(visitor, f"/{name}/", headers=JSON)
    assert response.status_code == 403
    assert response["Content-Type"] == "application/problem+json"
    assert response.json() == {
        "type": "about:blank",
        "title": "not connected",
        "status": 403,
        "detail": "OpenRouter is not connected. Connect it to go on.",
        "code": "not_connected",
        "connect_url": "/openrouter/connect/",
    }
    assert is_private(response)


@pytest.mark.parametrize("name", [*GUARDED, *RAISING])
def test_htmx_without_a_key_is_sent_to_connect(name, visitor):
    """The page of an htmx request goes to the page with the button, from every kind of view."""
    headers = HTMX | {"HX-Current-URL": "http://testserver/chat/?a=1#last"}
    response = ask(visitor, f"/{name}/", headers=headers)
    assert (response.status_code, response.content) == (200, b"")
    assert response["HX-Redirect"] == connect_page("/chat/?a=1#last")
    assert is_private(response)


@pytest.mark.parametrize("name", [*GUARDED, *RAISING])
def test_stranger_is_sent_to_log_in(name, stranger):
    """A person who is not signed in is asked to do that first, by every kind of view."""
    response = ask(stranger, f"/{name}/?q=1")
    assert response.status_code == 303
    assert response["Location"] == f"/accounts/login/?next=/{name}/%3Fq%3D1"
    assert is_private(response)


@pytest.mark.parametrize("name", [*GUARDED, *RAISING])
def test_program_of_a_stranger_is_told(name, stranger):
    """A program of somebody who is not signed in gets problem details with 401."""
    response = ask(stranger, f"/{name}/", headers=JSON)
    assert response.status_code == 401
    assert response["Content-Type"] == "application/problem+json"
    assert (response.json()["status"], response.json()["code"]) == (401, "not_authenticated")
    assert response.json()["login_url"] == "/accounts/login/"
    assert is_private(response)


def test_htmx_of_a_stranger_is_sent_to_log_in(stranger):
    """The page of an htmx request of a stranger goes to the login page."""
    headers = HTMX | {"HX-Current-URL": "http://testserver/chat/"}
    response = ask(stranger, "/function/", headers=headers)
    assert response.status_code == 200
    assert response["HX-Redirect"] == "/accounts/login/?next=/chat/"
    assert is_private(response)


@pytest.mark.parametrize("name", ["function", "async-mixin", "calling", "async-calling"])
@pytest.mark.parametrize(
    ("status", "code"), [("rejected", "key_rejected"), ("unreadable", "key_unreadable")]
)
def test_key_that_cannot_be_used(name, status, code, visitor, connected):
    """A rejected or unreadable key opens no door, and programs are told which it is: 403."""
    broken = {"owner_hash": "0" * 64} if status == "unreadable" else {}
    OpenRouterKey.objects.update(status=status, **broken)
    response = ask(visitor, f"/{name}/", headers=JSON)
    assert (response.status_code, response.json()["status"]) == (403, 403)
    assert response.json()["code"] == code


@pytest.mark.parametrize("name", ["failing", "async-failing"])
@pytest.mark.parametrize("error", [NotConnected, KeyRejected, KeyUnreadable])
def test_middleware_answers_what_a_view_raises(name, error, visitor, fail_with):
    """Each of the three exceptions becomes 403 with its code, without any decorator."""
    fail_with(error(stage="use"))
    response = ask(visitor, f"/{name}/", headers=JSON)
    assert (response.status_code, response.json()["code"]) == (403, error.code)


@pytest.mark.parametrize("name", ["guarded-failing", "async-guarded-failing"])
@pytest.mark.parametrize("error", [NotConnected, KeyRejected, KeyUnreadable])
def test_decorator_answers_what_a_view_raises(name, error, visitor, connected, fail_with, settings):
    """Each of the three exceptions becomes 403 with its code, without the middleware."""
    settings.MIDDLEWARE.remove(MIDDLEWARE)
    fail_with(error(stage="use"))
    response = ask(visitor, f"/{name}/", headers=JSON)
    assert (response.status_code, response.json()["code"]) == (403, error.code)


@pytest.mark.parametrize("name", ["failing", "async-failing", "guarded-failing"])
@pytest.mark.parametrize("error", [ValueError("mine"), ProviderUnavailable()])
def test_other_exceptions_are_not_touched(name, error, visitor, connected, fail_with):
    """What else a view raises goes its way."""
    fail_with(error)
    with pytest.raises(type(error)) as caught:
        ask(visitor, f"/{name}/")
    assert caught.value is error


@pytest.mark.parametrize("name", ["guarded-failing", "async-failing"])
def test_answer_in_debug_mode(name, visitor, connected, fail_with, settings):
    """``DEBUG`` shows no technical page in place of the answer."""
    settings.DEBUG = True
    fail_with(KeyRejected(stage="use"))
    assert ask(visitor, f"/{name}/")["Location"] == connect_page(f"/{name}/")


def test_mixin_guards_in_any_order(visitor):
    """The mixin also guards a class that names it after the view."""
    assert ask(visitor, "/mixin-last/")["Location"] == connect_page("/mixin-last/")


def test_arguments_of_the_address(visitor, connected):
    """What stands in the address reaches a class-based view, by position and by name."""
    for url in ("/by-position/7/", "/by-name/7/"):
        assert ask(visitor, url).content == b"7"
        assert ask(visitor, f"/async{url}").content == b"7"


def test_view_without_an_answer(visitor, connected):
    """A view that returns nothing by mistake is reported as Django does it."""
    with pytest.raises(ValueError, match="didn't return an HttpResponse object"):
        ask(visitor, "/nothing/")


def test_decorated_view_is_known_as_before() -> None:
    """A decorated view keeps its name and, for a type checker, its type."""

    def view(request: HttpRequest, pk: int) -> JsonResponse:
        return JsonResponse({"pk": pk})

    guarded = openrouter_key_required(view)
    assert guarded.__name__ == "view"
    as_before: Callable[[HttpRequest, int], JsonResponse] = guarded
    assert as_before is guarded


# Who is a program


@pytest.mark.parametrize(
    "request_",
    [
        {"headers": JSON},
        {"headers": {"Accept": "application/problem+json"}},
        {"content_type": "application/json", "data": {"a": 1}},
        {"headers": SCRIPT},
        {"headers": {"Sec-Fetch-Dest": "empty"}},
        {"headers": SCRIPT | {"Accept": "text/event-stream"}},
    ],
)
def test_programs(request_, visitor):
    """Who prefers JSON, sends JSON, or is a script that does not ask for HTML gets JSON."""
    response = ask(visitor, "/function/", "post", **request_)
    assert response["Content-Type"] == "application/problem+json"


@pytest.mark.parametrize(
    "request_",
    [
        {},
        {"headers": {"Accept": "*/*"}},
        {"headers": {"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"}},
        {"headers": {"Accept": "text/html, application/json;q=0.5"}},
        {"headers": {"Sec-Fetch-Dest": "document"}},
        {"headers": SCRIPT | {"Accept": "text/vnd.turbo-stream.html, text/html"}},
        {
            "headers": HTMX
            | {
                "HX-History-Restore-Request": "true",
                "Sec-Fetch-Dest": "empty",
                "Accept": "text/html",
            }
        },
        {"data": {"a": 1}},
    ],
)
def test_people(request_, visitor):
    """Everybody else is taken for a person, scripts that fetch pages included."""
    assert ask(visitor, "/function/", "post", **request_).status_code == 303


def test_htmx_that_sends_json(visitor):
    """An htmx request stays one, whatever it sends."""
    arguments = {"content_type": "application/json", "headers": HTMX | SCRIPT | JSON}
    assert "HX-Redirect" in ask(visitor, "/function/", "post", **arguments)


# Where they come back to


@pytest.mark.parametrize("method", ["get", "head"])
def test_way_back_of_a_page(method, visitor):
    """Who opened a page comes back to it, wherever they came from."""
    response = ask(visitor, "/chat/?a=1", method, headers={"Referer": "http://testserver/other/"})
    assert where_next(response["Location"]) == "/chat/?a=1"


def test_way_back_of_a_form(visitor):
    """Who sent a form comes back to the page with the form."""
    headers = {"Referer": "http://testserver/chat/?a=1"}
    response = ask(visitor, "/function/", "post", headers=headers)
    assert where_next(response["Location"]) == "/chat/?a=1"


def test_way_back_over_https(visitor):
    """The same on a site that is served over https."""
    headers = {"Referer": "https://testserver/chat/"}
    response = ask(visitor, "/function/", "post", headers=headers, secure=True)
    assert where_next(response["Location"]) == "/chat/"


@pytest.mark.parametrize(
    "referer", [None, "http://testserver/openrouter/connect/", "http://testserver"]
)
def test_way_back_of_a_form_from_nowhere(referer, visitor):
    """Where the page with the form is not known, the form's own address is the best guess."""
    headers = {"Referer": referer} if referer else {}
    response = ask(visitor, "/function/?a=1", "post", headers=headers)
    assert where_next(response["Location"]) == "/function/?a=1"


def test_way_back_of_htmx(visitor):
    """An htmx request comes back to the page as it stands in the address bar by now."""
    headers = HTMX | {
        "HX-Current-URL": "http://testserver/chat/?page=2",
        "Referer": "http://testserver/chat/",
    }
    response = ask(visitor, "/function/", headers=headers)
    assert response["HX-Redirect"] == connect_page("/chat/?page=2")


def test_way_back_of_htmx_without_its_own_header(visitor):
    """An htmx request whose page is not named comes back to the page that it came from."""
    headers = HTMX | {"Referer": "http://testserver/chat/"}
    response = ask(visitor, "/function/", headers=headers)
    assert response["HX-Redirect"] == connect_page("/chat/")


def test_no_way_back_to_a_part_of_a_page(visitor):
    """Nobody is brought back to a part of a page: without a page there is no ``next``."""
    assert ask(visitor, "/function/", headers=HTMX)["HX-Redirect"] == "/openrouter/connect/"


def test_way_back_of_a_boosted_link(visitor):
    """A link that htmx follows opens a page, and who clicked it comes back to that."""
    headers = HTMX | {"HX-Boosted": "true", "HX-Current-URL": "http://testserver/other/"}
    response = ask(visitor, "/chat/?a=1", headers=headers)
    assert response["HX-Redirect"] == connect_page("/chat/?a=1")


def test_htmx_restores_a_page_from_history(visitor):
    """A page that htmx asks for again is redirected, since it would ignore its own header."""
    headers = HTMX | {"HX-History-Restore-Request": "true"}
    response = ask(visitor, "/chat/", headers=headers)
    assert response["Location"] == connect_page("/chat/")


@pytest.mark.parametrize("method", ["get", "post"])
def test_way_back_of_a_script(method, visitor):
    """A script is told how to connect and come back to the page that it runs in."""
    headers = SCRIPT | {"Referer": "http://testserver/chat/"}
    response = ask(visitor, "/function/", method, headers=headers)
    assert response.json()["connect_url"] == connect_page("/chat/")


EVIL = [
    "https://evil.example/chat/",
    "http://testserver.evil.example/",
    "http://testserver@evil.example/",
    "http://evil.example:80@testserver/",
    "http://user:pass@testserver/chat/",
    "http://testserver:8000/chat/",
    "http://testserver//evil.example/",
    "http://testserver///evil.example/",
    "http://testserver/\\evil.example/../..\\",
    "http://testserver\\evil.example/",
    "//evil.example/",
    "///evil.example/",
    "//testserver//evil.example",
    "/\\evil.example",
    "/chat/",
    "chat/",
    "javascript:alert(1)",
    "javascript://testserver/%0aalert(1)",
    "data:text/html,x",
    "http://[::1",
    "http://testserver/\x00",
    "http://testserver/ a",
    "http://testserver/openrouter/disconnect/",
    f"http://testserver/{'a' * 2000}",
    "null",
    "about:client",
    "",
]


@pytest.mark.parametrize("url", EVIL)
@pytest.mark.parametrize("header", ["Referer", "HX-Current-URL"])
def test_no_open_redirect(url, header, client, user):
    """RH 67: a page of another site, or what is no page, is left out and never followed."""
    client.force_login(user)
    response = client.get("/function/", headers=HTMX | {header: url})
    assert response["HX-Redirect"] == "/openrouter/connect/"


@pytest.mark.parametrize("url", EVIL)
def test_no_open_redirect_after_login(url, client, db):
    """RH 67: the login page does not get one either."""
    response = client.post("/function/", headers={"Referer": url})
    assert response["Location"] == "/accounts/login/?next=/function/"


def test_path_that_looks_like_a_host(rf):
    """RH 67: an address with two slashes at its start could lead to another site: left out."""
    request = rf.get("/")
    request.path = request.path_info = "//evil.example/"
    request.user = AnonymousUser()
    assert function(request)["Location"] == "/accounts/login/"


def test_address_that_is_too_long(visitor):
    """An address of more than 2,000 characters is left out."""
    response = ask(visitor, f"/chat/?a={'a' * 2000}")
    assert response["Location"] == "/openrouter/connect/"


def test_address_that_is_too_long_for_the_login_page(stranger):
    """Without a page to go to, the login page decides itself."""
    response = ask(stranger, f"/chat/?a={'a' * 2000}")
    assert response["Location"] == "/accounts/login/"


def test_login_page_of_another_site(stranger, settings):
    """A login page elsewhere is told on which site the page is."""
    settings.LOGIN_URL = "https://login.example/in?a=1"
    location = ask(stranger, "/chat/?b=1")["Location"]
    assert location.startswith("https://login.example/in?a=1&")
    assert where_next(location) == "http://testserver/chat/?b=1"
    headers = {"Referer": "http://testserver/chat/"}
    location = ask(stranger, "/function/", "post", headers=headers)["Location"]
    assert where_next(location) == "http://testserver/chat/"


@pytest.mark.parametrize("headers", [{}, HTMX, JSON])
def test_login_page_with_umlauts(headers, stranger, settings):
    """An address with letters of all languages fits into a header, and is the same in JSON."""
    settings.LOGIN_URL = "/anmeldung/für-alle/"
    response = ask(stranger, "/function/", headers=headers)
    told = response.json() if headers == JSON else response
    name = "login_url" if headers == JSON else "HX-Redirect" if headers == HTMX else "Location"
    assert told[name].startswith("/anmeldung/f%C3%BCr-alle/")


# The walk


class Person:
    """Somebody who follows what the site says, by a client of either kind."""

    def __init__(self, client):
        self.client = client

    def log_in(self, url):
        """Fill in the form of the login page and return where it leads."""
        form = {"username": "ann", "password": "correct horse"}
        response = ask(self.client, url, "post", data=form)
        assert response.status_code == 302
        return response["Location"]

    def connect(self, url):
        """Press the button of a connect page, allow access, and return where that leads."""
        page = unescape(ask(self.client, url).content.decode())
        (action,) = re.findall(r'<form method="post" action="(/openrouter/connect/)"', page)
        form = dict(re.findall(r'<input type="hidden" name="(next)" value="([^"]*)"', page))
        to_openrouter = ask(self.client, action, "post", data=form)["Location"]
        (callback,) = parse_qs(urlsplit(to_openrouter).query)["callback_url"]
        return ask(self.client, urlsplit(callback).path, data={"code": CODE})["Location"]


@pytest.fixture
def person(stranger, user, openrouter, site_url):
    """A user who is not signed in and has not connected OpenRouter."""
    return Person(stranger)


PAGE = "/async-mixin/?q=a%26b&c=%C3%BC"


def test_walk_of_a_browser(person):
    """Stranger, login, connect page, OpenRouter, and back on the very page that was opened."""
    page = person.log_in(ask(person.client, PAGE)["Location"])
    assert page == PAGE
    assert person.connect(ask(person.client, page)["Location"]) == PAGE
    assert ask(person.client, PAGE).content == b"in"


def test_walk_of_htmx(person):
    """The same from a part of a page: back on the page that has the part."""
    headers = HTMX | {"HX-Current-URL": f"http://testserver{PAGE}"}
    assert person.log_in(ask(person.client, "/handler/", headers=headers)["HX-Redirect"]) == PAGE
    connect = ask(person.client, "/handler/", "post", headers=headers)["HX-Redirect"]
    assert person.connect(connect) == PAGE
    assert ask(person.client, "/handler/", headers=headers).content == b"in"


def test_walk_of_a_script(person):
    """The same by the addresses that a script is told: back on the page that it runs in."""
    headers = JSON | {"Referer": f"http://testserver{PAGE}"}
    told = ask(person.client, "/async-calling/", headers=headers).json()
    assert person.log_in(told["login_url"]) == PAGE
    told = ask(person.client, "/async-calling/", headers=headers).json()
    assert person.connect(told["connect_url"]) == PAGE
    assert ask(person.client, "/async-calling/", headers=headers).content == b"in"


def test_walk_from_a_rejected_key(visitor, connected, openrouter, settings):
    """Who has to connect again comes back too."""
    OpenRouterKey.objects.update(status="rejected")
    connect = ask(visitor, PAGE)["Location"]
    assert Person(visitor).connect(connect) == PAGE
    assert ask(visitor, PAGE).content == b"in"


# What the page says


def test_page_says_why(visitor):
    """The connect page says once why somebody was sent there, however often they were."""
    for _ in range(2):
        location = ask(visitor, "/chat/")["Location"]
    page = ask(visitor, location).content.decode()
    assert page.count("OpenRouter is not connected. Connect it to go on.") == 1


def test_page_says_why_the_key_is_not_used(visitor, connected):
    """The page says of a stored verdict itself why, so no message repeats it."""
    OpenRouterKey.objects.update(status="rejected")
    page = ask(visitor, ask(visitor, "/chat/")["Location"])
    assert list(page.context["messages"]) == []
    assert page.content.decode().count("it was deleted, switched off or has expired") == 1


@pytest.mark.parametrize("name", ["failing", "guarded-failing", "async-guarded-failing"])
def test_page_says_why_where_the_row_does_not(name, visitor, connected, fail_with):
    """What a view raised is said too, where nothing of it was stored."""
    fail_with(KeyRejected(stage="use"))
    page = ask(visitor, ask(visitor, f"/{name}/")["Location"]).content.decode()
    assert page.count("OpenRouter no longer accepts this key") == 1


def test_program_leaves_no_message(client, user):
    """What a program is told is not told to the person again."""
    client.force_login(user)
    response = client.get("/chat/", headers=JSON)
    assert list(get_messages(response.wsgi_request)) == []


# The check itself


def test_check_costs_one_query(client, user, connected):
    """Beside session and user one query is made, and a button's look-up is the same one."""
    client.force_login(user)
    with CaptureQueriesContext(connection) as queries:
        assert client.get("/mixin-last/").status_code == 200
    assert len(queries) == 3
    assert not any('"secret"' in query["sql"] for query in queries)


def test_check_after_a_button_costs_nothing(rf, user, connected, django_assert_num_queries):
    """Whose key this request has looked up already is let in without another query."""
    request = rf.get("/")
    request.user = user
    assert show_key(user) is not None
    with django_assert_num_queries(0):
        assert function(request).status_code == 200


def test_check_decrypts_nothing(visitor, connected, monkeypatch):
    """Nothing is decrypted to let somebody in, or to keep out whose key was rejected."""
    monkeypatch.delattr(SealedKey, "reveal")
    assert ask(visitor, "/chat/").status_code == 200
    OpenRouterKey.objects.update(status="rejected")
    assert ask(visitor, "/chat/").status_code == 303


def test_encryption_key_that_came_back(visitor, connected, settings):
    """A key that was unreadable opens the door as soon as it can be read again."""
    own, settings.FERNET_KEYS = settings.FERNET_KEYS, ["x" * 43]
    OpenRouterKey.objects.update(status="unreadable")
    assert ask(visitor, "/chat/").status_code == 303
    settings.FERNET_KEYS = own
    assert ask(visitor, "/chat/").status_code == 200
    assert OpenRouterKey.objects.get().status == "active"


def test_key_that_was_connected_meanwhile(rf, user, browser, openrouter):
    """Who connected since the request last looked is let in."""
    request = rf.get("/")
    request.user = User.objects.get()
    assert show_key(request.user) is None
    Person(browser).connect("/openrouter/connect/")
    assert function(request).content == b"in"


# Sites


def use_login_required(settings):
    """Let Django require a login everywhere."""
    settings.MIDDLEWARE = [*settings.MIDDLEWARE, LOGIN_REQUIRED]


@pytest.mark.parametrize(
    "name", ["function", "async-function", "mixin", "async-mixin", "dispatch", "async-dispatch"]
)
def test_login_required_middleware(name, stranger, settings):
    """Programs of strangers get 401 also where Django sends everybody to the login page."""
    use_login_required(settings)
    assert ask(stranger, f"/{name}/", headers=JSON).status_code == 401


def test_login_required_middleware_keeps_what_is_not_guarded(stranger, settings):
    """Where only one handler of a class is guarded, Django goes on to require a login."""
    use_login_required(settings)
    response = ask(stranger, "/handler/", "put", headers=JSON)
    assert response["Location"] == "/accounts/login/?next=/handler/"


def test_cache_outside_of_the_decorator(client, user, connected):
    """A page that was cached for one visitor is not shown to a stranger."""
    client.force_login(user)
    assert client.get("/cached/").content == b"in"
    assert Client().get("/cached/").status_code == 303


@pytest.mark.parametrize("view", [function, async_to_sync(async_function)])
def test_answers_vary(rf, user, connected, view):
    """Both answers say by themselves that they depend on the cookie, whatever else a site runs."""
    request = rf.get("/")
    for visitor in (user, AnonymousUser()):
        request.user = visitor
        assert varies_on(view(request), "Cookie")


def test_cache_keeps_no_refusal(client, user, openrouter, site_url):
    """Who connected sees the page, though a cache saw the answer before."""
    client.force_login(user)
    connect = client.get("/cached/", headers=HTMX)["HX-Redirect"]
    Person(client).connect(connect)
    assert client.get("/cached/", headers=HTMX).content == b"in"


def test_site_below_a_path(client, user, settings):
    """Below a script prefix all addresses carry it once."""
    settings.FORCE_SCRIPT_NAME = "/app"
    set_script_prefix("/app/")
    try:
        client.force_login(user)
        headers = {"Referer": "http://testserver/app/chat/"}
        locations = [
            client.get("/chat/")["Location"],
            client.post("/function/", headers=headers)["Location"],
        ]
    finally:
        set_script_prefix("/")
    assert locations == [f"/app{connect_page('/app/chat/')}"] * 2


class LanguageSite:
    """A site's URLs below a language prefix."""

    urlpatterns = i18n_patterns(*Site.urlpatterns)


@pytest.mark.parametrize("name", ["function", "async-calling"])
def test_site_with_language_prefix(name, visitor, settings):
    """Below a language prefix people stay in their language."""
    settings.ROOT_URLCONF = LanguageSite
    settings.MIDDLEWARE = ["django.middleware.locale.LocaleMiddleware", *settings.MIDDLEWARE]
    response = ask(visitor, f"/de/{name}/")
    assert response["Location"] == f"/de{connect_page(f'/de/{name}/')}"


@pytest.fixture
def atomic_requests(monkeypatch):
    """A site whose views run in transactions."""
    monkeypatch.setitem(connection.settings_dict, "ATOMIC_REQUESTS", True)


@pytest.mark.parametrize("name", ["failing", "guarded-failing"])
def test_atomic_requests(name, client, user, connected, atomic_requests):
    """What a view wrote before it found no usable key is rolled back."""
    client.force_login(user)
    assert client.get(f"/{name}/").status_code == 303
    assert not User.objects.filter(username="written").exists()


@pytest.fixture
def other_database(db, monkeypatch, tmp_path):
    """A second database, whose views run in transactions, with an empty table ``note``."""
    facts = {"ENGINE": "django.db.backends.sqlite3", "NAME": tmp_path / "other"}
    made = connections.configure_settings({"default": {}, "other": facts})["other"]
    other = DatabaseWrapper(made | {"ATOMIC_REQUESTS": True}, "other")
    with other.cursor() as cursor:
        cursor.execute("CREATE TABLE note (number integer)")
    # Not before: tests may open no database that is added while they run.
    monkeypatch.setitem(connections.settings, "other", other.settings_dict)
    connections["other"] = other
    yield other
    other.close()
    del connections["other"]


def test_atomic_requests_of_several_databases(client, user, connected, other_database):
    """What a view wrote is rolled back in every database that has ``ATOMIC_REQUESTS``."""
    client.force_login(user)
    assert client.get("/writing-elsewhere/").status_code == 303
    with other_database.cursor() as cursor:
        assert cursor.execute("SELECT * FROM note").fetchall() == []


@pytest.mark.parametrize("name", ["asking", "guarded-asking"])
def test_verdict_outlives_the_transaction(
    name, client, user, connected, openrouter, atomic_requests, django_capture_on_commit_callbacks
):
    """A key that OpenRouter rejected during a view stays rejected, and receivers are told once."""
    told = []
    key_rejected.connect(lambda **facts: told.append(facts["user"]), weak=False, dispatch_uid="t")
    client.force_login(user)
    openrouter.mock.post(f"{API}/chat/completions", status=401)
    openrouter.forgets()
    with django_capture_on_commit_callbacks(execute=True):
        for _ in range(3):
            assert client.get(f"/{name}/").status_code == 303
    key_rejected.disconnect(dispatch_uid="t")
    assert not User.objects.filter(username="written").exists()
    assert OpenRouterKey.objects.get().status == "rejected"
    assert len(openrouter.mock.calls) == 2
    assert told == [user]


@pytest.mark.parametrize("name", ["calling", "guarded-calling"])
def test_unreadable_outlives_the_transaction(
    name, client, user, connected, atomic_requests, settings
):
    """A key that could not be read during a view is marked as unreadable for good."""
    settings.FERNET_KEYS = ["x" * 43]
    client.force_login(user)
    client.get(f"/{name}/")
    assert OpenRouterKey.objects.get().status == "unreadable"


def test_view_with_its_own_transactions(client, user, connected, atomic_requests):
    """A view that is exempt from ``ATOMIC_REQUESTS`` keeps what it wrote."""
    client.force_login(user)
    assert client.get("/own-transactions/").status_code == 303
    assert User.objects.filter(username="written").exists()


def test_view_that_other_code_calls(rf, user, connected, atomic_requests):
    """A view that is not called by Django's handler leaves its caller's transaction alone."""
    request = rf.get("/")
    request.user = user
    assert openrouter_key_required(failing)(request).status_code == 303
    assert User.objects.filter(username="written").exists()
