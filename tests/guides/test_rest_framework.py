"""The guide to Django REST framework."""

import pytest

from tests.documented import Page

from .project import Project

PAGE = Page("howto/rest-framework")
SETTINGS = PAGE.take("# settings.py")
FILES = {
    name: PAGE.take(f"# {name}").text
    for name in (
        "api/permissions.py",
        "api/errors.py",
        "api/views.py",
        "mysite/urls.py",
        "api/tests.py",
    )
}
MORE_TESTS = """
from django_openrouter_auth.testing import make_unreadable
from api.tests import *


class MoreTests(AskTests):
    def test_problem_details(self):
        response = self.ask()
        self.assertEqual(response["Content-Type"], "application/problem+json")
        self.assertEqual(response.json()["connect_url"], "http://testserver/openrouter/connect/")

    def test_unreadable_key(self):
        make_unreadable(self.ann)
        self.assertEqual(self.ask().json()["code"], "key_unreadable")

    def test_stranger(self):
        self.client.credentials()
        self.assertEqual(self.ask().status_code, 401)
        self.assertNotIn("connect_url", self.ask().json())

    def test_session_with_csrf_token(self):
        connect(self.ann)
        self.openrouter.answers("Fine.")
        page = APIClient(enforce_csrf_checks=True)
        page.force_login(self.ann)
        page.cookies["csrftoken"] = "x" * 32
        answer = page.post("/api/ask/", {"question": "Well?"}, headers={"X-CSRFToken": "x" * 32})
        self.assertEqual(answer.json(), {"answer": "Fine."})

    def test_too_long(self):
        connect(self.ann)
        answer = self.client.post("/api/ask/", {"question": "x" * 2001}, format="json")
        self.assertEqual(answer.status_code, 400)
        self.assertEqual(self.openrouter.calls, [])

    def test_nonsense(self):
        connect(self.ann)
        self.openrouter.talks_nonsense()
        self.assertEqual(self.ask().status_code, 503)

    def test_pages_take_no_token(self):
        answer = self.client.get("/openrouter/status/")
        self.assertEqual(answer.status_code, 401)

    def test_one_query_for_the_key(self):
        connect(self.ann)
        self.openrouter.answers("Fine.")
        from api.permissions import HasOpenRouterKey
        from types import SimpleNamespace
        with self.assertNumQueries(1):
            self.assertTrue(HasOpenRouterKey().has_permission(SimpleNamespace(user=self.ann), None))
"""


@pytest.fixture
def project(tmp_path):
    """The site of the guide."""
    project = Project(tmp_path)
    project.append("mysite/settings.py", SETTINGS.text)
    for name, text in FILES.items():
        project.write(name, text)
    return project


@pytest.mark.guides
def test_tests_of_the_site(project):
    """The tests of the guide pass on its site."""
    assert "Ran 5 tests" in project.manage("test")


@pytest.mark.guides
def test_what_the_page_says(project):
    """Problem details, sessions, strangers, tokens and costs are as the page says."""
    project.write("api/test_more.py", MORE_TESTS)
    assert "Ran 13 tests" in project.manage("test", "api.test_more.MoreTests")
