"""What a request leaves behind: messages for the next page, and lines for the log."""

import re

import pytest
from django.contrib.messages import get_messages

from .connecting import CODE, KEY, OTHER_KEY, message_text, start

KEYS_PAGE = "https://openrouter.ai/settings/keys"


def links(html):
    """Return the words of each link by its address."""
    return dict(re.findall(r'<a href="([^"]+)">([^<]+)</a>', html))


# Links


def test_link_to_a_key_that_may_be_left_over(browser, openrouter):
    """Who may have a key that nobody uses is led to their keys by a link that says so."""
    openrouter.fails(500, at="auth/keys")
    text = message_text(browser.get(start(browser).path, {"code": CODE}))
    assert "your OpenRouter keys" in links(text)[KEYS_PAGE]


def test_link_from_codes_to_keys(browser):
    """Who enters a key where a code belongs is led to the page for keys by a link that says so."""
    browser.get("/openrouter/code/")
    text = message_text(browser.post("/openrouter/code/", {"code": KEY}))
    assert "a key" in links(text)["/openrouter/key/"]


def test_link_to_the_key_that_was_disconnected(browser, connected):
    """Who disconnects is led to the key by a link that says so."""
    text = message_text(browser.post("/openrouter/disconnect/"))
    assert "the key" in links(text)[connected.settings_url]


def test_link_to_the_key_that_was_replaced(browser, connected, openrouter):
    """Who connects another key is told about the previous one, and led to it."""
    text = message_text(browser.post("/openrouter/key/", {"api_key": OTHER_KEY}))
    sentences, _, _ = text.partition("<a ")
    assert "previous key" in sentences
    assert "previous key" in links(text)[connected.settings_url]


# Messages of a site that shows them early


def show_early(get_response):
    """Show the messages that wait before a view can leave another one."""

    def show(request):
        if "early" in request.GET:
            list(get_messages(request))
        return get_response(request)

    return show


def test_message_that_was_shown_does_not_come_back(browser, settings):
    """A message that a middleware has shown is not shown again because we leave another one."""
    settings.MIDDLEWARE = [*settings.MIDDLEWARE, f"{__name__}.{show_early.__name__}"]
    browser.post("/openrouter/disconnect/")
    browser.post("/openrouter/check/?early")
    (left,) = get_messages(browser.get("/openrouter/").wsgi_request)
    assert "nothing was changed" not in str(left)


# Lines for the log


@pytest.fixture
def broken(monkeypatch):
    """Let whatever connects fail in a way that nobody foresaw."""

    def explode(**facts):
        raise ZeroDivisionError

    for name in ("complete", "enter_code", "adopt_key"):
        monkeypatch.setattr(f"django_openrouter_auth.services.{name}", explode)


def test_log_of_a_callback_that_fails(browser, broken, caplog):
    """Of an error that nobody foresaw the log names the kind, and nothing of its text."""
    browser.get(start(browser).path, {"code": CODE})
    assert caplog.messages == ["openrouter callback failed: ZeroDivisionError"]


@pytest.mark.parametrize(("page", "field"), [("code", "code"), ("key", "api_key")])
def test_log_of_an_entry_that_fails(browser, broken, caplog, page, field):
    """The same for a code that is entered and a key that is pasted."""
    browser.post(f"/openrouter/{page}/", {field: KEY})
    assert caplog.messages == ["openrouter entry failed: ZeroDivisionError"]


def test_log_of_a_start_that_fails(browser, user, settings, caplog):
    """Of a start that fails the log names code and user, so that whoever asks can be helped."""
    settings.OPENROUTER_AUTH_SITE_URL = "http://app.example"
    browser.post("/openrouter/connect/")
    line = f"openrouter connect not started: code=insecure_callback user={user.pk}"
    assert line in caplog.messages
