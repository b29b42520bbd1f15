"""Pasting a key that the user already has."""

import pytest
import requests
from django.db import DatabaseError
from django.test import Client

from django_openrouter_auth import services
from django_openrouter_auth.exceptions import StorageFailed
from django_openrouter_auth.models import ConnectAttempt, OpenRouterKey

from .connecting import API, KEY, OTHER_KEY, is_clean, message_text, outcome, row

JSON = {"Accept": "application/json"}


def paste(browser, api_key=KEY, **post):
    """Paste a key."""
    return browser.post("/openrouter/key/", {"api_key": api_key, **post})


def test_page(browser):
    """The page is private, its field hides what is typed, and it links to the user's keys."""
    response = browser.get("/openrouter/key/")
    assert response["Cache-Control"] == "no-store"
    assert response["Referrer-Policy"] == "no-referrer"
    content = response.content.decode()
    assert 'type="password"' in content
    assert 'autocomplete="off"' in content
    assert "csrfmiddlewaretoken" in content
    assert "https://openrouter.ai/settings/keys" in content


def test_page_of_a_connected_user(browser, connected):
    """Who is connected is told that another key replaces the present one."""
    assert b"sk-or-v1-0e6...1c9" in browser.get("/openrouter/key/").content


def test_paste(browser, openrouter):
    """A key that ``GET /key`` accepts is stored, checked, and marked as pasted."""
    openrouter.knows(usage=2)
    response = paste(browser)
    assert is_clean(response)
    assert outcome(response) == ("success", "connected")
    assert OpenRouterKey.objects.get().secret.reveal() == KEY
    assert (row()["source"], row()["status"], row()["usage"]) == ("pasted", "active", 2)
    assert row()["checked_at"] is not None
    (call,) = openrouter.mock.calls
    assert call.request.headers["Authorization"] == f"Bearer {KEY}"


def test_blanks_around_it(browser, openrouter):
    """Blanks around a key do no harm."""
    paste(browser, f"\t {KEY}\r\n")
    assert OpenRouterKey.objects.get().secret.reveal() == KEY


@pytest.mark.parametrize("api_key", ["k" * 20, "k" * 512, "other-vendor-key-0123456789"])
def test_unknown_shape(browser, openrouter, api_key):
    """PM 102, ST 157: the shape of a key is OpenRouter's affair."""
    paste(browser, api_key)
    assert OpenRouterKey.objects.get().secret.reveal() == api_key


def test_replaces(browser, connected, openrouter):
    """A pasted key replaces the stored one, and the old one is pointed out."""
    old = connected.settings_url
    response = paste(browser, OTHER_KEY)
    assert old in message_text(response)
    assert OpenRouterKey.objects.get().secret.reveal() == OTHER_KEY


def test_the_same_key(browser, connected, openrouter):
    """A key that is stored already can be pasted again, and replaces none."""
    response = paste(browser)
    assert "previous key" not in message_text(response)
    assert row()["source"] == "pasted"


def test_record(browser, openrouter):
    """How it ended is on record like any attempt, without a verifier."""
    paste(browser)
    attempt = ConnectAttempt.objects.get()
    assert (attempt.mode, attempt.outcome, attempt.code_verifier) == ("pasted", "connected", None)
    assert (attempt.method, attempt.requested, attempt.next_url) == ("", {}, "")


def test_not_accepted(browser, connected, openrouter):
    """A key that OpenRouter rejects is not stored, and the present one stays as it is."""
    before = row()
    openrouter.forgets()
    response = paste(browser, OTHER_KEY)
    assert is_clean(response)
    assert response["Location"] == "/openrouter/key/"
    assert outcome(response) == ("warning", "key_rejected")
    assert row() == before
    assert ConnectAttempt.objects.get(mode="pasted").outcome == "key_rejected"


@pytest.mark.parametrize("name", ["is_management_key", "is_provisioning_key"])
def test_management_key(browser, openrouter, name):
    """PM 127: a management key is refused."""
    openrouter.knows(**{name: True})
    assert outcome(paste(browser)) == ("error", "management_key")
    assert not OpenRouterKey.objects.exists()


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        ({"status": 402}, "provider_protocol"),
        ({"status": 403}, "provider_protocol"),
        ({"status": 429}, "rate_limited"),
        ({"status": 500}, "provider_unavailable"),
        ({"body": requests.ReadTimeout()}, "provider_unavailable"),
        ({"body": requests.exceptions.SSLError()}, "tls_error"),
        ({"json": []}, "provider_protocol"),
        ({"body": RuntimeError()}, "internal"),
    ],
)
def test_could_not_be_checked(browser, openrouter, answer, code):
    """A key that could not be checked is not stored: only ``GET /key`` can accept it."""
    openrouter.mock.upsert("GET", f"{API}/key", **answer)
    assert outcome(paste(browser))[1] == code
    assert not OpenRouterKey.objects.exists()


@pytest.mark.parametrize(
    "api_key", ["", " ", "short", "k" * 513, "sk-or-v1-with space-0123456789", "sk-or-é" + "k" * 30]
)
def test_malformed(browser, openrouter, api_key):
    """What cannot be a key is refused without asking OpenRouter."""
    assert outcome(paste(browser, api_key)) == ("error", "key_malformed")
    assert len(openrouter.mock.calls) == 0
    assert not ConnectAttempt.objects.exists()


def test_leak(browser, openrouter, leaks, statements):
    """LK 171: neither a key that is stored nor one that is refused shows up anywhere."""
    leaks.plant(key=KEY, other=OTHER_KEY)
    leaks.search_response("good answer", paste(browser))
    openrouter.forgets()
    leaks.search_response("bad answer", paste(browser, OTHER_KEY))
    leaks.search_response("malformed", paste(browser, f"{OTHER_KEY} {KEY}"))
    leaks.search_response("page", browser.get("/openrouter/key/"))
    leaks.search_browser("after it", browser)


def test_error_report(browser, leaks, monkeypatch):
    """LK 172: where the site itself fails, Django's report masks the key."""
    leaks.plant(key=KEY)
    browser.raise_request_exception = False

    def fail(*arguments):
        raise RuntimeError

    monkeypatch.setattr("django_openrouter_auth.entry_views.tell_error", fail)
    monkeypatch.setattr("django_openrouter_auth.entry_views.tell_connected", fail)
    assert paste(browser).status_code == 500
    assert leaks.error_mail.reports


def test_next(browser, openrouter):
    """``next`` leads on, and only on this site; after a refusal the form keeps it."""
    assert paste(browser, next="/shop/")["Location"] == "/shop/"
    assert paste(browser, next="https://evil.example/")["Location"] == "/openrouter/"
    openrouter.forgets()
    assert paste(browser, next="/shop/")["Location"] == "/openrouter/key/?next=%2Fshop%2F"


def test_json(browser, openrouter):
    """A program gets the new status, or problem details."""
    post = {"content_type": "application/json", "headers": JSON}
    assert browser.post("/openrouter/key/", {"api_key": KEY}, **post).json()["connected"] is True
    openrouter.forgets()
    response = browser.post("/openrouter/key/", {"api_key": OTHER_KEY}, **post)
    assert (response.status_code, response.json()["code"]) == (409, "key_rejected")


def test_switched_off(browser, openrouter, settings):
    """``ALLOW_PASTED_KEYS`` switches the page off, and the links to it."""
    settings.OPENROUTER_AUTH_ALLOW_PASTED_KEYS = False
    assert browser.get("/openrouter/key/").status_code == 404
    assert paste(browser).status_code == 404
    for page in ("connect", "code"):
        assert b"/openrouter/key/" not in browser.get(f"/openrouter/{page}/").content


def test_strangers(client, db):
    """A stranger signs in first; the key is not looked at."""
    assert paste(client)["Location"] == "/accounts/login/?next=/openrouter/key/"


def test_csrf(user, db):
    """RH 83: a form of another site is refused."""
    strict = Client(enforce_csrf_checks=True)
    strict.force_login(user)
    assert paste(strict).status_code == 403


@pytest.mark.parametrize("method", ["head", "put", "delete"])
def test_other_methods(browser, method):
    """Other methods do nothing."""
    assert getattr(browser, method)("/openrouter/key/").status_code == 405


def test_disconnect_meanwhile_wins(user, browser, openrouter):
    """T27: who disconnects while the key is checked stays disconnected."""

    def disconnect(request):
        services.disconnect(user)
        return (200, {}, '{"data": {}}')

    openrouter.mock.remove("GET", f"{API}/key")
    openrouter.mock.add_callback("GET", f"{API}/key", disconnect, content_type="application/json")
    response = paste(browser)
    assert outcome(response) == ("error", "storage_failed")
    assert "The key itself is as it was" in message_text(response)
    assert "nobody uses" not in message_text(response)
    assert not OpenRouterKey.objects.exists()


def test_database_that_refuses(user, openrouter, monkeypatch):
    """A key that cannot be stored leaves no half of a connection."""

    def refuse(*arguments, **values):
        raise DatabaseError

    monkeypatch.setattr("django_openrouter_auth.storing._write_key", refuse)
    with pytest.raises(StorageFailed):
        services.adopt_key(user=user, text=KEY)
    assert not OpenRouterKey.objects.exists()


def test_wrong_encryption_keys(browser, openrouter, settings):
    """Where nothing can be encrypted, OpenRouter is not asked."""
    settings.FERNET_KEYS = [None]
    assert outcome(paste(browser)) == ("error", "misconfigured")
    assert len(openrouter.mock.calls) == 0
