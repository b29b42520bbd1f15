"""A PostgreSQL server that can be killed and started again, and a site that one worker serves."""

import os
import secrets
import signal
import subprocess
import sys
import tempfile
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.databases.with_server import NotInstalledError, free_port, postgresql, unprivileged
from tests.deployment.servers import gunicorn, require_gunicorn
from tests.example_site import PACKAGE, ROOT, environment
from tests.processes import PATIENCE, wait_until
from tests.settings import MIDDLEWARE

from .visitor import Visitor

SETTINGS = {
    "ALLOWED_HOSTS": ["127.0.0.1"],
    "MIDDLEWARE": [
        "tests.faults.site.break_on_request",
        "tests.deployment.site.name_process",
        *MIDDLEWARE,
    ],
    "ROOT_URLCONF": "tests.faults.urls",
    # OpenRouter answers when a server has been started again, however busy the machine is.
    "OPENROUTER_AUTH_TIMEOUT": (5, 100),
    "SESSION_COOKIE_SECURE": False,
    "CSRF_COOKIE_SECURE": False,
}
READY = "database system is ready to accept connections"


def require_programs():
    """Skip the test where a program is missing; on CI a skipped fault would look like no fault."""
    try:
        require_gunicorn()
        with tempfile.TemporaryDirectory() as folder:
            postgresql(Path(folder), 0, "")
    except NotInstalledError as error:
        stop = pytest.fail if os.environ.get("CI") == "true" else pytest.skip
        stop(f"{error} not found, so no faults were tested")


class PostgreSQL:
    """A server with its data in a folder, which survives when the server is killed.

    Attributes:
        url: its ``DATABASE_URL``.
    """

    def __init__(self, folder):
        self._folder = folder
        port, password = free_port(), secrets.token_hex(16)
        self.url = f"postgres://tests:{password}@127.0.0.1:{port}/postgres"
        server = postgresql(folder, port, password)
        # What was committed must be there after a crash, as it is on servers of sites.
        self._command = [*server.serve, "-c", "synchronous_commit=on"]
        self._options = unprivileged()
        for path in (folder, *folder.iterdir()):
            os.chown(path, self._options.get("user", -1), self._options.get("group", -1))
        subprocess.run(server.make, check=True, capture_output=True, cwd=folder, **self._options)
        self._starts = 0
        self._process = None

    def start(self):
        """Start it, again if need be: what a killed one left has to end first."""
        assert wait_until(self._has_started), self._log().read_text(errors="replace")

    def kill(self):
        """Kill it, as a machine does that runs out of memory."""
        self._process.kill()
        self._process.wait()

    def _log(self):
        return self._folder / f"log {self._starts}"

    def _has_started(self):
        self._starts += 1
        with self._log().open("wb") as output:
            self._process = subprocess.Popen(
                self._command,
                stdout=output,
                stderr=output,
                cwd=self._folder,
                start_new_session=True,
                **self._options,
            )

        def is_settled():
            is_ready = READY in self._log().read_text(errors="replace")
            return is_ready or self._process.poll() is not None

        assert wait_until(is_settled)
        return self._process.poll() is None

    def close(self):
        """Stop it, if it runs."""
        if self._process is not None and self._process.poll() is None:
            # A "fast" stop: it does not wait for clients to leave.
            self._process.send_signal(signal.SIGINT)
            self._process.wait(PATIENCE)


@contextmanager
def killable_postgresql():
    """Run a server that can be killed."""
    with tempfile.TemporaryDirectory(prefix="postgresql-", ignore_cleanup_errors=True) as name:
        server = PostgreSQL(Path(name))
        try:
            server.start()
            yield server
        finally:
            server.close()


@dataclass
class Site:
    """A site that one worker serves, with the provider that it calls.

    Attributes:
        url: where it is served.
        openrouter: the stand-in for OpenRouter.
    """

    url: str
    openrouter: object
    visitors: int = 0

    def visitor(self, api_key=""):
        """Return somebody new who is signed in, connected with a key where one is given."""
        self.visitors += 1
        return Visitor(self.url, self.openrouter, f"visitor-{self.visitors}", api_key)


def settings_for(folder, database_url, openrouter):
    """Write the settings of a site; return the environment of its processes."""
    settings = {**SETTINGS, "OPENROUTER_AUTH_API_URL": openrouter.url}
    lines = ["from tests.deployment.settings import *"]
    lines += [f"{name} = {value!r}" for name, value in settings.items()]
    (folder / "broken_settings.py").write_text("\n".join(lines))
    return environment(
        folder,
        PYTHONPATH=os.pathsep.join(map(str, (folder, ROOT, PACKAGE))),
        DJANGO_SETTINGS_MODULE="broken_settings",
        DATABASE_URL=database_url,
    )


def command(env, *arguments):
    """Run a management command to its end."""
    return subprocess.run(
        [sys.executable, "-m", "django", *arguments],
        env=env,
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


@contextmanager
def served(folder, database_url, openrouter):
    """Serve a site with one worker, which is replaced when it dies."""
    env = settings_for(folder, database_url, openrouter)
    migrated = command(env, "migrate", "--verbosity", "0")
    assert migrated.returncode == 0, migrated.stderr
    options = "--timeout", "120", "django.core.wsgi:get_wsgi_application()"
    with gunicorn(env, folder, *options) as port:
        yield Site(f"http://127.0.0.1:{port}", openrouter)
