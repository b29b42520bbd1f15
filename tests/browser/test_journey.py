"""What a user sees and does, in Chromium, on the example site with the sandbox as OpenRouter."""

import pytest
from playwright.sync_api import expect

pytestmark = pytest.mark.browser

CONNECTED = "OpenRouter is connected."


def test_journey(site, visit):
    """Connect, deny, connect, chat, reconnect, lose the key, reconnect, disconnect."""
    visitor = visit(site)
    arrive(visitor)
    deny(visitor)
    approve(visitor)
    first_key = chat(visitor)
    second_key = reconnect(visitor, first_key)
    assert second_key != first_key
    lose_the_key(visitor, second_key)
    disconnect(visitor)
    assert not [address for address in visitor.addresses if "code=" in address]


def test_without_javascript(site, visit):
    """Nothing of the flow needs a script."""
    visitor = visit(site, java_script_enabled=False)
    visitor.page.goto("/sign-in/?next=/chat/")
    sign_in(visitor)
    visitor.click("Connect OpenRouter")
    visitor.click("Continue")
    visitor.click("Authorize")
    assert visitor.sees(CONNECTED)
    send(visitor, "Good morning!")
    assert visitor.sees("You said: “Good morning!”.")


def test_other_ways_in(site, visit):
    """Connect with a code that OpenRouter shows, check the key, and paste another one."""
    visitor = visit(site)
    visitor.page.goto("/sign-in/?next=/openrouter/connect/")
    sign_in(visitor)
    enter_codes(visitor)
    check(visitor)
    paste_keys(visitor)


@pytest.mark.parametrize(("same_site", "bounces"), [("Lax", 0), ("Strict", 1)])
def test_openrouter_on_another_site(serve_across_sites, visit, same_site, bounces):
    """Coming back from another site, with a session cookie that may or may not come along.

    Where it does not, the bounce page brings it, and leaves no code in the history.
    """
    visitor = visit(serve_across_sites(SESSION_COOKIE_SAMESITE=same_site))
    page = visitor.page
    page.goto("/sign-up/")
    page.get_by_label("Username").fill("ada")
    page.get_by_label("Password:", exact=True).fill("countess-of-lovelace")
    page.get_by_label("Password confirmation").fill("countess-of-lovelace")
    visitor.click("Sign up")
    cookies = {cookie["name"]: cookie["sameSite"] for cookie in page.context.cookies()}
    assert cookies["sessionid"] == same_site
    visitor.click("Connect OpenRouter")
    visitor.click("Continue")
    assert page.url.startswith("http://127.0.0.1:")
    visitor.click("Authorize")
    page.wait_for_url("**/chat/")
    assert visitor.sees(CONNECTED)
    assert sum("/callback/" in address for address in visitor.addresses) == bounces
    page.go_back()
    assert page.url.startswith("http://127.0.0.1:")


def sign_in(visitor):
    """Sign in as the user that `manage.py demo` makes."""
    visitor.page.get_by_label("Username").fill("demo")
    visitor.page.get_by_label("Password").fill("demo")
    visitor.click("Sign in")


def send(visitor, message):
    """Write in the chat."""
    visitor.page.get_by_label("Your message").fill(message)
    visitor.click("Send")


def shown_key(visitor):
    """Return the mask of the key that the connection page shows."""
    return visitor.page.locator("dl code").first.inner_text()


def arrive(visitor):
    """Look around, press the button as a stranger, sign in."""
    page = visitor.page
    page.goto("/sign-up/")
    visitor.photograph("sign-up")
    page.goto("/")
    visitor.photograph("home")
    visitor.click("Connect OpenRouter", role="link")
    visitor.photograph("sign-in")
    sign_in(visitor)
    assert page.url.endswith("/openrouter/connect/?next=%2Fchat%2F")
    visitor.photograph("connect")


def deny(visitor):
    """Sign in at the sandbox and say no."""
    visitor.click("Connect OpenRouter")
    visitor.photograph("sandbox-sign-in")
    visitor.click("Continue")
    assert visitor.page.get_by_label("Key name").input_value() == "Example chat"
    visitor.photograph("sandbox-consent")
    visitor.click("Deny")
    assert visitor.sees("You did not allow access on OpenRouter, so nothing was changed.")
    visitor.photograph("denied")


def approve(visitor):
    """Say yes, and come back to where the button was."""
    visitor.page.goto("/chat/")
    visitor.photograph("chat-not-connected")
    visitor.click("Connect OpenRouter")
    visitor.click("Authorize")
    assert visitor.page.url.endswith("/chat/")
    assert visitor.sees(CONNECTED)
    visitor.photograph("connected")


def chat(visitor):
    """Be answered; the user's own key pays. Return its mask."""
    page = visitor.page
    send(visitor, "Good morning!")
    assert visitor.sees("You said: “Good morning!”.")
    send(visitor, "A longer question\nwith a second line <b>and</b> markup.")
    assert visitor.sees("with a second line <b>and</b> markup.”")
    visitor.photograph("chat")
    page.goto("/openrouter/")
    key = shown_key(visitor)
    visitor.photograph("manage")
    visitor.click("See its activity at OpenRouter", role="link")
    expect(page.locator("tbody tr")).to_have_count(2)
    assert visitor.sees("Example chat")
    visitor.photograph("sandbox-activity")
    page.goto("/admin/django_openrouter_auth/openrouterkey/")
    assert visitor.sees(key)
    visitor.photograph("admin-keys")
    return key


def reconnect(visitor, first_key):
    """Replace the key, and find the old one alive at the sandbox. Return the new one's mask."""
    page = visitor.page
    page.goto("/openrouter/")
    visitor.click("Connect again")
    visitor.click("Authorize")
    assert page.url.endswith("/openrouter/")
    assert visitor.sees(CONNECTED)
    assert visitor.sees("Your previous key is no longer used here.")
    key = shown_key(visitor)
    visitor.photograph("reconnected")
    visitor.click("Open the previous key at OpenRouter", role="link")
    assert visitor.sees(first_key)
    visitor.photograph("sandbox-previous-key")
    return key


def lose_the_key(visitor, key):
    """Delete the key at the sandbox, be told so in the chat, reconnect and go on."""
    page = visitor.page
    page.goto("/openrouter/")
    visitor.click("Limit, rename or delete the key at OpenRouter", role="link")
    assert visitor.sees(key)
    visitor.click("Delete this key")
    visitor.photograph("sandbox-keys")
    page.goto("/chat/")
    send(visitor, "Is anybody there?")
    assert visitor.sees("OpenRouter no longer accepts this key")
    visitor.photograph("key-rejected")
    page.goto("/openrouter/")
    visitor.photograph("manage-rejected")
    page.goto("/chat/")
    visitor.click("Reconnect OpenRouter")
    visitor.click("Authorize")
    assert page.get_by_label("Your message").input_value() == "Is anybody there?"
    visitor.click("Send")
    assert visitor.sees("You said: “Is anybody there?”.")


def enter_codes(visitor):
    """Enter a wrong code, be told so, and then the one that OpenRouter shows in another tab."""
    page = visitor.page
    visitor.click("Enter a code instead", role="link")
    visitor.photograph("code")
    page.get_by_label("Code").fill("wrong")
    visitor.click("Connect", exact=True)
    assert visitor.sees("OpenRouter did not accept this code.")
    visitor.photograph("code-refused")
    with visitor.context.expect_page() as opened:
        visitor.click("Open OpenRouter in a new tab and allow access", role="link")
    code = read_code(opened.value)
    page.get_by_label("Code").fill(f" {code} ")
    visitor.click("Connect", exact=True)
    assert page.url.endswith("/openrouter/")
    assert visitor.sees(CONNECTED)
    visitor.photograph("connected-by-code")


def read_code(tab):
    """Allow access in another tab, and return the code that it shows."""
    if tab.get_by_role("button", name="Continue").count():
        tab.get_by_role("button", name="Continue").click()
    tab.get_by_role("button", name="Authorize").click()
    code = tab.get_by_label("Authorization code").input_value()
    tab.close()
    return code


def check(visitor):
    """Check the key, and once more too early."""
    visitor.click("Check now")
    assert visitor.sees("OpenRouter accepts your key.")
    visitor.click("Check now")
    assert visitor.sees("OpenRouter was asked about this key a moment ago")
    visitor.photograph("checked-twice")


def paste_keys(visitor):
    """Paste a key that does not exist, and then one that does."""
    page = visitor.page
    page.goto("/openrouter/connect/")
    visitor.click("Use a key that you already have", role="link")
    visitor.photograph("key")
    page.get_by_label("API key").fill("sk-or-v1-" + "0" * 64)
    visitor.click("Check and save")
    assert visitor.sees("OpenRouter does not accept this key, so it was not saved")
    visitor.photograph("key-refused")
    api_key = mint(visitor)
    page.get_by_label("API key").fill(api_key)
    visitor.click("Check and save")
    assert visitor.sees("Your previous key is no longer used here")
    assert shown_key(visitor) == f"{api_key[:12]}...{api_key[-3:]}"
    visitor.photograph("connected-by-key")


def mint(visitor):
    """Return a new key of the user at the sandbox, which no site has."""
    sandbox = "/openrouter-sandbox"
    tab = visitor.context.new_page()
    tab.goto(f"{sandbox}/auth?code_challenge={'v' * 43}&code_challenge_method=plain")
    exchange = {
        "code": read_code(tab),
        "code_verifier": "v" * 43,
        "code_challenge_method": "plain",
    }
    return visitor.page.request.post(f"{sandbox}/api/v1/auth/keys", data=exchange).json()["key"]


def disconnect(visitor):
    """Take the key back."""
    page = visitor.page
    page.goto("/")
    visitor.photograph("home-connected")
    assert visitor.sees("of US$\xa010.00 used")
    visitor.click("OpenRouter connected", role="link")
    visitor.click("Disconnect", role="link")
    visitor.photograph("disconnect")
    visitor.click("Disconnect")
    assert page.url.endswith("/openrouter/")
    assert visitor.sees("OpenRouter is disconnected: this site has deleted its copy of your key.")
    visitor.photograph("disconnected")
    page.goto("/chat/")
    expect(page.get_by_role("button", name="Connect OpenRouter")).to_be_visible()
