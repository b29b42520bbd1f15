"""What keeps people from using a page, as far as a machine can tell."""

from axe_playwright_python.sync_playwright import Axe

TAGS = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
OPTIONS = {"resultTypes": ["violations"], "runOnly": {"type": "tag", "values": TAGS}}


def violations(page) -> list[str]:
    """Return what axe finds wrong with a page as it is now: rule, elements and what to do.

    Axe is handed over by the debugger's protocol, so that no policy of the page is in its way.
    """
    # A page that is still fading in has other colours than it will have.
    page.wait_for_function("document.getAnimations().every(one => one.playState !== 'running')")
    found = Axe().run(page, options=OPTIONS).response["violations"]
    return [
        f"{rule['id']}: {' '.join(map(str, node['target']))}: {node['failureSummary']}"
        for rule in found
        for node in rule["nodes"]
    ]


def examine(visitor, path) -> list[str]:
    """Return what axe finds on a page, in light and in dark."""
    visitor.page.goto(path)
    return examine_this(visitor)


def examine_this(visitor) -> list[str]:
    """Return what axe finds on the page that is open, in light and in dark."""
    page, found = visitor.page, []
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)
        found += [f"{scheme} {page.url} {item}" for item in violations(page)]
    page.emulate_media(color_scheme="light")
    return found


def sticks_out(page) -> bool:
    """Return whether a page must be scrolled sideways."""
    script = "document.documentElement.scrollWidth > document.documentElement.clientWidth"
    return bool(page.evaluate(script))


def tab_stops(page) -> list[str]:
    """Press Tab through a page; return the names of what had the focus, in their order.

    Fails if something has the focus and does not show it.
    """
    names: list[str] = []
    page.evaluate("document.activeElement.blur()")
    while True:
        page.keyboard.press("Tab")
        name, is_visible, is_new = page.evaluate(FOCUSED)
        if not is_new:
            return names
        assert is_visible, f"no focus is seen on {name!r}"
        names.append(name)


FOCUSED = """() => {
  const one = document.activeElement;
  const isNew = one !== document.body && !(window.seenByTab ??= new Set()).has(one);
  window.seenByTab?.add(one);
  const style = getComputedStyle(one);
  const outlined = style.outlineStyle !== "none" && parseFloat(style.outlineWidth) >= 1;
  const label = one.labels?.length ? one.labels[0].innerText : "";
  const name = (one.getAttribute("aria-label") || label || one.innerText || "").trim();
  return [name.replace(/\\s+/g, " "), outlined || style.boxShadow !== "none", isNew];
}"""
