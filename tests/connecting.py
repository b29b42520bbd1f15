"""What the tests of the flow share: a signed-in browser, and OpenRouter's answers at the edge."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
import responses
from django.contrib.auth.models import User
from django.contrib.messages import get_messages
from django.test import Client

from django_openrouter_auth.models import ConnectAttempt, OpenRouterKey

SITE = "https://app.example"
API = "https://openrouter.ai/api/v1"
KEY = "sk-or-v1-0e6" + "f" * 58 + "1c9"
OTHER_KEY = "sk-or-v1-a1b" + "2" * 58 + "c3d"
HINT = "sk-or-v1-0e6...1c9"
CODE = "auth_code_abc123def456"


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


class OpenRouter:
    """OpenRouter at the edge: what it answers next, and what it was asked."""

    def __init__(self, mock: responses.RequestsMock) -> None:
        self.mock = mock

    def grants(self, key: str = KEY, **info: Any) -> None:
        """Hand out a key for any code, and know it."""
        self.mock.upsert(
            "POST", f"{API}/auth/keys", json={"key": key, "user_id": "user_2yOPcMpKoQ"}
        )
        self.knows(**info)

    def knows(self, **info: Any) -> None:
        """Answer ``GET /key``."""
        data = {"label": HINT, "usage": 0, "limit": None, "limit_remaining": None, **info}
        self.mock.upsert("GET", f"{API}/key", json={"data": data})

    def refuses(self, status: int = 403, message: str = "Invalid code or code_verifier") -> None:
        """Refuse every code."""
        body = {"error": {"message": message, "code": status}}
        self.mock.upsert("POST", f"{API}/auth/keys", json=body, status=status)

    def forgets(self) -> None:
        """Answer 401 to every key."""
        body = {"error": {"message": "User not found.", "code": 401}}
        self.mock.upsert("GET", f"{API}/key", json=body, status=401)

    @property
    def exchanges(self) -> list[dict[str, Any]]:
        """The bodies of the exchanges that were asked for."""
        calls = [call.request for call in self.mock.calls]
        return [json.loads(request.body or "") for request in calls if request.method == "POST"]


@pytest.fixture
def openrouter() -> Iterator[OpenRouter]:
    """OpenRouter, handing out ``KEY``; anything else on the network is an error."""
    with responses.RequestsMock(assert_all_requests_are_fired=False) as mock:
        provider = OpenRouter(mock)
        provider.grants()
        yield provider


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
