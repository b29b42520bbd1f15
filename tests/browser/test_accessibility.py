"""Everybody can use the pages: by eye, by ear, by keyboard, large, and in colours of their own.

Each walk is made on the example site, whose base template is its own, and on a site that has none,
so that the package's stands in. Both send ``default-src 'self'`` by Django's own middleware.
"""

import django
import pytest
from playwright.sync_api import expect

from tests.browser.accessibility import examine, examine_this, sticks_out, tab_stops, violations
from tests.browser.house import connect, sign_in, states
from tests.browser.visitor import NARROW, WIDE

pytestmark = pytest.mark.browser

PAGES = ("", "connect/", "code/", "key/", "disconnect/")
# What 200 % of zoom leaves of a window of 1280 pixels, and 400 % of it.
ZOOMED = {"width": 640, "height": 400}
VERY_ZOOMED = {"width": 320, "height": 256}


@pytest.fixture(params=[False, True], ids=["example", "bare"])
def house(request, open_house):
    """Each of the two sites."""
    return open_house(is_bare=request.param)


def test_no_violations(house, visit):
    """Axe finds nothing on any page in any state, light and dark, with and without a message."""
    visitor = visit(house.origin)
    sign_in(visitor)
    found = [item for page in PAGES for item in examine(visitor, f"/openrouter/{page}")]
    visitor.page.goto("/openrouter/connect/")
    visitor.click("Connect OpenRouter")
    visitor.click("Continue")
    visitor.click("Deny")
    found += examine_this(visitor)
    visitor.page.goto("/openrouter/code/")
    visitor.page.get_by_label("Code").fill("sk-or-v1-" + "0" * 64)
    visitor.click("Connect", exact=True)
    found += examine_this(visitor)
    visitor.page.goto("/openrouter/")
    visitor.click("Connect OpenRouter")
    visitor.click("Authorize")
    found += examine_this(visitor)
    for state, values in states().items():
        house.change_key(**values)
        # The other pages tell only a good key from a bad one.
        pages = PAGES if state in {"connected", "rejected"} else ("",)
        found += [item for page in pages for item in examine(visitor, f"/openrouter/{page}")]
    assert found == []


def test_policy_is_sent(house, visit):
    """The walks are made under Django's own policy, which allows nothing but the site itself."""
    if django.VERSION < (6, 0):
        pytest.skip("Django has this middleware since 6.0")
    visitor = visit(house.origin)
    policy = visitor.page.goto("/sign-in/").headers["content-security-policy"]
    assert "default-src 'self'; form-action 'self' " in policy


def test_keyboard_only(house, visit):
    """Every control is reached by Tab in the order of the page, shows its focus, and works."""
    visitor = visit(house.origin)
    sign_in(visitor)
    page = visitor.page
    page.goto("/openrouter/")
    page.get_by_role("button", name="Connect OpenRouter").focus()
    page.keyboard.press("Enter")
    page.wait_for_url("**/openrouter-sandbox/**")
    visitor.click("Continue")
    visitor.click("Authorize")
    house.change_key(**states()["connected"])
    for path in PAGES:
        page.goto(f"/openrouter/{path}")
        controls = page.locator("a, button, input:not([type=hidden])")
        assert tab_stops(page) == [name_of(one) for one in controls.all()], path
    page.goto("/openrouter/")
    page.get_by_role("link", name="Disconnect").focus()
    page.keyboard.press("Enter")
    page.wait_for_url("**/disconnect/")
    page.get_by_role("button", name="Disconnect").focus()
    page.keyboard.press("Space")
    expect(page.get_by_text("OpenRouter is disconnected")).to_be_visible()


def name_of(control):
    """Return by which name a control goes in ``tab_stops``."""
    label = control.evaluate("one => one.labels?.length ? one.labels[0].innerText : one.innerText")
    return " ".join(label.split())


def test_large(house, visit):
    """Nothing is lost or cut off at 200 % and 400 % of zoom, nor with letters twice as large."""
    visitor = visit(house.origin)
    sign_in(visitor)
    connect(visitor)
    found = []
    for state, values in states().items():
        house.change_key(**values)
        for path in PAGES if state in {"connected", "rejected"} else ("",):
            visitor.page.goto(f"/openrouter/{path}")
            for size, letters in (
                (ZOOMED, ""),
                (VERY_ZOOMED, ""),
                (WIDE, "200%"),
                (ZOOMED, "200%"),
            ):
                visitor.page.set_viewport_size(size)
                visitor.page.evaluate(
                    "size => document.documentElement.style.fontSize = size", letters
                )
                if sticks_out(visitor.page) or cut_off(visitor.page):
                    found.append((state, path, size["width"], letters, cut_off(visitor.page)))
            visitor.page.set_viewport_size(WIDE)
    assert found == []


def cut_off(page):
    """Return the texts that do not fit into their place, which hides the rest."""
    return page.evaluate(
        """() => [...document.querySelectorAll("main *")]
          .filter(one => getComputedStyle(one).overflowX === "hidden" && one.innerText?.trim())
          .filter(one => one.scrollWidth > one.clientWidth + 1)
          .map(one => one.innerText)"""
    )


def test_forced_colours_and_no_motion(house, visit):
    """In colours of the system all is told apart by lines and words; nothing moves."""
    visitor = visit(house.origin, forced_colors="active", reduced_motion="reduce")
    sign_in(visitor)
    connect(visitor)
    house.change_key(**states()["connected"])
    page = visitor.page
    page.goto("/openrouter/")
    visitor.photograph("forced-colours")
    assert violations(page) == []
    for control in page.locator(".openrouter-button, .openrouter-meter").all():
        assert control.evaluate("one => getComputedStyle(one).borderTopStyle") == "solid"
        assert control.evaluate(SEEN), control.inner_text()
    assert page.locator(".openrouter-status").inner_text() == "Active"
    assert page.evaluate("document.getAnimations().length") == 0


SEEN = """one => {
  const style = getComputedStyle(one), around = getComputedStyle(document.body);
  return style.borderTopColor !== around.backgroundColor;
}"""


def test_no_script_and_no_style(house, visit):
    """Without the stylesheet the pages still say everything, in a sensible order."""
    visitor = visit(house.origin, java_script_enabled=False)
    visitor.context.route("**/*.css", lambda route: route.fulfill(body="", content_type="text/css"))
    sign_in(visitor)
    connect(visitor)
    house.change_key(**states()["connected"])
    visitor.page.goto("/openrouter/")
    text = " ".join(visitor.page.locator("main").inner_text().split())
    told = ("Active", "US$ 3.50 of US$ 10.00 used, resets monthly", "Check now", "Disconnect")
    assert [text.index(part) for part in told] == sorted(text.index(part) for part in told)


def test_right_to_left(open_house, visit):
    """In Arabic the page runs from right to left, and keys and codes do not."""
    house = open_house(is_bare=True, LANGUAGE_CODE="ar")
    visitor = visit(house.origin)
    page = visitor.page
    sign_in(visitor)
    page.goto("/openrouter/code/")
    assert direction(page.locator("html")) == "rtl"
    assert direction(page.locator("[name=code]")) == "ltr"
    visitor.photograph("arabic-code")
    page.goto("/openrouter/")
    connect(visitor)
    house.change_key(**states()["connected"])
    page.goto("/openrouter/")
    assert direction(page.locator("dl code")) == "ltr"
    assert violations(page) == []
    visitor.photograph("arabic-manage")


def direction(locator):
    """Return in which direction an element is written."""
    return locator.first.evaluate("one => getComputedStyle(one).direction")


def test_bounce_page(open_house, visit):
    """Axe finds nothing on the page that reloads itself either."""
    visitor = visit(open_house().origin)
    visitor.page.goto("/")
    html = visitor.page.request.get(f"/openrouter/callback/{'x' * 43}/?code=1").text()
    # Standing still, so that there is time to look.
    still = html.replace('http-equiv="refresh"', 'name="refresh"')
    assert still != html
    visitor.page.set_content(still)
    assert violations(visitor.page) == []


def test_sandbox(open_house, visit):
    """The sandbox's pages pass as well; their tables scroll in place, by keyboard too."""
    visitor = visit(open_house().origin)
    sign_in(visitor)
    connect(visitor)
    page, found = visitor.page, []
    for path in ("", "settings/keys", "settings/credits", "faults", "sign-in"):
        found += examine(visitor, f"/openrouter-sandbox/{path}")
        page.set_viewport_size(NARROW)
        assert not sticks_out(page), path
        page.set_viewport_size(WIDE)
    assert found == []
    page.goto("/openrouter-sandbox/settings/keys")
    page.set_viewport_size(NARROW)
    assert "Your keys" in tab_stops(page)
