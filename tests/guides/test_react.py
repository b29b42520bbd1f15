"""The guide to single-page apps: Django's side. tests/browser/test_react.py runs the JavaScript."""

import json

import pytest
from django.test import Client

from django_openrouter_auth.testing import approve
from tests.documented import Page

PAGE = Page("howto/react")
VIEWS = PAGE.take("# chat/views.py")
URLS = PAGE.take("# mysite/urls.py")
TEMPLATE = PAGE.take("{# templates/app.html #}")
MODULE = PAGE.take("// openrouter.js")
OTHER_ORIGIN = PAGE.take("# settings.py, of Django at api.example.com")

APP, API = "https://www.example.com", "https://api.example.com"


@pytest.fixture
def ask(rf, user):
    """A function that calls the view as the user, with a body."""
    view = VIEWS.run()["ask"]

    def call():
        headers = {"Accept": "application/json"}
        request = rf.post("/api/ask/", {"question": "How are you?"}, headers=headers)
        request.user = user
        response = view(request)
        return response.status_code, json.loads(response.content)

    return call


def test_answer(ask, connected, openrouter):
    """The view answers with the user's key."""
    openrouter.answers("Fine.")
    assert ask() == (200, {"answer": "Fine."})


def test_without_a_key(ask):
    """Without a key the answer has the code and the way to connect."""
    status, answer = ask()
    assert (status, answer["code"]) == (403, "not_connected")
    assert answer["connect_url"].startswith("/openrouter/connect/")


@pytest.mark.parametrize(("status", "words"), [(402, "no credit left"), (500, "try again later")])
def test_bad_day(ask, connected, openrouter, status, words):
    """A refusal of OpenRouter is told in words of the site."""
    openrouter.fails(status, at="chat/completions")
    status, answer = ask()
    assert (status, answer["code"]) == (503, "no_answer")
    assert words in answer["detail"]


@pytest.fixture
def api(settings, user, openrouter):
    """A browser that is signed in at another host than that of the app, which asks for CSRF."""
    for name, value in OTHER_ORIGIN.run().items():
        if name.isupper():
            setattr(settings, name, value)
    settings.ALLOWED_HOSTS = ["api.example.com"]
    client = Client(enforce_csrf_checks=True, SERVER_NAME="api.example.com")
    client.force_login(user)
    return client


@pytest.mark.parametrize(("origin", "status"), [(APP, 200), ("https://evil.example", 403)])
def test_other_origin_may_start(api, origin, status):
    """The app at another host may connect, and nobody else's page may."""
    token = "x" * 32
    api.cookies["csrftoken"] = token
    response = api.post(
        "/openrouter/connect/",
        {},
        "application/json",
        headers={"Accept": "application/json", "Origin": origin, "X-CSRFToken": token},
        secure=True,
    )
    assert response.status_code == status
    # No answer of ours lets a script of another origin read it: that is for the site to allow.
    assert "Access-Control-Allow-Origin" not in response


def test_other_origin_gets_the_visitor_back(api):
    """After connecting, people come back to the app at the other host."""
    api.handler.enforce_csrf_checks = False
    assert approve(api)["Location"] == f"{APP}/settings"
