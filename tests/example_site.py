"""Running the example project in processes of its own, with its own settings and database."""

import os
import signal
import socket
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

import django_openrouter_auth

ROOT = Path(__file__).resolve().parent.parent
MANAGE = ROOT / "example_project" / "manage.py"
# The very package that these tests import: the wheel under tox, else the working tree.
PACKAGE = Path(django_openrouter_auth.__file__).resolve().parent.parent
OURS = ("CI", "HOME", "LANG", "PATH", "SYSTEMROOT", "TMPDIR")


def environment(folder, **variables):
    """Return the environment of a site with its database and its secrets in a folder."""
    return {
        **{name: os.environ[name] for name in OURS if name in os.environ},
        "PYTHONPATH": os.pathsep.join([str(folder), str(PACKAGE)]),
        "PYTHONDONTWRITEBYTECODE": "1",
        "NO_PROXY": "localhost,127.0.0.1",
        "DATABASE_URL": f"sqlite:///{folder / 'db.sqlite3'}",
        "SECRET_KEY": "secret-key-of-the-example-project-under-test-0123456789",
        "FERNET_KEYS": "encryption-key-of-the-example-project-0123456789",
        **variables,
    }


def manage(env, *arguments, script=MANAGE):
    """Run ``manage.py`` to its end; warnings are errors."""
    return subprocess.run(
        [sys.executable, "-W", "error", str(script), *arguments],
        env=env,
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def free_port():
    """Return a port that nothing listens on."""
    with socket.create_server(("localhost", 0)) as listener:
        return listener.getsockname()[1]


@contextmanager
def serve(env, address, *arguments, log, script=MANAGE, python=sys.executable):
    """Run ``manage.py`` with these arguments, and go on once it serves an address."""
    with log.open("w") as output:
        process = subprocess.Popen(
            [str(python), str(script), *arguments],
            env=env,
            cwd=ROOT,
            stdout=output,
            stderr=subprocess.STDOUT,
            # The reloader serves in a child: both are in this group, and so are stopped together.
            start_new_session=True,
        )
        try:
            wait_for(f"http://{address}/", process, log)
            yield
        finally:
            os.killpg(process.pid, signal.SIGTERM)
            try:
                process.wait(timeout=10)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()


def wait_for(url, process, log):
    """Wait until a site answers.

    Raises:
        AssertionError: when it ended, or did not answer in time; with what it printed.
    """
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and process.poll() is None:
        try:
            urlopen(url, timeout=5).close()
        except (URLError, ConnectionError, TimeoutError):
            time.sleep(0.1)
        else:
            return
    raise AssertionError(f"{url} does not answer:\n{log.read_text()}")
