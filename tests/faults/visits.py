"""What users do, one request at a time, and what is true before and after it."""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from django.contrib.auth.models import User
from django.db import connection
from django.db.models import F
from django.test import Client

from django_openrouter_auth.models import ConnectAttempt, OpenRouterKey
from django_openrouter_auth.shortcuts import get_api_key
from django_openrouter_auth.testing import CODE, KEY, OTHER_KEY, connect
from django_openrouter_auth.testing.provider import OpenRouter
from tests.connecting import is_clean, start

from .outcomes import Told, told_by

ANEW = "sk-or-v1-0b5" + "e" * 58 + "2d7"
HOUR = timedelta(hours=1)


@dataclass
class Visit:
    """A user with a browser, who is about to make one request.

    Attributes:
        user: whose visit it is.
        openrouter: what the site takes for OpenRouter.
        ask: makes the request; again when it is called again.
    """

    user: User
    openrouter: OpenRouter
    browser: Client = field(default_factory=lambda: Client(raise_request_exception=False))
    ask: Callable[[], Any] = lambda: None

    def __post_init__(self) -> None:
        self.browser.force_login(self.user)

    def get(self, path: str, query: dict[str, str] | None = None) -> Callable[[], Any]:
        return lambda: self.browser.get(path, query)

    def post(self, path: str, **data: str) -> Callable[[], Any]:
        return lambda: self.browser.post(path, data)

    def stored(self) -> str:
        """Return which key is stored for the user: the old one, the new one or none."""
        if not OpenRouterKey.objects.filter(user=self.user).exists():
            return "no key"
        return {KEY: "old key", OTHER_KEY: "new key", ANEW: "newest key"}[get_api_key(self.user)]

    def row(self) -> list[Any]:
        """Return the user's key row as the database holds it."""
        rows = OpenRouterKey.objects.filter(user=self.user)
        return [[str(value) for value in row] for row in rows.values_list()]

    def tell(self, response: Any) -> Told:
        """Return what an answer told, and let the next page show it: it is not told twice."""
        # Sites close connections that broke; the test client leaves that to whoever uses it.
        if not connection.get_autocommit() or not connection.is_usable():
            connection.close()
        # Django answers 400 where it cannot save a session.
        if response.status_code in {400, 500}:
            return Told("error page")
        if response.status_code == 200 or response["Location"].startswith("https://"):
            return Told("the way to OpenRouter")
        assert response.status_code == 303
        assert is_clean(response)
        seen = told_by(response)
        self.browser.cookies.pop("messages", None)
        return seen


def callback(visit: Visit, **answer: str) -> None:
    """Come back from OpenRouter."""
    visit.ask = visit.get(start(visit.browser).path, answer or {"code": CODE})


def callback_again(visit: Visit) -> None:
    """Come back from OpenRouter with a key stored."""
    connect(visit.user, KEY)
    callback(visit)


def callback_denied(visit: Visit) -> None:
    """Come back from OpenRouter after saying no."""
    connect(visit.user, KEY)
    callback(visit, error="access_denied")


def entered_code(visit: Visit) -> None:
    """Enter a code."""
    connect(visit.user, KEY)
    visit.browser.get("/openrouter/code/")
    visit.ask = visit.post("/openrouter/code/", code=CODE)


def refused_code(visit: Visit) -> None:
    """Enter a code that OpenRouter does not accept."""
    entered_code(visit)
    enter = visit.ask

    def ask() -> Any:
        visit.openrouter.refuses()
        return enter()

    visit.ask = ask


def pasted_key(visit: Visit) -> None:
    """Paste a key."""
    connect(visit.user, KEY)
    visit.ask = visit.post("/openrouter/key/", api_key=OTHER_KEY)


def begin(visit: Visit) -> None:
    """Press the button."""
    connect(visit.user, KEY)
    visit.ask = visit.post("/openrouter/connect/")


def code_page(visit: Visit) -> None:
    """Open the page with the link to a code."""
    connect(visit.user, KEY)
    visit.ask = visit.get("/openrouter/code/")


def disconnect(visit: Visit) -> None:
    """Disconnect, with an attempt open."""
    connect(visit.user, KEY)
    start(visit.browser)
    visit.ask = visit.post("/openrouter/disconnect/")


REFUSED = "entered code, refused"
# What each request is called in the docs, and what comes before it.
REQUESTS: dict[str, Callable[[Visit], None]] = {
    "start": begin,
    "callback, first connection": callback,
    "callback, connected before": callback_again,
    "callback, denied": callback_denied,
    "link for a code": code_page,
    "entered code": entered_code,
    REFUSED: refused_code,
    "pasted key": pasted_key,
    "disconnect": disconnect,
}


def make_old(visit: Visit) -> None:
    """Let the user come back so late that no request can still be at work on their attempts."""
    claimed = ConnectAttempt.objects.filter(user=visit.user, claimed_at__isnull=False)
    claimed.update(claimed_at=F("claimed_at") - HOUR)


def connect_anew(visit: Visit) -> None:
    """Connect from the start, as everybody must be able to, whatever went before."""
    visit.openrouter.grants(ANEW)
    response = visit.browser.get(start(visit.browser).path, {"code": CODE})
    assert visit.tell(response) == Told("connected")
    assert visit.stored() == "newest key"
