"""The site of the tutorial, in Chromium."""

import pytest
from playwright.sync_api import expect

from tests.guides.test_tutorial import NAME, PASSWORD, serve, type_in

pytestmark = pytest.mark.browser


def test_tutorial(tmp_path, visit):
    """A reader signs in, connects and chats, and the pages fit every screen."""
    with serve(type_in(tmp_path / "chatsite")) as origin:
        visitor = visit(origin)
        page = visitor.page
        # A new project has no icon, and the browser asks for one by itself.
        page.route("**/favicon.ico", lambda route: route.fulfill(status=204))
        page.goto("/")
        visitor.click("Connect OpenRouter", role="link")
        page.get_by_label("Username").fill(NAME)
        page.get_by_label("Password").fill(PASSWORD)
        visitor.photograph("tutorial-login")
        visitor.click("Sign in")
        visitor.click("Connect OpenRouter")
        visitor.click("Continue")
        visitor.click("Authorize")
        assert visitor.sees("OpenRouter is connected.")
        page.get_by_label("Your message").fill("Good morning!")
        visitor.click("Send")
        expect(page.get_by_text("You said: “Good morning!”.")).to_be_visible()
        visitor.photograph("tutorial-chat")
        page.set_viewport_size({"width": 640, "height": 420})
        visitor.illustrate("tutorial")
