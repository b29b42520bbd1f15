"""The use cases by themselves, without views: what they take for granted, and whom they touch."""

from contextlib import contextmanager, nullcontext
from datetime import timedelta
from types import SimpleNamespace
from urllib.parse import parse_qs, urlsplit

import pytest
from django.http import QueryDict
from django.utils import timezone

from django_openrouter_auth import introspection, services
from django_openrouter_auth.finishing import Connected
from django_openrouter_auth.key_info import KeyInfo
from django_openrouter_auth.models import ConnectAttempt, OpenRouterKey

from .connecting import CODE, KEY, SITE, only_attempt, start

NOW = timezone.now()


def sent(url):
    """Return the names of what OpenRouter is told."""
    return set(parse_qs(urlsplit(url).query))


def test_start_without_wishes(user):
    """Unless somebody wishes otherwise, a key has no name and an attempt leads nowhere else."""
    url = services.begin(user=user, browser="b", origin=SITE)
    assert sent(url) == {"callback_url", "code_challenge", "code_challenge_method", "state"}
    assert only_attempt().next_url == ""


def test_code_entry_without_wishes(user):
    """The same where a code will be entered."""
    url = services.begin_code_entry(user=user, browser="b")
    assert sent(url) == {"code_challenge", "code_challenge_method"}
    assert only_attempt().next_url == ""


def test_code_entry_with_a_wish(user):
    """Where the user wanted to go is kept with the attempt."""
    services.begin_code_entry(user=user, browser="b", next_url="/wish/")
    assert only_attempt().next_url == "/wish/"


def test_callback_that_is_repeated(user, browser, openrouter):
    """A callback that comes again leads to the same page, and is not told as new."""
    path = start(browser, next="/wish/").path
    browser.get(path, {"code": CODE})
    state = path.rstrip("/").rsplit("/", 1)[1]
    known = browser.session["openrouter_auth"]
    again = services.complete(
        user=user, browser=known, state=state, answer=QueryDict(f"code={CODE}")
    )
    assert again == Connected("/wish/", is_new=False)


@pytest.fixture
def asked(user, monkeypatch):
    """Give the user a key, stop the clock, and note with which patience OpenRouter is asked."""
    monkeypatch.setattr(services.timezone, "now", lambda: NOW)
    OpenRouterKey.objects.create(user=user, **OpenRouterKey.derive(user.pk, KEY))
    asked = []

    class Line:
        def read_key(self, api_key, *, patience):
            asked.append(patience)
            return KeyInfo()

    @contextmanager
    def open_connection():
        yield Line()

    monkeypatch.setattr(introspection, "open_connection", open_connection)
    return asked


def test_patience(user, asked):
    """Who asks says how long to wait."""
    services.check(user, patience=7)
    assert asked == [7]


@pytest.mark.parametrize(
    ("age", "is_asked"),
    [
        (timedelta(0), False),
        (timedelta(minutes=5), False),
        (timedelta(minutes=5, seconds=1), True),
        (timedelta(seconds=-1), True),
        (None, True),
    ],
)
def test_age_of_a_verdict(user, asked, age, is_asked):
    """A page asks after five minutes, and gives OpenRouter five seconds."""
    OpenRouterKey.objects.update(checked_at=None if age is None else NOW - age)
    assert services.checked_key(user).pk == OpenRouterKey.objects.get().pk
    assert asked == [5] * is_asked


def test_key_that_nobody_can_ask_about(user, asked):
    """A page does not ask about a key that cannot be read."""
    OpenRouterKey.objects.update(status="unreadable", checked_at=None)
    assert services.checked_key(user).status == "unreadable"
    assert asked == []


def test_whose_attempts_a_disconnect_ends(user, other_user):
    """Pending attempts of the user go; the record stays, and other people's attempts do."""
    for number, (owner, outcome) in enumerate(
        [(user, ""), (user, "connected"), (other_user, ""), (other_user, "connected")]
    ):
        ConnectAttempt.objects.create(
            user=owner, outcome=outcome, state_hash=str(number), created_at=NOW
        )
    services.disconnect(user)
    left = ConnectAttempt.objects.order_by("state_hash").values_list("state_hash", flat=True)
    assert list(left) == ["1", "2", "3"]


def test_transaction_of_a_disconnect(user, monkeypatch):
    """Key and attempts go together, in the database where routers keep the keys."""
    opened = []
    chosen = SimpleNamespace(db_for_write=lambda model: f"of {model.__name__}")
    monkeypatch.setattr(services, "router", chosen)
    monkeypatch.setattr(services, "_delete_key", lambda user: [])
    monkeypatch.setattr(services, "attempt_rows", ConnectAttempt.objects.all)

    def atomic(using):
        opened.append(using)
        return nullcontext()

    monkeypatch.setattr(services, "transaction", SimpleNamespace(atomic=atomic))
    services.disconnect(user)
    assert opened == ["of OpenRouterKey"]
