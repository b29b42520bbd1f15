"""The guide to htmx. tests/browser/test_htmx.py walks through its page with htmx itself."""

import pytest

from tests.connecting import start
from tests.documented import Page

from .project import Project

PAGE = Page("howto/htmx")
SETTINGS = PAGE.take("# settings.py")
VIEWS = PAGE.take("# chat/views.py")
URLS = PAGE.take("# mysite/urls.py")
TEMPLATES = [
    PAGE.take("{# templates/base.html #}"),
    PAGE.take("{# templates/account.html #}"),
    PAGE.take("{# templates/card.html #}"),
]
TESTS = PAGE.take("# chat/tests.py")
FILES = {
    "chat/views.py": VIEWS.text,
    "mysite/urls.py": URLS.text,
    **{block.text.splitlines()[0].strip("{#} "): block.text for block in TEMPLATES},
}


def test_button_in_a_boosted_page(browser):
    """The button starts an attempt also where htmx sends its form, and the page goes to it."""
    location = start(browser).location
    response = browser.post("/openrouter/connect/", headers={"HX-Request": "true"})
    assert (response.status_code, response.content) == (200, b"")
    where = response["HX-Redirect"]
    assert where.partition("?")[0] == location.partition("?")[0] == "https://openrouter.ai/auth"


@pytest.mark.guides
def test_tests_of_the_site(tmp_path):
    """The tests of the guide pass on its site."""
    project = Project(tmp_path)
    project.append("mysite/settings.py", SETTINGS.text)
    project.append("mysite/settings.py", 'TEMPLATES[0]["DIRS"] = [BASE_DIR / "templates"]\n')
    for name, text in (FILES | {"chat/tests.py": TESTS.text}).items():
        project.write(name, text)
    assert "Ran 3 tests" in project.manage("test")
