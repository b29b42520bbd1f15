"""The guide to cookies and sessions."""

import pytest
from django.test import Client

from django_openrouter_auth.shortcuts import get_api_key
from tests.connecting import CODE, KEY, outcome, start
from tests.documented import Page

from .applying import apply, complaints

PAGE = Page("howto/cookies")
LIVE = PAGE.take("# settings.py")
PREFIXES = PAGE.take("# settings.py, with prefixes")
SIGNED = PAGE.take("# settings.py, with signed cookies")
MEMBERS = PAGE.take("# settings.py, for members only")


@pytest.fixture
def visitor(user, site_url):
    """A browser without cookies, which checks CSRF tokens as real ones have to."""
    return Client(enforce_csrf_checks=True, headers={"host": "testserver"})


@pytest.mark.parametrize("block", [LIVE, PREFIXES, SIGNED, MEMBERS])
def test_connecting(block, client, user, openrouter, settings, site_url):
    """Under each of the settings users connect, and the checks have nothing to say."""
    apply(block, settings)
    assert complaints() == []
    client.force_login(user)
    assert outcome(client.get(start(client).path, {"code": CODE})) == ("success", "connected")
    assert get_api_key(user) == KEY


def test_no_cookie_of_our_own(browser, openrouter):
    """After connecting there are the cookies of sessions, messages and CSRF, and no other."""
    browser.get("/openrouter/")
    browser.get(start(browser).path, {"code": CODE})
    assert set(browser.cookies) <= {"sessionid", "messages", "csrftoken"}
    assert len(browser.session["openrouter_auth"]) == 22


@pytest.mark.parametrize("name", ["CSRF_USE_SESSIONS", "CSRF_COOKIE_HTTPONLY"])
def test_csrf(name, visitor, user, openrouter, settings):
    """The form of a page is accepted, wherever its token is kept."""
    setattr(settings, name, True)
    visitor.force_login(user)
    page = visitor.get("/openrouter/connect/")
    token = str(page.context["csrf_token"])
    assert visitor.post("/openrouter/connect/").status_code == 403
    answer = visitor.post("/openrouter/connect/", {"csrfmiddlewaretoken": token})
    assert answer.status_code == 303
    assert answer["Location"].startswith("https://openrouter.ai/auth?")


def test_strict_cookie(browser, user, openrouter):
    """Without the cookie the callback answers with a page, once, and then asks for the login."""
    started = start(browser)
    stranger = Client()
    page = stranger.get(started.path, {"code": CODE})
    assert page.status_code == 200
    assert b"bounced=1" in page.content
    assert b"<script" not in page.content
    again = stranger.get(started.path, {"code": CODE, "bounced": "1"})
    assert again["Location"] == "/accounts/login/?next=/openrouter/connect/"
    answer = browser.get(started.path, {"code": CODE, "bounced": "1"})
    assert outcome(answer) == ("success", "connected")


def test_callback_for_members_only(client, user, settings, openrouter, site_url):
    """No address of the login page has the code, also where a login is required everywhere."""
    apply(MEMBERS, settings)
    client.cookies["sessionid"] = "gone"
    answer = client.get("/openrouter/callback/x/", {"code": CODE})
    assert answer["Location"] == "/accounts/login/?next=/openrouter/connect/"
    assert client.get("/openrouter/")["Location"].startswith("/accounts/login/?next=/openrouter/")
    assert client.get("/openrouter/status/").status_code == 401


def test_attribute_of_the_callback():
    """The callback carries the attribute by which Django's middleware knows exempt views."""
    from django_openrouter_auth.views import callback

    assert callback.login_required is False
