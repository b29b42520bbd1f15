"""The page of the guide to htmx, with htmx, in Chromium."""

import pytest
from playwright.sync_api import expect

from tests.guides.served import authorize, served_site, sign_in
from tests.guides.test_htmx import FILES, SETTINGS

pytestmark = pytest.mark.browser

BASE = "templates/base.html"
BOOSTED = FILES | {BASE: FILES[BASE].replace("<body ", '<body hx-boost="true" ')}


def ask(page, question):
    """Ask a question on the page of the guide."""
    page.get_by_label("Your question").fill(question)
    page.get_by_role("button", name="Ask").click()


@pytest.mark.parametrize("files", [FILES, BOOSTED], ids=["usual", "boosted"])
def test_page(tmp_path, visit, files):
    """Ask without a key, connect, ask, check twice, lose the key: all on one page."""
    with served_site(tmp_path, files, settings=SETTINGS.text) as origin:
        visitor = visit(origin)
        page = visitor.page
        sign_in(page, "/account/")
        ask(page, "Hello?")
        page.wait_for_url("**/openrouter/connect/?next=%2Faccount%2F")
        page.go_back()
        page.get_by_role("button", name="Connect OpenRouter").click()
        authorize(page)
        page.wait_for_url("**/account/")
        expect(page.get_by_role("status")).to_contain_text("OpenRouter is connected.")
        ask(page, "Good morning!")
        expect(page.locator("#answer")).to_contain_text("You said: “Good morning!”.")
        key = page.locator("#openrouter code").inner_text()
        page.get_by_role("button", name="Check the key now").click()
        expect(page.get_by_role("status")).to_contain_text("OpenRouter accepts your key.")
        page.get_by_role("button", name="Check the key now").click()
        expect(page.get_by_role("status")).to_contain_text("asked about this key a moment ago")
        assert page.locator("#openrouter code").inner_text() == key
        assert page.url == f"{origin}/account/"
