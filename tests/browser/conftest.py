import os
import shutil
from contextlib import ExitStack
from pathlib import Path

import pytest
from playwright.sync_api import sync_playwright

from tests.browser.house import running_house
from tests.browser.visitor import Visitor
from tests.example_site import environment, manage, serve
from tests.processes import free_port

PROGRAMS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
# Chromium itself may talk to nobody, and run in a container.
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


@pytest.fixture(scope="session")
def chromium():
    """The browser: Chromium as the system has it."""
    program = next(filter(None, map(shutil.which, PROGRAMS)), None)
    if program is None:
        reason = f"no Chromium: none of {', '.join(PROGRAMS)} is on the PATH"
        # On CI a skipped journey would look like one that arrived.
        (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)(reason)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, headless=True, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def screenshots(tmp_path_factory):
    """The folder for pictures: ``BROWSER_SCREENSHOTS``, or one that pytest keeps for a while."""
    chosen = os.environ.get("BROWSER_SCREENSHOTS")
    folder = Path(chosen) if chosen else tmp_path_factory.mktemp("screenshots")
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@pytest.fixture
def visit(chromium, screenshots):
    """A function that opens a site as a new visitor, who complains at the end of the test."""
    visitors = []

    def open_site(origin, **options):
        context = chromium.new_context(base_url=origin, locale="en-GB", **options)
        visitor = Visitor(context, screenshots)
        visitors.append(visitor)
        return visitor

    yield open_site
    for visitor in visitors:
        visitor.context.close()
        assert visitor.complaints == []


@pytest.fixture
def site(tmp_path):
    """The origin of the example site, started the way its README says."""
    port = free_port()
    arguments = ("demo", "--port", str(port))
    with serve(environment(tmp_path), f"localhost:{port}", *arguments, log=tmp_path / "site.log"):
        yield f"http://localhost:{port}"


@pytest.fixture
def open_house(tmp_path):
    """A function that serves the example site with other templates or settings."""
    with ExitStack() as servers:
        yield lambda **options: servers.enter_context(running_house(tmp_path, **options))


@pytest.fixture
def serve_across_sites(tmp_path):
    """A function that serves the example site with OpenRouter on another site; returns its origin.

    Browsers ignore ports when they decide what is cross-site, so the sandbox that plays
    OpenRouter is served by a second instance, on ``127.0.0.1``.
    """
    site, provider = f"localhost:{free_port()}", f"127.0.0.1:{free_port()}"
    (tmp_path / "provider").mkdir()
    with ExitStack() as servers:

        def serve_both(**settings):
            lines = ["from example.settings import *"]
            lines += [f"{name} = {value!r}" for name, value in settings.items()]
            (tmp_path / "more_settings.py").write_text("\n".join(lines))
            site_env = environment(
                tmp_path,
                DJANGO_SETTINGS_MODULE="more_settings",
                SANDBOX_URL=f"http://{provider}/openrouter-sandbox",
            )
            # Its pages carry the example's form-action as well, which must let people back.
            provider_env = environment(
                tmp_path / "provider", SANDBOX_URL=f"http://{site}/openrouter-sandbox"
            )
            for env, address in ((provider_env, provider), (site_env, site)):
                done = manage(env, "migrate", "--verbosity", "0")
                assert done.returncode == 0, done.stderr
                arguments = ("runserver", "--noreload", address)
                log = tmp_path / f"{address}.log"
                servers.enter_context(serve(env, address, *arguments, log=log))
            return f"http://{site}"

        yield serve_both
