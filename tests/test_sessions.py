"""Whose attempt is it: group SB of the threat model's catalogue."""

import json
from contextlib import suppress

import pytest
import responses
from django.contrib.auth.base_user import AbstractBaseUser
from django.contrib.auth.models import User
from django.db import DatabaseError, models, router, transaction
from django.test import Client
from django.test.utils import isolate_apps

from django_openrouter_auth import attempt_table
from django_openrouter_auth.attempts import open_attempt
from django_openrouter_auth.models import ConnectAttempt, OpenRouterKey
from django_openrouter_auth.shortcuts import get_api_key

from .connecting import API, CODE, KEY, is_clean, only_attempt, outcome, start

pytestmark = pytest.mark.django_db


def during_exchange(openrouter, action):
    """Let something happen while OpenRouter is being asked for the key."""

    def answer(request):
        action()
        return 200, {"Content-Type": "application/json"}, json.dumps({"key": KEY})

    openrouter.mock.remove(responses.POST, f"{API}/auth/keys")
    openrouter.mock.add_callback(
        responses.POST, f"{API}/auth/keys", answer, content_type="application/json"
    )


def test_anonymous_start_leads_to_the_login_page(client, db, site_url):
    """SB 29: nobody starts an attempt without being signed in; the wish survives the login."""
    response = client.post("/openrouter/connect/", {"next": "/ok/"})
    assert response["Location"] == (
        "/accounts/login/?next=/openrouter/connect/%3Fnext%3D%252Fok%252F"
    )
    assert not ConnectAttempt.objects.exists()


def test_anonymous_json_start_is_401(client, db, site_url):
    """SB 29: a program is told with problem details instead."""
    response = client.post("/openrouter/connect/", headers={"Accept": "application/json"})
    assert response.status_code == 401
    assert response["Content-Type"] == "application/problem+json"
    assert response.json()["code"] == "not_authenticated"


def test_wish_arrives_after_the_login(browser, user, openrouter):
    """The page to which the login leads passes the wish on to the form."""
    page = browser.get("/openrouter/connect/", {"next": "/ok/"}).content.decode()
    assert '<input type="hidden" name="next" value="/ok/">' in page


def test_another_user_in_the_same_browser(browser, other_user, openrouter):
    """SB 32: after a logout the next user cannot finish what the first one started."""
    started = start(browser)
    browser.logout()
    browser.force_login(other_user)
    response = browser.get(started.path, {"code": CODE})
    assert outcome(response) == ("error", "state_unknown")
    assert openrouter.exchanges == []
    assert not OpenRouterKey.objects.exists()


def test_another_browser_of_the_same_user(browser, user, openrouter):
    """SB 34: an attempt is finished in the browser in which it was started."""
    started = start(browser)
    elsewhere = Client()
    elsewhere.force_login(user)
    response = elsewhere.get(started.path, {"code": CODE})
    assert outcome(response) == ("error", "state_unknown")
    assert openrouter.exchanges == []
    browser.get(started.path, {"code": CODE})
    assert get_api_key(user) == KEY


def test_another_browser_with_an_attempt_of_its_own(browser, user, openrouter):
    """SB 34: nor in a browser that has started one itself."""
    started = start(browser)
    elsewhere = Client()
    elsewhere.force_login(user)
    start(elsewhere)
    response = elsewhere.get(started.path, {"code": CODE})
    assert outcome(response) == ("error", "state_unknown")
    assert openrouter.exchanges == []


def test_planted_browser_value(browser, other_user, openrouter):
    """SB 35: a value that an attacker planted before the victim's login does not help."""
    started = start(browser)
    victim = Client()
    session = victim.session
    session["openrouter_auth"] = browser.session["openrouter_auth"]
    session.save()
    victim.cookies["sessionid"] = session.session_key
    assert victim.login(username="bob", password="battery staple")
    response = victim.get(started.path, {"code": CODE})
    assert is_clean(response)
    assert outcome(response) == ("error", "user_mismatch")
    assert openrouter.exchanges == []
    assert only_attempt().claimed_at is None


def test_password_change_ends_the_session(browser, user, openrouter):
    """SB 36: whose session has ended is asked to sign in; the code is nowhere."""
    started = start(browser)
    user.set_password("new")
    user.save()
    response = browser.get(started.path, {"code": CODE})
    assert is_clean(response)
    assert response["Location"] == "/accounts/login/?next=/openrouter/connect/"
    assert openrouter.exchanges == []


def test_deactivated_user(browser, user, openrouter):
    """SB 37: a deactivated user is treated as nobody."""
    started = start(browser)
    User.objects.update(is_active=False)
    response = browser.get(started.path, {"code": CODE})
    assert outcome(response) == ("info", "not_authenticated")
    assert openrouter.exchanges == []


def test_deactivated_user_with_a_lenient_backend(browser, user, openrouter, settings):
    """SB 37: also where the site's backend lets deactivated users in."""
    settings.AUTHENTICATION_BACKENDS = ["django.contrib.auth.backends.AllowAllUsersModelBackend"]
    browser.force_login(user)
    started = start(browser)
    User.objects.update(is_active=False)
    response = browser.get(started.path, {"code": CODE})
    assert outcome(response) == ("info", "not_authenticated")
    assert openrouter.exchanges == []


def test_deleted_user(browser, user, openrouter):
    """SB 38: a deleted user's callback is an anonymous one."""
    started = start(browser)
    user.delete()
    response = browser.get(started.path, {"code": CODE})
    assert is_clean(response)
    assert openrouter.exchanges == []


@pytest.mark.parametrize(
    "action",
    [lambda: User.objects.update(is_active=False), lambda: User.objects.get().delete()],
    ids=["deactivated", "deleted"],
)
def test_user_lost_during_the_exchange(browser, user, openrouter, action):
    """SB 39: who is deactivated or deleted while OpenRouter answers gets no key stored."""
    started = start(browser)
    during_exchange(openrouter, action)
    response = browser.get(started.path, {"code": CODE})
    assert is_clean(response)
    assert outcome(response) == ("error", "storage_failed")
    assert not OpenRouterKey.objects.exists()


def test_other_session_data_is_preserved(browser, user, openrouter):
    """SB 42: what another tab writes into the session during the exchange is not lost."""
    started = start(browser)

    def write():
        session = browser.session
        session["basket"] = ["book"]
        session.save()

    during_exchange(openrouter, write)
    browser.get(started.path, {"code": CODE})
    assert browser.session["basket"] == ["book"]
    assert get_api_key(user) == KEY


def test_pages_do_not_touch_the_session(browser, django_assert_num_queries):
    """SB 46: pages with the button write nothing into the session of a pending user."""
    start(browser)
    before = dict(browser.session)
    for _ in range(5):
        response = browser.get("/")
        assert not response.wsgi_request.session.modified
    assert dict(browser.session) == before


def test_works_behind_login_required_middleware(browser, user, openrouter, settings):
    """The flow works under ``LoginRequiredMiddleware``, and its callback handles strangers."""
    settings.MIDDLEWARE = [
        *settings.MIDDLEWARE,
        "django.contrib.auth.middleware.LoginRequiredMiddleware",
    ]
    browser.get(start(browser).path, {"code": CODE})
    assert get_api_key(user) == KEY
    response = Client().get(f"/openrouter/callback/{'A' * 43}/?code={CODE}&bounced=1")
    assert response["Location"] == "/accounts/login/?next=/openrouter/connect/"


def test_works_without_the_messages_app(browser, user, openrouter, settings):
    """CF 235: a site without messages still connects; its pages show the state."""
    settings.MIDDLEWARE = [name for name in settings.MIDDLEWARE if "messages" not in name]
    settings.DEBUG = True  # or the sandbox, which is loaded again, would refuse
    settings.INSTALLED_APPS = [
        name for name in settings.INSTALLED_APPS if name != "django.contrib.messages"
    ]
    response = browser.get(start(browser).path, {"code": CODE})
    assert is_clean(response)
    assert get_api_key(user) == KEY


def test_user_model_without_is_active(browser, user, openrouter, monkeypatch):
    """A user model need not have ``is_active`` as a column."""
    monkeypatch.setattr(attempt_table, "get_user_model", lambda: OpenRouterKey)
    browser.get(start(browser).path, {"code": CODE})
    assert get_api_key(user) == KEY


@isolate_apps("tests")
def test_user_model_that_inherits(user, monkeypatch):
    """SB 39: a user model may have ``is_active`` from a parent, in the parent's table."""

    class Customer(User):
        pass

    monkeypatch.setattr(attempt_table, "get_user_model", lambda: Customer)
    customer = Customer(user_ptr_id=user.pk)
    attempt = open_attempt(customer, mode=ConnectAttempt.Mode.PASTED)
    for one in (customer, user):
        assert attempt_table.end(attempt, one, "connected")
    User.objects.update(is_active=False)
    assert not attempt_table.end(attempt, customer, "connected")


@isolate_apps("tests")
def test_user_model_with_a_column_of_its_own_kind(monkeypatch):
    """SB 39: ``is_active`` is compared with what its column holds, be it no boolean."""

    class YesOrNo(models.CharField):
        def get_prep_value(self, value):
            return "Y" if value else "N"

    class Employee(AbstractBaseUser):
        is_active = YesOrNo(max_length=1)

    monkeypatch.setattr(attempt_table, "get_user_model", lambda: Employee)
    assert attempt_table._may_sign_in(Employee(pk=7))[1] == [7, "Y"]


def test_attempt_is_looked_up_where_it_was_written(user, monkeypatch):
    """ST 156: a replica may not know an attempt yet, so it is not asked."""
    attempt = open_attempt(user, mode=ConnectAttempt.Mode.PASTED)

    def fail(*args, **kwargs):
        raise AssertionError

    monkeypatch.setattr(router, "db_for_read", fail)
    assert attempt_table.find(attempt.state_hash) is not None


def test_ending_an_attempt(user):
    """RC 47: an attempt ends once, for its own user; the same end again is no contradiction."""
    attempt = open_attempt(user, mode=ConnectAttempt.Mode.PASTED)
    other = User.objects.create_user("grace")
    assert not attempt_table.end(attempt, other, "connected")
    assert attempt_table.end(attempt, user, "connected")
    assert attempt_table.end(attempt, user, "connected")
    assert not attempt_table.end(attempt, user, "denied")
    assert ConnectAttempt.objects.get().outcome == "connected"


def test_failure_inside_a_transaction(user):
    """T26: a statement that fails and is caught lets nothing of its transaction through."""
    with transaction.atomic():
        with suppress(DatabaseError):
            attempt_table._run("UPDATE {attempts} SET no_such_column = 1")
        assert transaction.get_rollback()
