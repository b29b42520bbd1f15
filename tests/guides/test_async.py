"""The guide to streaming with asynchronous views."""

import pytest

from tests.documented import Page

from .project import Project

pytestmark = pytest.mark.guides

PAGE = Page("howto/async")
FILES = {name: PAGE.take(f"# {name}").text for name in ("chat/views.py", "chat/tests.py")}
URLS = """
from django.urls import path
from chat.views import stream

urlpatterns += [path("stream/", stream)]
"""
MORE_TESTS = '''
from chat.tests import *
from chat.views import aget_openai_client, words


class MoreTests(StreamTests):
    async def test_breaking_off(self):
        await sync_to_async(connect)(self.ann)
        self.openrouter.mock.post(
            "https://openrouter.ai/api/v1/chat/completions",
            body="""data: {"id": "1", "choices": [{"index": 0, "delta": {"content": "Well"}}]}

data: {"error": {"code": 502, "message": "Provider disconnected"}, "choices": []}

""",
            content_type="text/event-stream",
        )
        response = await self.async_client.post("/stream/", {"question": "Well?"})
        answer = b"".join([part async for part in response]).decode()
        self.assertEqual(answer, "Well (The answer breaks off here.)")

    async def test_reader_who_leaves(self):
        await sync_to_async(connect)(self.ann)
        self.openrouter.answers("Fine.")
        client = await aget_openai_client(self.ann)
        chunks = await client.chat.completions.create(model="a/model", messages=[], stream=True)
        stream = words(client, chunks)
        self.assertEqual(await anext(stream), "Fine.")
        self.assertFalse(client.is_closed())
        await stream.aclose()
        self.assertTrue(client.is_closed())

    async def test_get(self):
        await sync_to_async(connect)(self.ann)
        response = await self.async_client.get("/stream/", {"question": "Well?"})
        self.assertEqual(response.status_code, 405)
        self.assertEqual(self.openrouter.calls, [])
'''


@pytest.fixture
def project(tmp_path):
    """The site of the guide."""
    project = Project(tmp_path)
    for name, text in FILES.items():
        project.write(name, text)
    project.append("mysite/urls.py", URLS)
    return project


def test_tests_of_the_site(project):
    """The tests of the guide pass on its site."""
    assert "Ran 3 tests" in project.manage("test")


def test_what_the_page_says(project):
    """A stream that breaks off says so, and one whose reader leaves closes its client."""
    project.write("chat/test_more.py", MORE_TESTS)
    assert "Ran 6 tests" in project.manage("test", "chat.test_more.MoreTests")
