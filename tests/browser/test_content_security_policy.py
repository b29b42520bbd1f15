"""What the guide to the Content Security Policy says about Chromium."""

import pytest

pytestmark = pytest.mark.browser


def test_policy_without_openrouter(serve_across_sites, visit):
    """TT 195: with ``form-action 'self'`` alone the button only tells the console."""
    policy = {"default-src": ["'self'"], "form-action": ["'self'"]}
    site = serve_across_sites(SECURE_CSP=policy)
    visitor = visit(site)
    page = visitor.page
    page.goto("/sign-up/")
    page.get_by_label("Username").fill("ada")
    page.get_by_label("Password:", exact=True).fill("countess-of-lovelace")
    page.get_by_label("Password confirmation").fill("countess-of-lovelace")
    visitor.click("Sign up")
    page.goto("/openrouter/connect/")
    # Chromium's own message, and that of our listener: nothing may come after the test.
    with (
        page.expect_console_message(lambda message: "Sending form data" in message.text),
        page.expect_console_message(lambda message: "CSP: form-action" in message.text),
    ):
        page.locator("main").get_by_role("button", name="Connect OpenRouter").click()
    assert page.url == f"{site}/openrouter/connect/"
    assert ["form-action" in complaint for complaint in visitor.complaints] == [True, True]
    visitor.complaints.clear()
