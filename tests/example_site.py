"""Running the example project in processes of its own, with its own settings and database."""

import os
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import django_openrouter_auth

from .processes import answers, running

ROOT = Path(__file__).resolve().parent.parent
MANAGE = ROOT / "example_project" / "manage.py"
# The very package that these tests import: the wheel under tox, else the working tree.
PACKAGE = Path(django_openrouter_auth.__file__).resolve().parent.parent
OURS = ("CI", "HOME", "LANG", "PATH", "SYSTEMROOT", "TMPDIR")


def environment(folder, **variables):
    """Return the environment of a site with its database and its secrets in a folder."""
    return {
        **{name: os.environ[name] for name in OURS if name in os.environ},
        "PYTHONPATH": os.pathsep.join(map(str, (folder, PACKAGE, ROOT))),
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


@contextmanager
def serve(env, address, *arguments, log, script=MANAGE, python=sys.executable):
    """Run ``manage.py`` with these arguments, and go on once it serves an address."""
    command = [str(python), str(script), *arguments]
    with running(command, log, lambda: answers(f"http://{address}/"), env=env, cwd=ROOT):
        yield
