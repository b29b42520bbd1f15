"""What the tests of the flow share: a signed-in browser, and OpenRouter's answers at the edge."""

from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from django.contrib.auth.models import User
from django.contrib.messages import get_messages
from django.test import Client

from django_openrouter_auth.models import ConnectAttempt, OpenRouterKey
from django_openrouter_auth.testing import CODE, KEY, OTHER_KEY
from django_openrouter_auth.testing.provider import OpenRouter

__all__ = ["CODE", "KEY", "OTHER_KEY"]  # and what is defined below

SITE = "https://app.example"
API = "https://openrouter.ai/api/v1"
HINT = "sk-or-v1-0e6...1c9"


@dataclass
class Started:
    """An attempt that was started: where the browser was sent, and where it will come back."""

    location: str
    parameters: dict[str, list[str]]

    @property
    def callback_url(self) -> str:
        return self.parameters["callback_url"][0]

    @property
    def path(self) -> str:
        return urlsplit(self.callback_url).path

    @property
    def state(self) -> str:
        return self.path.rstrip("/").rsplit("/", 1)[1]


def start(client: Client, **post: str) -> Started:
    """Click the button."""
    response = client.post("/openrouter/connect/", post)
    assert response.status_code == 303
    location = response["Location"]
    return Started(location, parse_qs(urlsplit(location).query, keep_blank_values=True))


def outcome(response: Any) -> tuple[str, str]:
    """Return level and code of the one message that an answer leaves."""
    messages = list(get_messages(response.wsgi_request))
    assert len(messages) == 1, [str(message) for message in messages]
    return messages[0].level_tag, messages[0].extra_tags


def message_text(response: Any) -> str:
    """Return the text of the one message that an answer leaves."""
    (message,) = get_messages(response.wsgi_request)
    return str(message)


def is_clean(response: Any) -> bool:
    """Return whether an answer leads to a local URL without code or state, and is private."""
    location = response["Location"]
    return (
        response.status_code in (302, 303)
        and location.startswith("/")
        and "code=" not in location
        and "callback" not in location
        and response["Cache-Control"] == "no-store"
        and response["Referrer-Policy"] == "no-referrer"
    )


def row() -> dict[str, Any]:
    """Return the only key row as the database holds it, ciphertext included."""
    found = OpenRouterKey.objects.get()
    values = {field.attname: getattr(found, field.attname) for field in found._meta.fields}
    return values | {"secret": found.secret.token}


@pytest.fixture
def site_url(settings: Any) -> str:
    """The public origin of the site."""
    settings.OPENROUTER_AUTH_SITE_URL = SITE
    return SITE


@pytest.fixture
def user(db: None) -> User:
    """A user of the site."""
    return User.objects.create_user("ann", email="ann@example.org", password="correct horse")


@pytest.fixture
def other_user(db: None) -> User:
    """Another user of the site."""
    return User.objects.create_user("bob", password="battery staple")


@pytest.fixture
def browser(user: User, client: Client, site_url: str) -> Client:
    """The browser in which ``user`` is signed in."""
    client.force_login(user)
    return client


@pytest.fixture
def connected(user: User, browser: Client, openrouter: OpenRouter) -> OpenRouterKey:
    """The key row of ``user``, made by going through the flow."""
    browser.get(start(browser).path, {"code": CODE})
    list(get_messages(browser.get("/openrouter/").wsgi_request))
    openrouter.mock.calls.reset()
    return OpenRouterKey.objects.get(user=user)


def only_attempt() -> ConnectAttempt:
    """Return the only attempt."""
    return ConnectAttempt.objects.get()
