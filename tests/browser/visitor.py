"""Somebody at a browser, who notices everything that should not happen."""

import os
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

WIDE, NARROW = {"width": 1280, "height": 800}, {"width": 360, "height": 740}
LOCAL = {"localhost", "127.0.0.1"}
REPORT_VIOLATIONS = """
document.addEventListener("securitypolicyviolation", (event) => {
  console.error(`CSP: ${event.violatedDirective} blocked ${event.blockedURI}`);
});
"""


class Visitor:
    """One browser window; ``page`` is Playwright's."""

    def __init__(self, context, screenshots):
        self.context = context
        self.complaints = []
        self.addresses = []
        self._screenshots = screenshots
        self._pictures = 0
        context.route("**/*", self._keep_local)
        context.add_init_script(REPORT_VIOLATIONS)
        self.page = context.new_page()
        self.page.set_default_timeout(10_000)  # milliseconds
        self.page.set_viewport_size(WIDE)
        self.page.on("console", self._hear)
        self.page.on("pageerror", lambda error: self.complaints.append(f"script: {error}"))
        self.page.on("response", self._check_status)
        self.page.on("framenavigated", lambda frame: self.addresses.append(frame.url))

    def _keep_local(self, route):
        if urlsplit(route.request.url).hostname in LOCAL:
            route.continue_()
        else:
            self.complaints.append(f"request left this machine: {route.request.url}")
            route.abort()

    def _hear(self, message):
        if message.type in {"error", "warning"}:
            self.complaints.append(f"console: {message.text} ({message.location.get('url')})")

    def _check_status(self, response):
        if response.status >= 400:
            self.complaints.append(f"{response.status}: {response.url}")

    def sees(self, text):
        """Return whether the page shows a text, and that the address bar holds no code."""
        assert "code" not in parse_qs(urlsplit(self.page.url).query), self.page.url
        return text in self.page.locator("main").inner_text()

    def click(self, name, role="button", *, exact=False):
        """Click the control of that name, not in the header, and wait for the page it leads to."""
        self.page.locator("main").get_by_role(role, name=name, exact=exact).click()
        self.page.wait_for_load_state()

    def photograph(self, name):
        """Take pictures, light and dark, wide and narrow; nothing may stick out at the side."""
        self._pictures += 1
        for width, size in (("wide", WIDE), ("narrow", NARROW)):
            self.page.set_viewport_size(size)
            for scheme in ("light", "dark"):
                self.page.emulate_media(color_scheme=scheme)
                file = f"{self._pictures:02}-{name}-{width}-{scheme}.png"
                self.page.screenshot(path=self._screenshots / file, full_page=True)
            sticks_out = self.page.evaluate(
                "document.documentElement.scrollWidth > document.documentElement.clientWidth"
            )
            if sticks_out:
                self.complaints.append(f"too wide: {name}, {width}")
        self.page.emulate_media(color_scheme="light")
        self.page.set_viewport_size(WIDE)

    def illustrate(self, name, locator=None, scheme="light"):
        """Take a picture for the documentation, where ``DOCS_PICTURES`` names its folder.

        Args:
            name: of the file, without its ending; a dark one is called ``<name>-dark``.
            locator: what to show; without it, the window.
            scheme: ``light`` or ``dark``.
        """
        folder = os.environ.get("DOCS_PICTURES")
        if not folder:
            return
        Path(folder).mkdir(parents=True, exist_ok=True)
        file = Path(folder) / f"{name}{'-dark' if scheme == 'dark' else ''}.png"
        self.page.emulate_media(color_scheme=scheme)
        (locator or self.page).screenshot(path=file, animations="disabled")
        self.page.emulate_media(color_scheme="light")
