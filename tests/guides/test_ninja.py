"""The guide to django-ninja."""

import pytest

from tests.documented import Page

from .project import Project

PAGE = Page("howto/ninja")
FILES = {
    name: PAGE.take(f"# {name}").text
    for name in ("api/auth.py", "api/api.py", "mysite/urls.py", "api/tests.py")
}
MORE_TESTS = """
from api.tests import *
from django_openrouter_auth.testing import make_unreadable


class MoreTests(AskTests):
    def test_problem_details(self):
        response = self.ask()
        self.assertEqual(response["Content-Type"], "application/problem+json")
        self.assertEqual(response.json()["connect_url"], "http://testserver/openrouter/connect/")

    def test_unreadable_key(self):
        make_unreadable(self.ann)
        self.assertEqual(self.ask().json()["code"], "key_unreadable")

    def test_strangers(self):
        for token in ("", "Bearer nonsense", f"Bearer {signing.dumps(0, salt='api')}"):
            self.headers = {"Authorization": token}
            self.assertEqual(self.ask().status_code, 401)

    def test_session_with_csrf_token(self):
        connect(self.ann)
        self.openrouter.answers("Fine.")
        page = Client(enforce_csrf_checks=True, headers={"X-CSRFToken": "x" * 32})
        page.force_login(self.ann)
        page.cookies["csrftoken"] = "x" * 32
        answer = page.post("/api/ask", {"question": "Well?"}, "application/json")
        self.assertEqual(answer.json(), {"answer": "Fine."})

    def test_no_credit(self):
        connect(self.ann)
        self.openrouter.fails(402, at="chat/completions")
        self.assertEqual((self.ask().status_code, self.ask().json()["code"]), (402, "no_credit"))

    def test_nonsense(self):
        connect(self.ann)
        self.openrouter.talks_nonsense()
        self.assertEqual((self.ask().status_code, self.ask().json()["code"]), (503, "no_answer"))

    def test_pages_take_no_token(self):
        answer = self.client.get("/openrouter/status/", headers=self.headers)
        self.assertEqual(answer.status_code, 401)
"""


@pytest.fixture
def project(tmp_path):
    """The site of the guide."""
    project = Project(tmp_path)
    for name, text in FILES.items():
        project.write(name, text)
    return project


@pytest.mark.guides
def test_tests_of_the_site(project):
    """The tests of the guide pass on its site."""
    assert "Ran 4 tests" in project.manage("test")


@pytest.mark.guides
def test_what_the_page_says(project):
    """Problem details, sessions, tokens and strangers are as the page says."""
    project.write("api/test_more.py", MORE_TESTS)
    assert "Ran 11 tests" in project.manage("test", "api.test_more.MoreTests")
