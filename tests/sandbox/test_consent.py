import datetime as dt
from decimal import Decimal
from http import HTTPStatus
from urllib.parse import parse_qs, urlsplit

import pytest
from django.test import Client

from django_openrouter_auth.sandbox.identity import COOKIE
from django_openrouter_auth.sandbox.models import SandboxCode
from django_openrouter_auth.sandbox.tokens import digest

from . import ACCOUNT, CHALLENGE

AUTH = "/openrouter-sandbox/auth"
CALLBACK = "https://app.example/cb"
ASKED = {
    "callback_url": CALLBACK,
    "code_challenge": CHALLENGE,
    "code_challenge_method": "S256",
}
TERMS = {"decision": "authorize", "name": "My laptop", "limit": "5"}
DENY = {"decision": "deny"}

pytestmark = pytest.mark.django_db


def landing(answer):
    """Return the query parameters that the callback receives."""
    assert answer.status_code == HTTPStatus.FOUND
    return parse_qs(urlsplit(answer["Location"]).query)


def test_a_signed_out_visitor_signs_in_first_and_loses_nothing(client):
    """The sign-in page gets the same URL as redirect_url, all parameters kept."""
    answer = client.get(AUTH, ASKED)
    target = urlsplit(answer["Location"])
    assert target.path == "/openrouter-sandbox/sign-in"
    [back] = parse_qs(target.query)["redirect_url"]
    assert parse_qs(urlsplit(back).query) == {name: [value] for name, value in ASKED.items()}
    client.post(answer["Location"], {"account": ACCOUNT})
    assert client.get(back).status_code == HTTPStatus.OK


def test_consent_given_after_signing_out_leads_to_signing_in(client):
    """A form that outlived the cookie approves nothing."""
    answer = client.post(AUTH, TERMS, query_params=ASKED)
    assert "/sign-in" in answer["Location"]
    assert not SandboxCode.objects.exists()


@pytest.mark.parametrize(
    ("callback", "name"),
    [
        ("http://localhost:3000/cb", "localhost:3000"),
        ("http://127.0.0.1:8000/cb", "127.0.0.1:8000"),
        ("https://app.example/cb", "app.example"),
        ("https://user:pass@app.example/cb", "app.example"),
    ],
)
def test_the_app_is_named_by_the_origin_of_its_callback(ada, callback, name):
    """The page says who asks and where the answer goes."""
    page = ada.get(AUTH, {"callback_url": callback}).text
    assert f"<strong>{name}</strong>" in page
    assert callback in page


def test_the_key_name_is_filled_in(ada):
    """key_label becomes the suggested name of the key."""
    page = ada.get(AUTH, ASKED | {"key_label": "x" * 101})
    assert f'value="{"x" * 100}"' in page.text


@pytest.mark.parametrize(
    ("limit", "shown"),
    [(None, "10"), ("2.5", "2.5"), ("0", "0"), ("much", "10"), ("-1", "10"), ("NaN", "10")],
)
def test_the_credit_limit_is_filled_in(ada, limit, shown):
    """The limit is 10 dollars unless the app asks for another amount."""
    asked = ASKED if limit is None else ASKED | {"limit": limit}
    assert f'name="limit" value="{shown}"' in ada.get(AUTH, asked).text


@pytest.mark.parametrize(
    "callback",
    [
        "https://app.example",
        "https://app.example:8443/cb",
        "https://192.168.1.5/cb",
        "http://localhost:3000/cb",
        "http://localhost/cb",
        "http://127.0.0.1:49152/cb",
    ],
)
def test_https_and_loopback_callbacks_are_accepted(ada, callback):
    """Https to any host and port, and http to localhost and 127.0.0.1 on any port."""
    assert ada.get(AUTH, {"callback_url": callback}).status_code == HTTPStatus.OK


@pytest.mark.parametrize(
    ("callback", "reason"),
    [
        ("http://app.example/cb", "has to begin with https://"),
        ("http://192.168.1.5:3000/cb", "has to begin with https://"),
        ("http://0.0.0.0:3000/cb", "has to begin with https://"),
        ("http://[::1]:3000/cb", "has to begin with https://"),
        ("http://localhost@evil.example/cb", "has to begin with https://"),
        ("vscode://app/cb", "has to begin with https://"),
        ("/cb", "not an absolute URL"),
        ("javascript:alert(1)", "not an absolute URL"),
        ("https:///cb", "not an absolute URL"),
        ("https://app.example:port/cb", "not a URL"),
        ("https://[::1/cb", "not a URL"),
        ("https://app.example/a b", "spaces or control characters"),
        ("https://app.example/\x7f", "spaces or control characters"),
    ],
)
def test_other_callbacks_are_refused_with_the_reason(ada, callback, reason):
    """Everything else is a page with status 400 that says why, and no redirect."""
    answer = ada.get(AUTH, ASKED | {"callback_url": callback})
    assert answer.status_code == HTTPStatus.BAD_REQUEST
    assert reason in answer.text


@pytest.mark.parametrize("method", ["s256", "PLAIN", "none"])
def test_an_unknown_challenge_method_is_refused(ada, method):
    """The method is S256 or plain, spelled like this."""
    answer = ada.get(AUTH, ASKED | {"code_challenge_method": method})
    assert answer.status_code == HTTPStatus.BAD_REQUEST


@pytest.mark.parametrize(
    ("asked", "method", "challenge_hash"),
    [
        ({"code_challenge": CHALLENGE, "code_challenge_method": "S256"}, "S256", digest(CHALLENGE)),
        ({"code_challenge": "v" * 43, "code_challenge_method": "plain"}, "plain", digest("v" * 43)),
        ({"code_challenge": CHALLENGE}, "", digest(CHALLENGE)),
        ({"code_challenge_method": "S256"}, "", ""),
        ({}, "", ""),
    ],
)
def test_the_code_remembers_challenge_and_method(ada, asked, method, challenge_hash):
    """What was asked for is what the exchange will be held to, a missing method included."""
    ada.post(AUTH, TERMS, query_params={"callback_url": CALLBACK, **asked})
    code = SandboxCode.objects.get()
    assert (code.method, code.challenge_hash) == (method, challenge_hash)


@pytest.mark.parametrize(
    ("callback", "begins"),
    [
        ("https://app.example", "https://app.example/?code="),
        ("https://app.example/cb/n0nce/", "https://app.example/cb/n0nce/?code="),
        ("https://app.example/cb?", "https://app.example/cb?code="),
        ("https://app.example/cb?a=1&b=%26", "https://app.example/cb?a=1&b=%26&code="),
        ("http://localhost:3000/cb#top", "http://localhost:3000/cb?code="),
    ],
)
def test_approval_keeps_the_callbacks_own_path_and_query(ada, callback, begins):
    """The code is appended with ? or &, whichever is right."""
    answer = ada.post(AUTH, TERMS, query_params=ASKED | {"callback_url": callback})
    assert answer["Location"].startswith(begins)
    assert digest(landing(answer)["code"][0]) == SandboxCode.objects.get().code_hash


def test_approval_returns_the_state(ada):
    """A state that was sent comes back unchanged."""
    answer = ada.post(AUTH, TERMS, query_params=ASKED | {"state": "a&b=c ü"})
    assert landing(answer)["state"] == ["a&b=c ü"]


def test_approval_without_a_state_returns_none(ada):
    """A state that was not sent does not come back."""
    assert set(landing(ada.post(AUTH, TERMS, query_params=ASKED))) == {"code"}


def test_the_state_can_be_kept_back(ada, turn):
    """With the switch off, approval is silent about the state, as OpenRouter used to be."""
    turn(echo_state=False)
    answer = ada.post(AUTH, TERMS, query_params=ASKED | {"state": "s"})
    assert set(landing(answer)) == {"code"}


def test_denial_says_so_and_keeps_the_callback(ada):
    """Denying returns error=access_denied, without state, and makes no code."""
    asked = ASKED | {"callback_url": f"{CALLBACK}/n0nce?a=1", "state": "s"}
    answer = ada.post(AUTH, DENY, query_params=asked)
    assert answer["Location"] == f"{CALLBACK}/n0nce?a=1&error=access_denied"
    assert not SandboxCode.objects.exists()


def test_denial_can_carry_a_description(ada, turn):
    """With the switch on, error_description comes along."""
    turn(describe_denial=True)
    answer = ada.post(AUTH, DENY, query_params=ASKED)
    assert set(landing(answer)) == {"error", "error_description"}


def test_without_a_callback_the_code_is_shown(ada):
    """Headless: the code is on the page, and there is no redirect."""
    asked = {"code_challenge": CHALLENGE, "code_challenge_method": "S256", "state": "s"}
    assert "An app" in ada.get(AUTH, asked).text
    answer = ada.post(AUTH, TERMS, query_params=asked)
    assert answer.status_code == HTTPStatus.OK
    assert digest(answer.context["code"]) == SandboxCode.objects.get().code_hash
    assert answer.context["code"] in answer.text


def test_without_a_callback_denial_is_a_page(ada):
    """Headless: there is nowhere to send a denial to."""
    answer = ada.post(AUTH, DENY, query_params={"code_challenge": CHALLENGE})
    assert "Denied" in answer.text
    assert not SandboxCode.objects.exists()


def test_without_a_callback_a_challenge_is_required(ada):
    """Headless without a challenge is refused: anybody could use a code read over a shoulder."""
    answer = ada.get(AUTH)
    assert answer.status_code == HTTPStatus.BAD_REQUEST
    assert "takes a code_challenge" in answer.text


def test_the_terms_are_the_users(ada, clock):
    """Name, limit, reset and expiry are what the user chose, for the account that is signed in."""
    terms = TERMS | {"limit_reset": "weekly", "expires_in": "24"}
    ada.post(AUTH, terms, query_params=ASKED | {"key_label": "theirs", "limit": "99"})
    code = SandboxCode.objects.get()
    assert code.account == ACCOUNT
    assert code.name == "OAuth: My laptop"
    assert code.limit == Decimal(5)
    assert code.limit_reset == "weekly"
    assert code.key_expires_at == clock.now() + dt.timedelta(days=1)


def test_the_terms_may_be_open_ended(ada):
    """An empty limit and no expiry make a key without either."""
    ada.post(AUTH, TERMS | {"limit": ""}, query_params=ASKED)
    code = SandboxCode.objects.get()
    assert (code.limit, code.limit_reset, code.key_expires_at) == (None, "", None)


@pytest.mark.parametrize(
    "wrong",
    [{"name": ""}, {"name": "x" * 101}, {"limit": "-1"}, {"limit_reset": "hourly"}],
)
def test_terms_that_make_no_sense_come_back(ada, wrong):
    """A form with an error is shown again and approves nothing."""
    answer = ada.post(AUTH, TERMS | wrong, query_params=ASKED)
    assert answer.status_code == HTTPStatus.BAD_REQUEST
    assert 'class="error"' in answer.text
    assert not SandboxCode.objects.exists()


def test_consent_needs_a_csrf_token(ada):
    """Another site cannot approve in a visitor's name."""
    strict = Client(enforce_csrf_checks=True)
    strict.cookies[COOKIE] = ada.cookies[COOKIE].value
    assert strict.post(AUTH, TERMS, query_params=ASKED).status_code == HTTPStatus.FORBIDDEN


def test_looking_approves_nothing(ada):
    """Only the form makes a code."""
    ada.get(AUTH, ASKED | TERMS)
    assert not SandboxCode.objects.exists()
