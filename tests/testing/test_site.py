"""The example of the documentation as a site of its own."""

import re
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from .running import DOCS, PLUGIN, python

SETTINGS = """
SECRET_KEY = "only-for-tests-" + "0123456789" * 4
DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}}
INSTALLED_APPS = [
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django_openrouter_auth",
]
MIDDLEWARE = [
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
]
TEMPLATES = [{"BACKEND": "django.template.backends.django.DjangoTemplates", "APP_DIRS": True}]
ROOT_URLCONF = "urls"
"""
URLS = """
from django.urls import include, path

from chat.views import ask

urlpatterns = [path("ask/", ask), path("openrouter/", include("django_openrouter_auth.urls"))]
"""
PYTEST = """
[pytest]
DJANGO_SETTINGS_MODULE = settings
python_files = tests.py test_*.py
pythonpath = .
filterwarnings = error
"""
LEAKS = """
import logging

from django.contrib.auth.models import User
from django.http import JsonResponse
from django.test import TestCase

from django_openrouter_auth.shortcuts import get_api_key
from django_openrouter_auth.testing import OpenRouterTestMixin, connect


def test_leak(client, openrouter_connected_user, openrouter_leaks, monkeypatch):
    logging.getLogger("chat").info("key: %s", get_api_key(openrouter_connected_user))


class LeakTests(OpenRouterTestMixin, TestCase):
    def test_leak(self):
        connect(user := User.objects.create_user("ann"))
        logging.getLogger("chat").info("key: %s", get_api_key(user))
"""


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """The site of the documentation's example, in a folder of its own."""
    (tmp_path / "settings.py").write_text(SETTINGS)
    (tmp_path / "urls.py").write_text(URLS)
    (tmp_path / "pytest.ini").write_text(PYTEST)
    (tmp_path / "manage.py").write_text(
        "import os, sys\n"
        'os.environ["DJANGO_SETTINGS_MODULE"] = "settings"\n'
        "from django.core.management import execute_from_command_line\n"
        "execute_from_command_line(sys.argv)\n"
    )
    (tmp_path / "chat").mkdir()
    (tmp_path / "chat" / "__init__.py").touch()
    for text in re.findall(r"code-block:: python\n\n((?:   .*\n|\n)+)", DOCS.read_text()):
        block = textwrap.dedent(text)
        (tmp_path / block.splitlines()[0].removeprefix("# ")).write_text(block)
    return tmp_path


@pytest.mark.process
def test_documented_example(site):
    """The example of the documentation passes, with pytest and with Django's test runner."""
    assert "9 passed" in python("-m", "pytest", *PLUGIN, "-q", folder=site)
    ran = python("-W", "error", "manage.py", "test", "chat", "--pattern", "tests.py", folder=site)
    assert "Ran 5 tests" in ran
    assert ran.endswith("exit 0")


@pytest.mark.process
def test_leaks_fail_in_a_site(site):
    """A leak fails the test of a site, with the fixture and with the mixin."""
    (site / "chat" / "test_leaks.py").write_text(LEAKS)
    printed = python("-m", "pytest", *PLUGIN, "-q", "chat/test_leaks.py", folder=site)
    assert printed.count("AssertionError: A secret leaked: KEY in log of chat") >= 2
    assert printed.endswith("exit 1")


@pytest.fixture(scope="session")
def site_python(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The Python of an environment with the wheel, its extra, pytest and pytest-django."""
    folder = tmp_path_factory.mktemp("testing") / "environment"
    subprocess.run([sys.executable, "-m", "venv", folder], check=True)
    interpreter = str(folder / "bin" / "python")
    install = [interpreter, "-m", "pip", "install", "-qq", "--disable-pip-version-check"]
    wanted = [f"{wheel}[testing]", "pytest", "pytest-django"]
    subprocess.run([*install, *wanted], check=True)
    return interpreter


@pytest.mark.packaging
def test_example_with_the_wheel(site, site_python):
    """With the wheel installed the example passes without a word about the plugin."""
    assert "9 passed" in python("-m", "pytest", "-q", folder=site, interpreter=site_python)
    # Asked for by name as well, it is still there once.
    named = python("-m", "pytest", *PLUGIN, "-q", folder=site, interpreter=site_python)
    assert "9 passed" in named


@pytest.mark.packaging
def test_leak_with_the_wheel(site, site_python):
    """With the wheel installed a deliberate leak fails, in both worlds."""
    (site / "chat" / "test_leaks.py").write_text(LEAKS)
    arguments = ("-m", "pytest", "-q", "chat/test_leaks.py")
    printed = python(*arguments, folder=site, interpreter=site_python)
    assert printed.count("AssertionError: A secret leaked: KEY in log of chat") >= 2
    assert printed.endswith("exit 1")
