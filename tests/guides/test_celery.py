"""The guide to calls in Celery tasks."""

import pytest

from tests.documented import Page

from .project import Project

pytestmark = pytest.mark.guides

PAGE = Page("howto/celery")
FILES = {
    name: PAGE.take(f"# {name}").text
    for name in ("haikus/tasks.py", "haikus/views.py", "haikus/everybody.py", "haikus/tests.py")
}
APP = """
from celery import Celery

app = Celery("mysite")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks(["haikus"])
"""
SETTINGS = """
INSTALLED_APPS += ["haikus"]
ROOT_URLCONF = "site_urls"
CELERY_BROKER_URL = "memory://"
CELERY_RESULT_BACKEND = "cache+memory://"
MAILERS = {"default": {"BACKEND": "django.core.mail.backends.locmem.EmailBackend"}}
"""
URLS = """
from django.urls import path
from haikus.views import order
from mysite.urls import urlpatterns

urlpatterns += [path("haikus/", order)]
"""
MORE_TESTS = '''
from unittest.mock import patch

from django_openrouter_auth.models import OpenRouterKey
from django_openrouter_auth.testing import KEY
from haikus.everybody import order_for_everybody
from haikus.tests import *
from mysite.celery import app


def queued():
    """Take what waits in the broker."""
    with app.connection_for_read() as connection, connection.SimpleQueue("celery") as queue:
        messages = []
        while queue.qsize():
            message = queue.get(timeout=5)
            message.ack()
            messages.append((message.payload[0], f"{message.body!r} {message.headers!r}"))
        return messages


class MoreTests(HaikuTests):
    def order(self):
        self.client.force_login(self.ann)
        with self.captureOnCommitCallbacks(execute=True):
            return self.client.post("/haikus/")

    def test_order(self):
        connect(self.ann)
        self.assertRedirects(self.order(), "/", fetch_redirect_response=False)
        ((arguments, text),) = queued()
        self.assertEqual(arguments, [self.ann.pk])
        self.assertNotIn(KEY, text)
        self.assertEqual(self.openrouter.calls, [])

    def test_order_without_a_key(self):
        self.assertTrue(self.order()["Location"].startswith("/openrouter/connect/"))
        self.assertEqual(queued(), [])

    def test_everybody(self):
        connect(self.ann)
        User.objects.create_user("bob")
        order_for_everybody()
        self.assertEqual([arguments for arguments, _ in queued()], [[self.ann.pk]])

    def test_reconnected_meanwhile(self):
        connect(self.ann)
        self.openrouter.answers("A key")
        connect(self.ann, "sk-or-v1-" + "7" * 64)
        self.run_task()
        self.assertEqual(self.openrouter.chats[0].api_key, "sk-or-v1-" + "7" * 64)

    def test_rejection_is_written_down(self):
        self.test_key_deleted_meanwhile()
        self.assertEqual(OpenRouterKey.objects.get().status, "rejected")
        self.assertEqual(len(mail.outbox), 1)

    def test_user_is_gone(self):
        connect(self.ann)
        User.objects.update(is_active=False)
        self.run_task()
        self.assertEqual((self.openrouter.calls, mail.outbox), ([], []))

    def test_no_credit(self):
        connect(self.ann)
        self.openrouter.fails(402, at="chat/completions")
        self.run_task()
        self.assertIn("no credit", mail.outbox[0].body)

    def test_too_many_requests(self):
        connect(self.ann)
        self.openrouter.fails(429, at="chat/completions")
        waits = []
        retry = mail_haiku.retry

        def note(**options):
            waits.append(options["countdown"])
            return retry(**options)

        with patch.object(mail_haiku, "retry", note):
            self.assertTrue(self.run_task().failed())
        self.assertEqual(waits, [60, 120, 240, 480, 960, 1920])
        self.assertEqual(len(self.openrouter.chats), 6)

    def test_result_is_not_stored(self):
        self.assertTrue(mail_haiku.ignore_result)
        self.assertFalse(mail_haiku.acks_late)
'''


@pytest.fixture
def project(tmp_path):
    """The site of the guide, with an application of Celery in memory."""
    project = Project(tmp_path)
    project.append("mysite/settings.py", SETTINGS)
    project.write("site_urls.py", URLS)
    project.write("mysite/celery.py", APP)
    project.write("mysite/__init__.py", "from .celery import app\n")
    for name, text in FILES.items():
        project.write(name, text)
    return project


def test_tests_of_the_site(project):
    """The tests of the guide pass on its site."""
    assert "Ran 4 tests" in project.manage("test")


def test_what_the_page_says(project):
    """What waits in the broker, who pays, and what is tried again are as the page says."""
    project.write("haikus/test_more.py", MORE_TESTS)
    assert "Ran 13 tests" in project.manage("test", "haikus.test_more.MoreTests")
