"""The tutorial, typed by a reader: an empty folder, every block in its order, and a chat."""

import html
import re
import subprocess
import sys
from contextlib import contextmanager
from html.parser import HTMLParser
from urllib.parse import urljoin

import pytest
import requests

from tests.documented import Page
from tests.example_site import environment
from tests.processes import answers, free_port, running

pytestmark = pytest.mark.process

PAGE = Page("tutorial")
START = PAGE.take("python -m django startproject mysite .")
FILES = [
    PAGE.take("# mysite/settings.py, at its end"),
    PAGE.take("# mysite/urls.py"),
    PAGE.take("{# chat/templates/base.html #}"),
    PAGE.take("{# chat/templates/openrouter_auth/base.html #}"),
    PAGE.take("{# chat/templates/registration/login.html #}"),
    PAGE.take("{# chat/templates/chat.html #}"),
    PAGE.take("# chat/views.py"),
    PAGE.take("# chat/tests.py"),
]
SET_UP = PAGE.take("python manage.py migrate")
SERVE = PAGE.take("python manage.py runserver localhost:8000")
TEST = PAGE.take("python manage.py test")
ADDRESS = "localhost:8000"
NAME, PASSWORD = "ann", "correct horse"


@pytest.fixture
def folder(tmp_path):
    """The folder of the reader, with the project and all of its files."""
    return type_in(tmp_path / "chatsite")


@pytest.fixture
def site(folder):
    """The origin of the reader's site, which is being served at a free port."""
    with serve(folder) as origin:
        yield origin


def type_in(folder):
    """Make the project in a folder, type all of its files, and return the folder."""
    folder.mkdir()
    execute(folder, START)
    for block in FILES:
        comment = block.text.splitlines()[0].strip("{#} ")
        name, _, place = comment.partition(", ")
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        before = path.read_text() + "\n" if place else ""
        path.write_text(before + block.text)
    return folder


def execute(folder, block):
    """Run the lines of a shell block, as somebody who answers what they are asked.

    Return what was printed.
    """
    printed = ""
    for line in block.text.splitlines():
        python, *arguments = line.split()
        assert python == "python"
        if "createsuperuser" in arguments:
            arguments += ["--no-input", "--username", NAME, "--email", "ann@example.org"]
        done = subprocess.run(
            [sys.executable, "-W", "error", *arguments],
            cwd=folder,
            env=shell(folder),
            capture_output=True,
            text=True,
            check=False,
        )
        printed += done.stdout + done.stderr
        assert done.returncode == 0, printed
    return printed


def shell(folder):
    """Return the environment of the reader's shell."""
    return environment(folder, DJANGO_SUPERUSER_PASSWORD=PASSWORD)


@contextmanager
def serve(folder):
    """Set the project up, serve it at a free port, and yield its origin."""
    address = f"localhost:{free_port()}"
    settings = folder / "mysite" / "settings.py"
    settings.write_text(settings.read_text().replace(ADDRESS, address))
    execute(folder, SET_UP)
    _, *arguments = SERVE.text.replace(ADDRESS, address).split()
    command = [sys.executable, *arguments, "--noreload"]
    origin, log = f"http://{address}", folder / "log"
    with running(command, log, lambda: answers(f"{origin}/"), env=shell(folder), cwd=folder):
        yield origin


class Forms(HTMLParser):
    """The forms of a page: where each leads, and the fields that it has filled in."""

    def __init__(self, page):
        super().__init__()
        self.forms = []
        self.select = ""
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        attributes = dict(attrs)
        if tag == "form":
            self.forms.append((attributes.get("action") or "", {}))
        elif tag == "select":
            self.select = attributes["name"]
        elif tag == "option" and "selected" in attributes:
            self.forms[-1][1][self.select] = attributes["value"]
        elif tag == "input" and (attributes.get("type") != "checkbox" or "checked" in attributes):
            self.forms[-1][1][attributes["name"]] = attributes.get("value", "on")


class Visitor(requests.Session):
    """A browser without pictures and scripts."""

    def __init__(self, site):
        super().__init__()
        self.trust_env = False
        self.go(f"{site}/")

    def go(self, url):
        self.page = self.get(url, timeout=20)

    def submit(self, action="", **typed):
        """Send the one form of the page that leads to an address."""
        (fields,) = [fields for where, fields in Forms(self.page.text).forms if where == action]
        headers = {"Referer": self.page.url}
        url = urljoin(self.page.url, action)
        self.page = self.post(url, data=fields | typed, headers=headers, timeout=20)

    def sees(self, text):
        return self.page.status_code == 200 and text in self.page.text


def set_faults(visitor, site, **switches):
    """Turn switches of the sandbox, as in another tab, and come back."""
    visitor.go(f"{site}/openrouter-sandbox/faults")
    visitor.submit(**switches)
    visitor.go(f"{site}/")


def test_the_reader_types_little():
    """What is typed into files is a little more than a hundred lines."""
    lines = [line for block in FILES for line in block.text.splitlines()[1:] if line.strip()]
    assert len(lines) <= 115


def test_tests_of_the_site(folder):
    """The tests of the tutorial's site pass."""
    printed = execute(folder, TEST)
    assert "Ran 3 tests" in printed


def test_check_warns_of_one_thing(folder):
    """The check of the finished site has the one warning that the page names."""
    assert set(re.findall(r"\w+\.[EW]\d+", execute(folder, SET_UP))) == {
        "django_openrouter_auth.W002"
    }


def test_a_bad_day_names_what_is_there(site):
    """The page of faults shows every word that the tutorial tells the reader to look for."""
    _, _, section = PAGE.text().partition("\nA bad day\n")
    words = re.findall(r"\*([^*]+)\*", section.partition("\nTests of your own\n")[0])
    assert len(words) >= 4
    page = requests.get(f"{site}/openrouter-sandbox/faults", timeout=20)
    assert page.url.endswith("/faults")
    shown = html.unescape(page.text)
    assert [word for word in words if word not in shown] == []


def test_chat(site):
    """A visitor signs in, connects on the sandbox, chats, and meets the bad days of the page."""
    with Visitor(site) as visitor:
        assert visitor.sees("Connect OpenRouter")
        link = re.search(r'href="(/accounts/login/[^"]+)"', visitor.page.text)
        visitor.go(f"{site}{link[1]}")
        visitor.submit(username=NAME, password=PASSWORD)
        visitor.submit("/openrouter/connect/")
        visitor.submit(account="ann@example.org")
        visitor.submit(decision="authorize", limit="5")
        assert visitor.page.url == f"{site}/"
        assert visitor.sees("OpenRouter is connected.")
        visitor.submit("/ask/", message="Good morning!")
        assert visitor.sees("You said: “Good morning!”.")
        set_faults(visitor, site, chat_fault="no_credit")
        visitor.submit("/ask/", message="And now?")
        assert visitor.sees("Your OpenRouter account has no credit left.")
        set_faults(visitor, site, chat_fault="unauthorized", key_fault="unauthorized")
        visitor.submit("/ask/", message="And now?")
        assert visitor.page.url.startswith(f"{site}/openrouter/connect/")
        assert visitor.sees("it was deleted, switched off or has expired")
