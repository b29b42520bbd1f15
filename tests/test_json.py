"""Single-page apps: the same addresses, as JSON."""

import json
from datetime import UTC, datetime

import pytest
from django.test import Client
from django.utils import timezone

from django_openrouter_auth.exceptions import ProviderUnavailable
from django_openrouter_auth.models import ConnectAttempt, OpenRouterKey
from django_openrouter_auth.status import describe

from .connecting import CODE

JSON = {"Accept": "application/json"}
WRITES = ("connect", "disconnect", "check", "code", "key")


def send(browser, page, body, **extra):
    """Send a JSON object as a single-page app does."""
    return browser.post(
        f"/openrouter/{page}/", body, content_type="application/json", headers=JSON, **extra
    )


def test_next_in_a_json_body(browser, openrouter):
    """``next`` may stand in the JSON body of a start, and leads on."""
    url = send(browser, "connect", {"next": "/app/chat/"}).json()["authorization_url"]
    assert "chat" not in url
    assert ConnectAttempt.objects.get().next_url == "/app/chat/"


@pytest.mark.parametrize(
    "wanted", ["//evil.example/", "https://evil.example/", 7, None, ["/"], "/\ud800"]
)
def test_next_that_cannot_be_used(browser, wanted):
    """RH 67: a ``next`` of another site or another type is left out."""
    assert send(browser, "connect", {"next": wanted}).status_code == 200
    assert ConnectAttempt.objects.get().next_url == ""


@pytest.mark.parametrize("body", ["", "[", "[" * 100_000, "7", "null", "\ud800", '{"next": NaN}'])
def test_bodies_that_are_no_object(browser, body):
    """A JSON body that cannot be read counts as none."""
    raw = body.encode("utf-8", "surrogatepass")
    response = browser.post(
        "/openrouter/connect/", raw, content_type="application/json", headers=JSON
    )
    assert response.status_code == 200


def test_whole_journey(browser, openrouter):
    """A single-page app connects, checks, looks and disconnects without a page of ours."""
    url = send(browser, "connect", {}).json()["authorization_url"]
    assert url.startswith("https://openrouter.ai/auth?")
    ConnectAttempt.objects.all().delete()
    browser.get("/openrouter/code/", headers=JSON)
    assert send(browser, "code", {"code": CODE}).json()["connected"] is True
    assert send(browser, "check", {}).json()["status"] == "active"
    assert browser.get("/openrouter/status/").json()["connected"] is True
    assert send(browser, "disconnect", {}).json()["connected"] is False


@pytest.mark.parametrize("page", WRITES)
@pytest.mark.parametrize("content_type", ["application/json", "text/plain", "multipart/form-data"])
def test_csrf(user, connected, page, content_type):
    """JS 228: a write without a CSRF token is refused, whatever it claims to be."""
    strict = Client(enforce_csrf_checks=True)
    strict.force_login(user)
    response = strict.post(f"/openrouter/{page}/", b"{}", content_type=content_type, headers=JSON)
    assert response.status_code == 403
    assert OpenRouterKey.objects.exists()


def test_csrf_token_in_a_header(user, connected):
    """A write with the token in ``X-CSRFToken`` is taken, as from ``fetch()``."""
    strict = Client(enforce_csrf_checks=True)
    strict.force_login(user)
    strict.get("/openrouter/")
    token = strict.cookies["csrftoken"].value
    response = strict.post(
        "/openrouter/disconnect/",
        b"{}",
        content_type="application/json",
        headers={**JSON, "X-CSRFToken": token},
    )
    assert response.json()["connected"] is False


@pytest.mark.parametrize("method", ["post", "put", "patch", "delete", "options"])
@pytest.mark.parametrize("accept", ["text/html", "application/json"])
def test_methods_of_status(browser, connected, method, accept):
    """JS 225: every other method of ``status`` is a 405 as JSON, and does nothing."""
    response = getattr(browser, method)("/openrouter/status/", headers={"Accept": accept})
    assert (response.status_code, response["Allow"]) == (405, "GET, HEAD")
    assert response.json()["code"] == "method_not_allowed"
    assert "GET, HEAD" in response.json()["detail"]
    assert OpenRouterKey.objects.exists()


@pytest.mark.parametrize("page", ["callback/x", "check"])
def test_methods_of_pages(browser, page):
    """A browser that uses the wrong method gets the plain 405."""
    method = browser.put
    assert "html" in method(f"/openrouter/{page}/", headers={"Accept": "text/html"})["Content-Type"]


def test_status_is_no_script(browser, connected):
    """JS 227: neither a callback name nor an origin makes the status readable for others."""
    response = browser.get(
        "/openrouter/status/?callback=f",
        headers={"Accept": "text/html", "Origin": "https://evil.example"},
    )
    assert response["Content-Type"] == "application/json"
    assert response["X-Content-Type-Options"] == "nosniff"
    assert response["X-Frame-Options"] == "DENY"
    assert not [name for name in response.headers if name.startswith("Access-Control")]
    assert json.loads(response.content)["connected"] is True


def test_status_tells_what_is_stored(browser, connected):
    """JS 224: label and times are those of the row."""
    moment = datetime(2099, 1, 2, 3, 4, 5, tzinfo=UTC)
    OpenRouterKey.objects.update(label="Chat of ann", expires_at=moment, checked_at=moment)
    told = browser.get("/openrouter/status/").json()
    assert told["label"] == "Chat of ann"
    assert (told["expires_at"], told["checked_at"]) == ("2099-01-02T03:04:05Z",) * 2


def test_status_of_a_site_without_time_zones(settings, db):
    """Local times are read in the zone of the site, whichever zone a visitor has chosen."""
    settings.USE_TZ = False
    settings.TIME_ZONE = "Europe/Berlin"
    with timezone.override("Asia/Tokyo"):
        told = describe(OpenRouterKey(checked_at=datetime(2099, 1, 2, 3, 4)))  # noqa: DTZ001 - local
    assert told["checked_at"].isoformat() == "2099-01-02T03:04:00+01:00"


def test_disconnect_tells_what_is_stored(browser, connected, monkeypatch):
    """A program that disconnects is told of a key that came in meanwhile."""
    monkeypatch.setattr("django_openrouter_auth.services.disconnect", lambda user: [])
    assert send(browser, "disconnect", {}).json()["connected"] is True


def test_status_asks_nobody(browser, connected, openrouter):
    """D22: looking makes no call to OpenRouter and writes nothing, however old the status is."""
    OpenRouterKey.objects.update(checked_at=None)
    before = OpenRouterKey.objects.values().get()
    browser.get("/openrouter/status/")
    after = OpenRouterKey.objects.values().get()
    assert len(openrouter.mock.calls) == 0
    assert before == after


@pytest.mark.parametrize("page", WRITES)
def test_strangers(client, db, page):
    """JS 223: a stranger's program gets a 401 as problem details, not a login page."""
    response = send(client, page, {})
    assert response.status_code == 401
    assert response["Content-Type"] == "application/problem+json"
    assert response["Cache-Control"] == "no-store"


def test_json_body_is_enough(browser):
    """Who sends JSON is a program, also where it accepts anything, as fetch() does by itself."""
    response = browser.post("/openrouter/connect/", {}, content_type="application/json")
    assert response.json()["authorization_url"].startswith("https://openrouter.ai/auth?")


def test_key_that_may_be_left_over(browser, openrouter):
    """A program is told of a key that may have been made, and where its user deletes it."""
    browser.get("/openrouter/code/", headers=JSON)
    openrouter.mock.upsert("POST", "https://openrouter.ai/api/v1/auth/keys", status=500)
    body = send(browser, "code", {"code": CODE}).json()
    assert body["detail"].startswith(str(ProviderUnavailable.message))
    assert "A key that nobody uses may now be in your OpenRouter account" in body["detail"]
    assert body["openrouter_keys"] == "https://openrouter.ai/settings/keys"


def test_insecure_callback(browser, settings):
    """A callback that OpenRouter would not take is a 500 with the code, and no attempt."""
    settings.OPENROUTER_AUTH_SITE_URL = None
    response = send(browser, "connect", {})
    assert (response.status_code, response.json()["code"]) == (500, "insecure_callback")
    assert not ConnectAttempt.objects.exists()
