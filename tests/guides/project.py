"""A site of its own in a folder: what ``startproject`` makes, and the files of a guide."""

import textwrap
from pathlib import Path

from django.core.management import call_command

from ..testing.running import python

ENCRYPTION_KEY = "encryption-key-of-a-guide-" + "0123456789" * 2
HEAD = """
import os, django
os.environ["DJANGO_SETTINGS_MODULE"] = "mysite.settings"
django.setup()
from django.test.utils import setup_test_environment
setup_test_environment()
"""


class Project:
    """A new site with this package, which runs in processes of its own.

    Args:
        folder: an empty folder.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        call_command("startproject", "mysite", str(folder), verbosity=0)
        self.append(
            "mysite/settings.py",
            f"""
            INSTALLED_APPS += ["django_openrouter_auth"]
            LOGIN_URL = "admin:login"
            OPENROUTER_AUTH_SITE_URL = "https://app.example"
            FERNET_KEYS = ["{ENCRYPTION_KEY}"]
            """,
        )
        self.append(
            "mysite/urls.py",
            """
            from django.urls import include
            urlpatterns += [path("openrouter/", include("django_openrouter_auth.urls"))]
            """,
        )

    def write(self, name: str, text: str) -> None:
        """Write a file, and make its folders packages."""
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(text))
        if path.suffix == ".py":
            for folder in path.relative_to(self.folder).parents[:-1]:
                (self.folder / folder / "__init__.py").touch()

    def append(self, name: str, text: str) -> None:
        """Add lines to a file."""
        self.write(name, (self.folder / name).read_text() + textwrap.dedent(text))

    def manage(self, *arguments: str) -> str:
        """Run a management command, which must succeed without a warning; return its output."""
        return self._python("manage.py", *arguments)

    def run(self, script: str) -> str:
        """Run Python with Django set up, which must succeed without a warning."""
        return self._python("-c", HEAD + textwrap.dedent(script))

    def _python(self, *arguments: str) -> str:
        output, _, code = python("-W", "error", *arguments, folder=self.folder).rpartition(
            "\nexit "
        )
        assert code == "0", output
        return output
