from http import HTTPStatus

import pytest
from django.test import Client
from django.urls import reverse

from django_openrouter_auth.sandbox.identity import COOKIE

from . import ACCOUNT

SIGN_IN = "/openrouter-sandbox/sign-in"


@pytest.mark.django_db
def test_it_asks_for_an_account_and_suggests_one(client):
    """The form has one field, filled in."""
    assert 'value="ada@example.com"' in client.get(SIGN_IN).text


@pytest.mark.django_db
def test_it_suggests_the_account_that_is_signed_in(client):
    """Who is signed in finds the own account in the form."""
    client.post(SIGN_IN, {"account": "grace@example.com"})
    assert 'value="grace@example.com"' in client.get(SIGN_IN).text


@pytest.mark.django_db
def test_the_cookie_is_signed_and_for_the_sandbox_only(client):
    """The account is in a signed, http-only cookie limited to the sandbox's path."""
    cookie = client.post(SIGN_IN, {"account": ACCOUNT}).cookies[COOKIE]
    assert cookie["path"] == "/openrouter-sandbox/"
    assert cookie["httponly"]
    assert cookie["samesite"] == "Lax"
    assert not cookie["secure"]


@pytest.mark.django_db
def test_the_cookie_is_secure_on_https(client):
    """Over https the cookie does not travel in the clear."""
    assert client.post(SIGN_IN, {"account": ACCOUNT}, secure=True).cookies[COOKIE]["secure"]


@pytest.mark.django_db
def test_a_forged_cookie_signs_nobody_in(client):
    """A cookie with a wrong signature counts as none."""
    client.cookies[COOKIE] = f"{ACCOUNT}:1abcde:forged"
    assert client.get(reverse("openrouter_sandbox:keys")).status_code == HTTPStatus.FOUND


@pytest.mark.django_db
def test_sign_out_forgets_the_account(ada):
    """The sign-out button ends what the sign-in began."""
    ada.post(SIGN_IN, {"sign_out": "1"})
    assert not ada.cookies[COOKIE].value


@pytest.mark.django_db
def test_an_account_has_to_look_like_an_email_address(client):
    """Something else than an e-mail address comes back with an error."""
    answer = client.post(SIGN_IN, {"account": "Ada"})
    assert answer.status_code == HTTPStatus.BAD_REQUEST
    assert COOKIE not in answer.cookies


@pytest.mark.django_db
def test_it_returns_to_where_the_visitor_came_from(client):
    """After signing in the visitor is where signing in was asked for, parameters included."""
    target = "/openrouter-sandbox/auth?callback_url=https%3A%2F%2Fapp.example%2F..%2Fcb"
    answer = client.post(SIGN_IN, {"account": ACCOUNT}, query_params={"redirect_url": target})
    assert answer["Location"] == target


@pytest.mark.django_db
@pytest.mark.parametrize(
    "target",
    [
        "",
        "https://evil.example/openrouter-sandbox/",
        "//evil.example/openrouter-sandbox/",
        "http:///evil.example/openrouter-sandbox/",
        "javascript:alert(1)",
        "/admin/",
        "/openrouter-sandbox/../admin/",
        "/openrouter-sandbox/%2e%2e/admin/",
        "/openrouter-sandbox/..\\admin/",
    ],
)
def test_it_redirects_into_the_sandbox_only(client, target):
    """A redirect_url that leads elsewhere is not followed."""
    answer = client.post(SIGN_IN, {"account": ACCOUNT}, query_params={"redirect_url": target})
    assert answer["Location"] == "/openrouter-sandbox/"


@pytest.mark.django_db
def test_it_needs_a_csrf_token(client):
    """Another site cannot sign a visitor in."""
    strict = Client(enforce_csrf_checks=True)
    assert strict.post(SIGN_IN, {"account": ACCOUNT}).status_code == HTTPStatus.FORBIDDEN
