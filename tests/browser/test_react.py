"""The module of the guide to single-page apps, in Chromium, on a site with its views."""

import re

import pytest

from tests.guides.served import authorize, served_site, sign_in
from tests.guides.test_react import MODULE, TEMPLATE, URLS, VIEWS

pytestmark = pytest.mark.browser

HERE = "/app/chat?tab=2#top"
# What a build of React would be: it does what a script of the test tells it.
APP = 'import * as openrouter from "./openrouter.js";\nwindow.openrouter = openrouter;\n'


FILES = {
    "chat/views.py": VIEWS.text,
    "mysite/urls.py": URLS.text,
    "templates/app.html": TEMPLATE.text,
    "static/app.js": APP,
    "static/openrouter.js": MODULE.text,
}


@pytest.fixture(scope="module")
def origin(tmp_path_factory):
    """The origin of the guide's site."""
    with served_site(tmp_path_factory.mktemp("react"), FILES) as origin:
        yield origin


def call(visitor, function, argument=""):
    """Call a function of the module; return its answer, or the facts of its ``Problem``."""
    script = f"""openrouter.{function}({argument})
        .then((answer) => ({{answer}}), (problem) => ({{...problem, text: problem.message}}))"""
    return visitor.page.evaluate(script)


def refused(visitor, status, function, argument=""):
    """Call a function of the module whose answer has a status of an error; return the code."""
    problem = call(visitor, function, argument)
    assert problem["status"] == status
    return problem.get("code", problem["text"])


def forgive(visitor, *statuses):
    """Forget that the browser noticed answers which were meant, and nothing else."""
    # What it has to say about them is heard before it opens a page.
    visitor.page.goto("/")
    meant = [re.compile(rf"^{status}: |status of {status} ") for status in statuses]
    complaints = visitor.complaints
    complaints[:] = [text for text in complaints if not any(it.search(text) for it in meant)]


def press(visitor):
    """Start to connect, as the component's button does."""
    with visitor.page.expect_navigation():
        visitor.page.evaluate("void openrouter.connect()")


def test_module(origin, visit):
    """The module connects, comes back and asks; it is told of a dead key, and disconnects."""
    visitor = visit(origin)
    page = visitor.page
    page.goto(HERE)
    assert refused(visitor, 401, "getConnection") == "not_authenticated"
    sign_in(page, "/app/")
    page.goto(HERE)
    assert call(visitor, "getConnection")["answer"]["connected"] is False
    assert refused(visitor, 403, "ask", "'Hello?'") == "not_connected"
    press(visitor)
    authorize(page)
    page.wait_for_url(f"{origin}{HERE}")
    page.get_by_role("status").get_by_text("OpenRouter is connected.").wait_for()
    connection = call(visitor, "getConnection")["answer"]
    assert connection["connected"] is True
    assert "You said: “Good morning!”." in call(visitor, "ask", "'Good morning!'")["answer"]
    page.goto(connection["urls"]["openrouter_key"])
    visitor.click("Delete this key")
    page.goto(HERE)
    assert refused(visitor, 403, "ask", "'Hello?'") == "key_rejected"
    assert call(visitor, "getConnection")["answer"]["status"] == "rejected"
    press(visitor)
    page.get_by_role("button", name="Authorize").click()
    page.wait_for_url(f"{origin}{HERE}")
    assert call(visitor, "check")["answer"]["connected"] is True
    assert refused(visitor, 429, "check") == "throttled"
    assert call(visitor, "disconnect")["answer"]["status"] is None
    forgive(visitor, 401, 403, 429)


def test_module_without_token(origin, visit):
    """Django's own refusal, which is no JSON, is told by its status."""
    visitor = visit(origin)
    sign_in(visitor.page, "/app/")
    visitor.context.clear_cookies(name="csrftoken")
    assert refused(visitor, 403, "disconnect") == "The site said 403."
    forgive(visitor, 403)


def test_other_origin(origin, visit):
    """A script of another origin is not let read what the site says."""
    visitor = visit(origin.replace("localhost", "127.0.0.1"), bypass_csp=True)
    tab = visitor.context.new_page()
    tab.goto("/app/")
    read = f"fetch('{origin}/openrouter/status/').then(() => 'read', (error) => error.name)"
    with tab.expect_console_message(lambda message: "CORS policy" in message.text):
        assert tab.evaluate(read) == "TypeError"
