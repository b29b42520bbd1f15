from decimal import Decimal
from http import HTTPStatus
from pathlib import Path

import pytest
from django.contrib.staticfiles import finders
from django.test import Client
from django.urls import reverse

from django_openrouter_auth.sandbox.identity import COOKIE
from django_openrouter_auth.sandbox.models import SandboxKey, SandboxSwitches

from . import ACCOUNT, CHALLENGE

pytestmark = pytest.mark.django_db

FAULTS = "/openrouter-sandbox/faults"
PAGES = [
    "",
    "auth?callback_url=https%3A%2F%2Fapp.example%2F",
    f"auth?code_challenge={CHALLENGE}",
    "auth",
    "sign-in",
    "settings/keys",
    "settings/credits",
    "faults",
    "keys/unknown",
    "logs",
]


def key_url(row):
    """Return the address of a key's page."""
    return f"/openrouter-sandbox/keys/{row.key_hash}"


@pytest.mark.parametrize("page", PAGES)
def test_every_page_says_that_it_is_a_sandbox(ada, page):
    """Nobody takes a page for the real thing."""
    answer = ada.get(f"/openrouter-sandbox/{page}")
    assert "Sandbox: not the real OpenRouter." in answer.text


@pytest.mark.parametrize("page", PAGES)
def test_pages_work_under_a_strict_content_security_policy(ada, page):
    """No inline script or style, and nothing from elsewhere."""
    text = ada.get(f"/openrouter-sandbox/{page}").text
    for forbidden in ("<script", "<style", " style=", " onclick=", "data:", "//cdn"):
        assert forbidden not in text


@pytest.mark.parametrize("page", PAGES)
def test_pages_are_not_cached(ada, page):
    """Pages show the state of now."""
    assert "no-store" in ada.get(f"/openrouter-sandbox/{page}")["Cache-Control"]


@pytest.mark.parametrize("page", ["sign-in", "auth?callback_url=https%3A%2F%2Fa.example", "faults"])
def test_every_field_has_a_label(ada, page):
    """Each field can be found by its label."""
    answer = ada.get(f"/openrouter-sandbox/{page}")
    for field in answer.context["form"]:
        assert f'<label for="{field.id_for_label}">' in answer.text
        assert f'id="{field.id_for_label}"' in answer.text


def test_the_stylesheet_is_found():
    """The stylesheet that the pages ask for exists, and knows dark screens."""
    stylesheet = finders.find("openrouter_sandbox/sandbox.css")
    assert stylesheet is not None
    assert "prefers-color-scheme: dark" in Path(stylesheet).read_text()


def test_the_first_page_tells_how_to_point_a_site_at_it(client):
    """Both addresses can be copied from there."""
    text = client.get("/openrouter-sandbox/").text
    assert "http://testserver/openrouter-sandbox/auth" in text
    assert "http://testserver/openrouter-sandbox/api/v1" in text


@pytest.mark.parametrize("page", ["settings/keys", "settings/credits"])
def test_an_accounts_pages_ask_to_sign_in(client, page):
    """A signed-out visitor comes back after signing in."""
    answer = client.get(f"/openrouter-sandbox/{page}")
    assert answer.status_code == HTTPStatus.FOUND
    assert answer["Location"].startswith(reverse("openrouter_sandbox:sign_in"))


def test_the_list_shows_the_accounts_own_keys(ada):
    """Own keys with their links, and nobody else's."""
    mine, _ = SandboxKey.mint(account=ACCOUNT, name="Mine", limit=Decimal(3))
    SandboxKey.mint(account="grace@example.com", name="Hers")
    text = ada.get("/openrouter-sandbox/settings/keys").text
    assert key_url(mine) in text
    assert "$3.00" in text
    assert "Hers" not in text


def test_a_keys_page_is_shown_to_its_owner(ada):
    """The page at /keys/<hash> has the mask, the limit and a button."""
    row, key = SandboxKey.mint(account=ACCOUNT, name="Mine", limit=Decimal(3), limit_reset="daily")
    text = ada.get(key_url(row)).text
    assert row.label in text
    assert "resets daily" in text
    assert "Delete this key" in text
    assert key not in text


@pytest.mark.parametrize("method", ["get", "post"])
def test_a_keys_page_is_not_there_for_others(client, method):
    """Signed out or signed in as somebody else: 404, and the key stays."""
    row, key = SandboxKey.mint(account=ACCOUNT)
    assert getattr(client, method)(key_url(row)).status_code == HTTPStatus.NOT_FOUND
    client.post("/openrouter-sandbox/sign-in", {"account": "grace@example.com"})
    assert getattr(client, method)(key_url(row)).status_code == HTTPStatus.NOT_FOUND
    assert SandboxKey.find(key)


def test_the_owner_can_delete_a_key(ada):
    """After that the key does not work, and its page is gone."""
    row, key = SandboxKey.mint(account=ACCOUNT)
    assert ada.post(key_url(row))["Location"] == "/openrouter-sandbox/settings/keys"
    assert SandboxKey.find(key) is None
    assert ada.get(key_url(row)).status_code == HTTPStatus.NOT_FOUND


def test_deleting_needs_a_csrf_token(ada):
    """Another site cannot delete a visitor's key."""
    row, key = SandboxKey.mint(account=ACCOUNT)
    strict = Client(enforce_csrf_checks=True)
    strict.cookies[COOKIE] = ada.cookies[COOKIE].value
    assert strict.post(key_url(row)).status_code == HTTPStatus.FORBIDDEN
    assert SandboxKey.find(key)


def test_activity_is_shown_to_the_keys_owner(ada, call):
    """One line for every answer, found by the key's hash."""
    row, key = SandboxKey.mint(account=ACCOUNT, name="Mine")
    url = f"/openrouter-sandbox/logs?api_key_hash={row.key_hash}"
    assert "has not been used yet" in ada.get(url).text
    body = {"model": "openai/gpt-4o", "messages": [{"role": "user", "content": "Hello"}]}
    call("api_chat", key=key, json=body, headers={"X-OpenRouter-Title": "My app"})
    text = ada.get(url).text
    assert "openai/gpt-4o" in text
    assert "My app" in text
    assert Client().get(url).status_code == HTTPStatus.NOT_FOUND


def test_credits_are_counted_down(ada, call):
    """What the account's keys spent is gone."""
    _, key = SandboxKey.mint(account=ACCOUNT)
    assert "$25.0000" in ada.get("/openrouter-sandbox/settings/credits").text
    body = {"model": "openai/gpt-4o", "input": "Hello"}
    cost = call("api_responses", key=key, json=body).json()["usage"]["cost"]
    assert f"${25 - cost:.4f}" in ada.get("/openrouter-sandbox/settings/credits").text


def switches_as_posted(client):
    """Return what the form of the switchboard would send as it is."""
    form = client.get(FAULTS).context["form"]
    return {name: value for name, value in form.initial.items() if value is not False}


def test_switches_are_set_on_their_page(client):
    """What is saved there holds for the next request."""
    posted = switches_as_posted(client) | {"exchange_fault": "slow", "slow_seconds": "1.5"}
    del posted["echo_state"]
    assert client.post(FAULTS, posted)["Location"] == FAULTS
    switches = SandboxSwitches.load()
    assert (switches.exchange_fault, switches.slow_seconds) == ("slow", 1.5)
    assert switches.echo_state is False
    assert str(switches) == "Sandbox switches"


def test_switches_refuse_what_they_do_not_know(client):
    """An unknown fault or an endless delay comes back with an error and changes nothing."""
    posted = switches_as_posted(client) | {"exchange_fault": "flood", "slow_seconds": "121"}
    answer = client.post(FAULTS, posted)
    assert answer.status_code == HTTPStatus.BAD_REQUEST
    assert set(answer.context["form"].errors) == {"exchange_fault", "slow_seconds"}
    assert not SandboxSwitches.objects.exists()


def test_switches_can_all_be_turned_back(client, turn):
    """The second button restores the defaults."""
    turn(exchange_fault="slow", echo_state=False)
    client.post(FAULTS, {"reset": "1"})
    switches = SandboxSwitches.load()
    assert (switches.exchange_fault, switches.echo_state) == ("none", True)


def test_switches_are_one_row():
    """Whoever loads and saves them means the same ones."""
    for fault in ("slow", "huge"):
        switches = SandboxSwitches.load()
        switches.exchange_fault = fault
        switches.save()
    assert SandboxSwitches.objects.get().exchange_fault == "huge"


def test_switches_need_a_csrf_token():
    """Another site cannot turn them."""
    strict = Client(enforce_csrf_checks=True)
    assert strict.post(FAULTS, {"reset": "1"}).status_code == HTTPStatus.FORBIDDEN


def test_the_switchboard_shows_the_last_requests(client, call):
    """What the API was asked can be followed there."""
    assert "None yet." in client.get(FAULTS).text
    call("api_key", headers={"X-OpenRouter-Title": "My app"})
    text = client.get(FAULTS).text
    assert "GET /openrouter-sandbox/api/v1/key" in text
    assert "My app" in text


@pytest.mark.parametrize(
    "middleware",
    [
        [],
        [
            "django.contrib.sessions.middleware.SessionMiddleware",
            "django.middleware.csrf.CsrfViewMiddleware",
            "django.contrib.auth.middleware.AuthenticationMiddleware",
            "django.contrib.auth.middleware.LoginRequiredMiddleware",
        ],
    ],
)
def test_it_works_with_any_middleware(settings, call, key, middleware):
    """Without any, and under LoginRequiredMiddleware: the site's own login plays no part."""
    settings.MIDDLEWARE = middleware
    browser = Client()
    for page in PAGES:
        answer = browser.get(f"/openrouter-sandbox/{page}")
        assert not answer.headers.get("Location", "").startswith(settings.LOGIN_URL)
    signed_in = browser.post("/openrouter-sandbox/sign-in", {"account": ACCOUNT})
    assert signed_in["Location"] == "/openrouter-sandbox/"
    assert call("api_key", key=key).status_code == HTTPStatus.OK
    assert call("api_exchange", json={}).status_code == HTTPStatus.BAD_REQUEST


def test_the_api_needs_no_csrf_token(key):
    """Clients of the API have no cookies."""
    strict = Client(enforce_csrf_checks=True)
    body = {"model": "openai/gpt-4o", "input": "Hello"}
    answer = strict.post(
        "/openrouter-sandbox/api/v1/responses",
        body,
        content_type="application/json",
        headers={"Authorization": f"Bearer {key}"},
    )
    assert answer.status_code == HTTPStatus.OK
