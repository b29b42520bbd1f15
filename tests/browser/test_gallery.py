"""The button in every look and state, inside the frameworks that restyle buttons."""

import shutil

import pytest
from playwright.sync_api import expect

from tests.browser.accessibility import sticks_out, violations
from tests.browser.conftest import FLAGS, PROGRAMS
from tests.example_site import environment, manage, serve
from tests.processes import free_port

pytestmark = pytest.mark.browser

FRAMEWORKS = {
    "none": "/gallery/",
    "bootstrap": "/gallery/bootstrap/",
    "tailwind": "/gallery/tailwind/",
    "pico": "/gallery/pico/",
}
VARIANTS = ("default", "minimal", "branded", "icon", "cta")
HEIGHTS = {"sm": 32, "default": 40, "lg": 48, "xl": 56}  # CSS pixels
NARROW = {"width": 320, "height": 740}
RESPONSE = {"status": 204}  # a browser stays where it is

in_each_framework = pytest.mark.parametrize("framework", FRAMEWORKS)
in_each_scheme = pytest.mark.parametrize("scheme", ["light", "dark"])


@pytest.fixture(scope="module")
def origin(tmp_path_factory):
    """The origin of the example site, which all tests look at and none changes."""
    folder = tmp_path_factory.mktemp("gallery")
    env, address = environment(folder), f"localhost:{free_port()}"
    done = manage(env, "migrate", "--verbosity", "0")
    assert done.returncode == 0, done.stderr
    arguments = ("runserver", "--noreload", address)
    with serve(env, address, *arguments, log=folder / "site.log"):
        yield f"http://{address}"


@pytest.fixture
def gallery(origin, visit):
    """A function that opens the gallery in a framework and returns the visitor."""

    def open_gallery(framework="none", scheme="auto", language="en", **options):
        visitor = visit(origin, **options)
        # What turns would never come to rest for those who measure it.
        visitor.page.emulate_media(reduced_motion="reduce")
        visitor.page.goto(f"{FRAMEWORKS[framework]}?scheme={scheme}&language={language}")
        return visitor

    return open_gallery


def button(page, state, variant="default", size="default"):
    """Return a button of the gallery."""
    row = page.locator(f'#{state} .gallery-row[data-size="{size}"]')
    return row.locator(f".openrouter-button--{variant}")


@in_each_framework
def test_sizes(gallery, framework):
    """Each size has its height in every variant, and an icon is as wide as it is high."""
    page = gallery(framework).page
    for size, height in HEIGHTS.items():
        for variant in VARIANTS:
            box = button(page, "not-connected", variant, size).bounding_box()
            assert box["height"] == height
            if variant == "icon":
                assert box["width"] == height


@in_each_framework
@pytest.mark.parametrize("language", ["en", "de", "ar"])
def test_narrow_screen(gallery, framework, language):
    """On a screen of 320 pixels nothing overflows: neither the page nor any button."""
    page = gallery(framework, language=language).page
    page.set_viewport_size(NARROW)
    assert not sticks_out(page)
    assert page.evaluate(OVERFLOWING) == []


# Buttons that are wider than where they stand, or hold more than fits.
OVERFLOWING = """() => [...document.querySelectorAll(".openrouter-button")].filter((button) => {
  const inner = button.getBoundingClientRect();
  const outer = button.closest("p, div, section").getBoundingClientRect();
  return inner.left < outer.left - 0.5 || inner.right > outer.right + 0.5
    || [...button.querySelectorAll("span")].some((label) => label.scrollWidth > label.clientWidth);
}).map((button) => button.outerHTML)"""


@in_each_framework
@in_each_scheme
def test_axe(gallery, framework, scheme):
    """Axe finds nothing wrong with buttons and cards in any state."""
    page = gallery(framework, scheme).page
    if framework != "none":
        # The links of a framework have its colours, for which it answers itself.
        page.evaluate("document.querySelector('nav').remove()")
    # No page but this one has several cards.
    assert [one for one in violations(page) if not one.startswith("landmark-unique")] == []


@in_each_framework
@in_each_scheme
def test_contrast(gallery, framework, scheme):
    """Text has a contrast of 4.5:1 at rest, under the pointer, pressed, disabled and busy."""
    page = gallery(framework, scheme).page
    faint = []
    for variant in VARIANTS:
        for state in ("not-connected", "connected", "anonymous", "disabled", "busy"):
            shown = button(page, state, variant)
            found = {"at rest": shown.evaluate(CONTRAST)}
            if state != "disabled":
                shown.hover()
                found["under the pointer"] = shown.evaluate(CONTRAST)
                page.mouse.down()
                found["pressed"] = shown.evaluate(CONTRAST)
                page.mouse.move(0, 0)  # elsewhere, so that letting go is no click
                page.mouse.up()
            faint += [(variant, state, how, n) for how, n in found.items() if n < 4.5]
    assert faint == []


# The lowest contrast of text in an element. A canvas mixes the layers as the screen does.
PAINT = """
const [pixel] = [new OffscreenCanvas(1, 1).getContext("2d", {willReadFrequently: true})];
const paint = (color, opacity = 1) => {
  pixel.globalAlpha = opacity;
  pixel.fillStyle = color;
  pixel.fillRect(0, 0, 1, 1);
};
const luminance = () => {
  const [r, g, b] = [...pixel.getImageData(0, 0, 1, 1).data].map((byte) => {
    const part = byte / 255;
    return part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4;
  });
  return 0.2126 * r + 0.7152 * g + 0.0722 * b;
};
const contrast = (one, other) => (Math.max(one, other) + 0.05) / (Math.min(one, other) + 0.05);
const paintBehind = (element) => {
  const layers = [];
  for (let one = element; one; one = one.parentElement) layers.unshift(one);
  const probe = document.documentElement.appendChild(document.createElement("i"));
  probe.style.color = "Canvas"; // what a page is painted on
  paint(getComputedStyle(probe).color);
  probe.remove();
  for (const one of layers) paint(getComputedStyle(one).backgroundColor);
};
"""
CONTRAST = (
    "(button) => {"
    + PAINT
    + """
  const parts = [button, ...button.querySelectorAll(".openrouter-button__hint")];
  const opacity = getComputedStyle(button).opacity;
  return Math.min(...parts.map((part) => {
    paintBehind(part);
    const behind = luminance();
    paint(getComputedStyle(part).color, opacity);
    return contrast(behind, luminance());
  }));
}"""
)


@in_each_framework
@in_each_scheme
def test_focus(gallery, framework, scheme):
    """With the keyboard each button gets a ring of 3 pixels that stands out from the page."""
    page = gallery(framework, scheme).page
    page.keyboard.press("Tab")
    for variant in VARIANTS:
        for state in ("not-connected", "connected"):
            shown = button(page, state, variant)
            shown.focus()
            expect(shown).to_have_css("outline-style", "solid")
            expect(shown).to_have_css("outline-width", "3px")
            assert shown.evaluate(RING) >= 3


RING = (
    "(button) => {"
    + PAINT
    + """
  paintBehind(button.parentElement);
  const behind = luminance();
  paint(getComputedStyle(button).outlineColor);
  return contrast(behind, luminance());
}"""
)


@in_each_framework
def test_forced_colours(gallery, framework):
    """Where a person's own colours replace all others, borders and the ring remain."""
    page = gallery(framework).page
    page.emulate_media(forced_colors="active", color_scheme="dark")
    page.keyboard.press("Tab")
    for variant in VARIANTS:
        for state in ("not-connected", "connected", "disabled"):
            shown = button(page, state, variant)
            assert shown.evaluate(BORDER) >= 3
        shown = button(page, "connected", variant)
        shown.focus()
        assert shown.evaluate(RING) >= 3


BORDER = (
    "(button) => {"
    + PAINT
    + """
  const style = getComputedStyle(button);
  if (style.borderTopStyle !== "solid" || parseFloat(style.borderTopWidth) < 1) return 0;
  paintBehind(button.parentElement);
  const behind = luminance();
  paint(style.borderTopColor);
  return contrast(behind, luminance());
}"""
)


def background(shown):
    """Return the background of an element as CSS writes it."""
    return shown.evaluate("(one) => getComputedStyle(one).backgroundColor")


LIGHT, DARK = "rgb(255, 255, 255)", "rgb(24, 24, 27)"


@in_each_framework
@in_each_scheme
def test_scheme_of_the_page(gallery, framework, scheme):
    """The button is dark where the page is, whatever the visitor's system is."""
    visitor = gallery(framework, scheme)
    visitor.page.emulate_media(color_scheme="light" if scheme == "dark" else "dark")
    shown = button(visitor.page, "not-connected")
    assert background(shown) == (DARK if scheme == "dark" else LIGHT)


@pytest.mark.parametrize(
    ("framework", "expected"),
    [("none", DARK), ("bootstrap", LIGHT), ("tailwind", DARK), ("pico", DARK)],
)
def test_automatic_scheme(gallery, framework, expected):
    """On a dark system it is dark if the page follows the system, as Bootstrap's does not."""
    page = gallery(framework).page
    page.emulate_media(color_scheme="dark")
    assert background(button(page, "not-connected")) == expected


@in_each_framework
@in_each_scheme
def test_forced_scheme(gallery, framework, scheme):
    """A class makes a part of a page light or dark, whatever the rest is."""
    page = gallery(framework, scheme).page
    assert background(button(page, "light")) == LIGHT
    assert background(button(page, "dark")) == DARK


@in_each_framework
def test_right_to_left(gallery, framework):
    """In Arabic the logo stands at the right of the words, and the mask keeps its order."""
    page = gallery(framework, language="ar").page
    shown = button(page, "connected")
    logo, label, hint = (
        shown.locator(f".openrouter-{part}").bounding_box()
        for part in ("logo", "button__label", "button__hint")
    )
    assert logo["x"] >= label["x"] + label["width"]
    assert hint["x"] == label["x"]
    expect(shown.locator(".openrouter-button__hint")).to_have_css("direction", "ltr")


@in_each_framework
def test_margins(gallery, framework):
    """No framework adds a margin, or makes a button fill the line."""
    page = gallery(framework).page
    for variant in VARIANTS:
        shown = button(page, "not-connected", variant)
        expect(shown).to_have_css("margin", "0px")
        assert shown.evaluate("(one) => one.offsetWidth < one.closest('div').offsetWidth / 2")


@pytest.mark.parametrize(
    ("framework", "utilities"), [("bootstrap", "mt-3 w-100"), ("tailwind", "mt-3! w-full!")]
)
@pytest.mark.parametrize("state", ["not-connected", "connected"])
def test_utilities(gallery, framework, utilities, state):
    """A framework's utility classes work on the button, be it in a form or not."""
    page = gallery(framework).page
    shown = button(page, state)
    shown.evaluate("(one, names) => one.classList.add(...names.split(' '))", utilities)
    expect(shown).to_have_css("margin-top", "16px" if framework == "bootstrap" else "12px")
    assert shown.evaluate("(one) => one.offsetWidth === one.closest('div').clientWidth")


def hold_forms(page, answer):
    """Answer each form in place of the site, and return the list that tells what was sent."""
    sent = []

    def take(route):
        sent.append(route.request.method)
        route.fulfill(**answer)

    page.route("**/openrouter/connect/", take)
    return sent


@in_each_framework
def test_busy(gallery, framework):
    """While the answer is awaited, a ring takes the place of the logo, in the same size."""
    page = gallery(framework).page
    hold_forms(page, RESPONSE)
    shown = button(page, "not-connected")
    before = shown.evaluate(SIZE)
    shown.click()
    expect(shown).to_have_attribute("aria-busy", "true")
    expect(shown.locator("svg")).to_be_hidden()
    assert shown.evaluate(SIZE) == before
    # Frameworks have a mark of their own for what is busy.
    marks = "(one, mark) => getComputedStyle(one, mark).content"
    assert shown.evaluate(marks, "::before") == "none"
    assert shown.evaluate(marks, "::after") == '""'


SIZE = "(one) => [one.offsetWidth, one.offsetHeight]"


def test_reduced_motion(gallery):
    """The ring turns, but stands still for those who asked for less motion."""
    page = gallery().page
    shown = button(page, "busy")
    turns = "(one) => getComputedStyle(one, '::after').animationName"
    assert shown.evaluate(turns) == "none"
    page.emulate_media(reduced_motion="no-preference")
    assert shown.evaluate(turns) == "openrouter-turn"


def test_double_click(gallery):
    """A button that is clicked twice sends its form once."""
    page = gallery().page
    sent = hold_forms(page, RESPONSE)
    button(page, "not-connected").dblclick()
    button(page, "not-connected").click()
    assert sent == ["POST"]


def test_other_forms(gallery):
    """One busy button does not keep the others from being used."""
    page = gallery().page
    sent = hold_forms(page, RESPONSE)
    button(page, "not-connected").click()
    button(page, "not-connected", "cta").click()
    assert sent == ["POST", "POST"]


def test_back_button(origin, chromium):
    """Who comes back to a page that the browser kept finds the button ready."""
    program = next(filter(None, map(shutil.which, PROGRAMS)))
    # Playwright switches off what is tested here.
    browser = chromium.browser_type.launch(
        executable_path=program,
        args=FLAGS,
        ignore_default_args=["--disable-back-forward-cache"],
    )
    page = browser.new_page(base_url=origin)
    page.goto("/gallery/")
    page.evaluate("addEventListener('pageshow', (event) => { window.wasKept = event.persisted })")
    page.evaluate(MARK_BUSY)
    shown = button(page, "not-connected")
    expect(shown).to_have_attribute("aria-busy", "true")
    page.goto("/")
    page.go_back(wait_until="commit")
    assert page.evaluate("window.wasKept") is True
    expect(shown).not_to_have_attribute("aria-busy", "true")
    browser.close()


# As if the form had been sent: to send it would need somebody who is signed in.
MARK_BUSY = """() => document.querySelector("#not-connected [data-size=default] button")
  .setAttribute("aria-busy", "true")"""


def test_stopped_page(gallery):
    """Half a minute later, when no other page came, the button can be used again."""
    page = gallery().page
    hold_forms(page, RESPONSE)
    page.clock.install()
    shown = button(page, "not-connected")
    shown.click()
    page.clock.fast_forward(29_000)
    expect(shown).to_have_attribute("aria-busy", "true")
    page.clock.fast_forward(1_000)
    expect(shown).not_to_have_attribute("aria-busy", "true")


@pytest.mark.parametrize("listens", ["document.forms[0]", "document"])
def test_form_that_another_script_sends(gallery, listens):
    """A form that a script of the site takes over is left to that script, wherever it listens."""
    page = gallery().page
    page.evaluate(f"{listens}.addEventListener('submit', (sent) => sent.preventDefault())")
    shown = page.locator("form .openrouter-button").first
    shown.click()
    expect(shown).not_to_have_attribute("aria-busy", "true")


def test_form_that_answers_elsewhere(gallery):
    """A form whose answer opens in another tab leaves this page, and its button, as it is."""
    page = gallery().page
    page.evaluate("document.forms[0].target = '_blank'")
    shown = page.locator("form .openrouter-button").first
    with page.expect_popup():
        shown.click()
    expect(shown).not_to_have_attribute("aria-busy", "true")


def test_without_javascript(gallery):
    """Without JavaScript the button sends its form, as often as it is clicked."""
    page = gallery(java_script_enabled=False).page
    sent = hold_forms(page, RESPONSE)
    shown = button(page, "not-connected")
    shown.click()
    shown.click()
    assert sent == ["POST", "POST"]


def test_pictures(gallery):
    """The pictures of the reference show what the gallery shows."""
    visitor = gallery(scheme="light")
    page = visitor.page
    for scheme in ("light", "dark"):
        shown = page.locator(f"#{scheme}")
        expect(shown).to_be_visible()
        visitor.illustrate("button", shown, scheme)
    visitor.illustrate("button-states", page.locator("#states"))
    for name in ("bootstrap", "tailwind", "pico"):
        page.goto(f"{FRAMEWORKS[name]}?scheme=light")
        shown = page.locator("#beside")
        expect(shown).to_contain_text("Something else")
        visitor.illustrate(f"button-{name}", shown)
