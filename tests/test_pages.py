"""What the pages tell: each thing once, in words, with the next step at hand."""

import re
from datetime import UTC, datetime, timedelta

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from django_openrouter_auth import exceptions
from django_openrouter_auth.models import OpenRouterKey

from .connecting import CODE, HINT, KEY, message_text, start

JSON = {"Accept": "application/json"}


def test_what_is_wrong_is_said_once(browser, connected, openrouter):
    """After a check that finds the key dead the page does not repeat the message."""
    openrouter.forgets()
    page = browser.post("/openrouter/check/", follow=True).text
    assert page.count("was deleted, switched off or has expired") == 1
    assert "Rejected by OpenRouter" in page
    assert browser.get("/openrouter/").text.count("was deleted, switched off or has expired") == 1


def test_other_news_do_not_hide_what_is_wrong(browser, connected):
    """A message about something else leaves it to the page to say that the key is dead."""
    OpenRouterKey.objects.update(status="rejected", check_began_at=timezone.now())
    page = browser.post("/openrouter/check/", follow=True).text
    assert "was asked about this key a moment ago" in page
    assert page.count("was deleted, switched off or has expired") == 1


def test_messages_wait_for_each_other(browser, connected):
    """A message that nobody has seen yet is still there when the next one comes."""
    browser.post("/openrouter/disconnect/")
    browser.post("/openrouter/disconnect/")
    page = browser.get("/openrouter/").text
    assert "this site has deleted its copy of your key" in page
    assert "OpenRouter was not connected, so nothing was changed." in page


@pytest.mark.parametrize(
    ("page", "back"),
    [("connect", "connect/"), ("disconnect", "disconnect/"), ("check", "")],
)
def test_strangers_come_back_by_get(client, page, back):
    """Whoever has to sign in first is led to a page that a browser can open, in htmx as well."""
    where = f"/accounts/login/?next=/openrouter/{back}"
    response = client.post(f"/openrouter/{page}/")
    assert (response.status_code, response["Location"]) == (303, where)
    response = client.post(f"/openrouter/{page}/", headers={"HX-Request": "true"})
    assert (response.status_code, response.get("HX-Redirect")) == (200, where)


def test_wish_goes_along(browser, connected):
    """Where the visitor wants to go afterwards is handed on by every form and link of a page."""
    field = '<input type="hidden" name="next" value="/ok/">'
    page = browser.get("/openrouter/?next=/ok/").text
    assert page.count(field) == page.count("<form") == 2
    assert 'href="/openrouter/disconnect/?next=%2Fok%2F"' in page
    page = browser.get("/openrouter/disconnect/?next=/ok/").text
    assert page.count(field) == page.count("<form") == 1
    assert re.search(r'href="/ok/"><[^>]+>Stay connected', page)


@pytest.mark.parametrize(("query", "back"), [("", "/openrouter/"), ("?next=/chat/", "/chat/")])
def test_way_back_for_the_connected(browser, connected, query, back):
    """Who signs in from the button and is connected already goes on without a second key."""
    page = browser.get(f"/openrouter/connect/{query}").content.decode()
    assert re.search(rf'href="{back}"><span[^>]*>Stay connected', page)
    OpenRouterKey.objects.update(status="rejected")
    assert "Stay connected" not in browser.get(f"/openrouter/connect/{query}").content.decode()


def buttons(page):
    """The labels of the page's buttons, and which of them stands out."""
    actions = page.partition('<div class="openrouter-actions">')[2].partition("</div>")[0]
    found = re.findall(r'(?s)class="openrouter-button([^"]*)"[^>]*>.*?label">([^<]+)<', actions)
    return [label for _, label in found], [label for look, label in found if "--branded" in look]


@pytest.mark.parametrize(
    ("facts", "first"),
    [
        ({}, "Check now"),
        ({"expires_at": timezone.now() + timedelta(days=2)}, "Connect again"),
        ({"expires_at": timezone.now() - timedelta(days=2)}, "Connect again"),
        ({"status": "rejected"}, "Connect again"),
        ({"status": "unreadable"}, "Connect again"),
    ],
)
def test_one_next_step(browser, connected, facts, first):
    """Of what can be done, one thing stands out and comes first: what this key needs."""
    OpenRouterKey.objects.update(**facts)
    labels, outstanding = buttons(browser.get("/openrouter/").text)
    assert sorted(labels) == ["Check now", "Connect again", "Disconnect"]
    assert labels[0] == first
    assert outstanding == [first]


@pytest.mark.parametrize(
    ("facts", "is_used_up"),
    [
        ({"is_limited": True, "limit": 10, "limit_remaining": 0}, True),
        ({"is_limited": True, "limit": 10, "limit_remaining": -1}, True),
        ({"is_limited": True, "limit": 0, "limit_remaining": 0}, True),
        ({"is_limited": True, "limit": 10, "limit_remaining": 1}, False),
        ({"is_limited": True, "limit": 10, "limit_remaining": None}, False),
        ({"is_limited": False, "limit": None, "limit_remaining": None}, False),
        ({"is_limited": None, "limit": None, "limit_remaining": None}, False),
    ],
)
def test_used_up_limit(browser, connected, facts, is_used_up):
    """A key that may spend nothing more leads to where its limit is raised, and says so."""
    OpenRouterKey.objects.update(**facts)
    page = browser.get("/openrouter/").text
    assert ("had used up its spending limit" in page) == is_used_up
    assert ("Raise the limit at OpenRouter" in page) == is_used_up
    if is_used_up:
        assert f'branded" href="{connected.settings_url}"' in page
        assert buttons(page)[0][0] == "Raise the limit at OpenRouter"
    assert len(buttons(page)[1]) == 1


def test_expired_key_has_other_ways(browser, connected):
    """Who needs a new key may bring it in any of the ways."""
    OpenRouterKey.objects.update(expires_at=timezone.now() - timedelta(days=2))
    assert "Enter a code instead" in browser.get("/openrouter/").text


@pytest.mark.parametrize(("days", "words"), [(2, "expires soon, on"), (-2, "has expired (")])
def test_end_of_a_key(browser, connected, days, words):
    """A key that ends soon, and one that has ended, are told apart."""
    OpenRouterKey.objects.update(expires_at=timezone.now() + timedelta(days=days))
    page = browser.get("/openrouter/").text
    assert f"This key {words}" in page
    assert ("has expired" in page) is (days < 0)


def test_management_key_was_checked(browser, connected):
    """A key that turned out to be a management key is not said to be unchecked."""
    OpenRouterKey.objects.update(check_error="provider_unavailable")
    assert "could not be checked just now" in browser.get("/openrouter/").text
    OpenRouterKey.objects.update(check_error="management_key")
    page = browser.get("/openrouter/").text
    assert "could not be checked just now" not in page
    assert "This is a management key" in page


def test_failed_check_is_told_once(browser, connected, openrouter):
    """Whoever asked for a check that failed is told why by the message, and by the page later."""
    openrouter.fails(500, at="key")
    said = "OpenRouter could not be reached"
    assert browser.post("/openrouter/check/", follow=True).text.count(said) == 1
    assert browser.get("/openrouter/").text.count(said) == 1


def test_unchecked_new_key_is_told_once(browser, openrouter):
    """Whoever connects while OpenRouter cannot check keys reads that in the message alone."""
    openrouter.fails(500, at="key")
    browser.get(start(browser).path, {"code": CODE})
    page = browser.get("/openrouter/").text
    assert "is not checked yet" in page
    assert "could not be checked just now" not in page


def test_page_asks_for_the_key_once(browser, connected):
    """The page of a connection reads it once, and does not look again to show it."""
    with CaptureQueriesContext(connection) as queries:
        browser.get("/openrouter/")
    table = OpenRouterKey._meta.db_table
    assert len([query for query in queries if table in query["sql"]]) == 1


def test_page_that_is_fetched_ahead(browser, connected):
    """A page that a browser fetches before its user asks for it shows the connection."""
    assert HINT in browser.get("/openrouter/", headers={"Sec-Purpose": "prefetch"}).text


def test_messages_are_optional(browser, connected, openrouter, settings):
    """A site without django.contrib.messages shows the state all the same."""
    openrouter.forgets()
    settings.MIDDLEWARE = [name for name in settings.MIDDLEWARE if "messages" not in name]
    page = browser.post("/openrouter/check/", follow=True).text
    assert page.count("Rejected by OpenRouter") == 1


@pytest.mark.parametrize("is_allowed", [True, False])
def test_key_in_place_of_a_code(browser, settings, is_allowed):
    """Who enters a key where a code belongs is shown the page for keys, if there is one."""
    settings.OPENROUTER_AUTH_ALLOW_PASTED_KEYS = is_allowed
    browser.get("/openrouter/code/")
    text = message_text(browser.post("/openrouter/code/", {"code": KEY}))
    assert text.startswith("That was an API key and not a code")
    assert ('<a href="/openrouter/key/">' in text) is is_allowed


@pytest.mark.parametrize("body", [{}, {"api_key": " "}])
def test_no_key(browser, body):
    """Nothing entered is not called damaged."""
    response = browser.post("/openrouter/key/", body, headers=JSON)
    problem = response.json()
    assert (response.status_code, problem["code"]) == (400, "key_malformed")
    assert problem["detail"].startswith("No key was entered, so nothing was saved.")


def test_times_are_for_people_and_programs(browser, connected, settings):
    """Times stand in the current zone, which is named, and in ISO 8601 for programs."""
    settings.TIME_ZONE = "Europe/Berlin"
    moment = datetime(2099, 1, 2, 3, 4, tzinfo=UTC)
    OpenRouterKey.objects.update(expires_at=moment)
    page = browser.get("/openrouter/").text
    expected = '<time datetime="2099-01-02T04:04:00+01:00">Jan. 2, 2099, 4:04 a.m. CET</time>'
    assert expected in page


def test_age_of_what_is_shown(browser, connected):
    """The page says how old its facts are."""
    OpenRouterKey.objects.update(checked_at=timezone.now() - timedelta(minutes=3, seconds=1))
    assert "3 minutes ago" in browser.get("/openrouter/").text


@pytest.mark.parametrize(("label", "is_shown"), [("Chat of ann", True), (None, False)])
def test_label(browser, connected, label, is_shown):
    """What OpenRouter calls the key is shown, unless it is the mask that stands there anyway."""
    OpenRouterKey.objects.update(label=label or connected.hint)
    page = browser.get("/openrouter/").text
    assert ("Label at OpenRouter" in page) is is_shown
    assert ("<bdi>Chat of ann</bdi>" in page) is is_shown


def test_terms_are_text(browser, connected):
    """T23: what the site asked for, a user's name perhaps, is escaped."""
    OpenRouterKey.objects.update(requested={"key_label": "Chat of <b>ann</b>", "<i>x": "1"})
    page = browser.get("/openrouter/").text
    assert "Chat of &lt;b&gt;ann" in page
    assert "&lt;i&gt;x" in page
    assert "<b>ann" not in page
    assert "<i>x" not in page


@pytest.mark.parametrize("fact", [True, False, None])
def test_free_tier(browser, connected, fact):
    """Only who never bought credit is told so: it is why some models may refuse."""
    OpenRouterKey.objects.update(is_free_tier=fact)
    page = browser.get("/openrouter/").text
    assert ("no credit was ever bought" in page) is (fact is True)


def test_deep_links(browser, connected):
    """Key page and activity at OpenRouter are one click away."""
    page = browser.get("/openrouter/").text
    assert f'href="https://openrouter.ai/keys/{connected.key_hash}"' in page
    assert f'href="https://openrouter.ai/logs?api_key_hash={connected.key_hash}"' in page


def test_what_disconnecting_does(browser, connected):
    """The page says what goes, what stays and who can change that."""
    page = browser.get("/openrouter/disconnect/").text
    assert "This site deletes its copy of the key" in page
    assert "works until you delete it there: only you can do that" in page
    assert f'href="https://openrouter.ai/keys/{connected.key_hash}"' in page
    assert "revoke" not in page


EVERY = [
    kind
    for kind in vars(exceptions).values()
    if isinstance(kind, type) and issubclass(kind, exceptions.OpenRouterAuthError)
]


@pytest.mark.parametrize("kind", EVERY)
def test_every_message_is_for_people(kind):
    """Each message is whole sentences, names no code, and blames nobody."""
    text = str(kind.message)
    assert re.fullmatch(r"[A-Z].+\.", text)
    assert len(re.findall(r"[.](?: |$)", text)) >= 2
    assert kind.code not in text
    assert not re.search(r"\b(invalid|error|failed|illegal|you must)\b", text, re.IGNORECASE)
