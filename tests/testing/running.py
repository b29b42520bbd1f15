"""Python in a process of its own, with the plugin."""

import os
import subprocess
import sys
from pathlib import Path

import django_openrouter_auth

ROOT = Path(django_openrouter_auth.__file__).resolve().parent.parent
DOCS = Path(__file__).resolve().parents[2] / "docs" / "reference" / "testing.rst"
PLUGIN = ("-p", "django_openrouter_auth.pytest_plugin")


def python(*arguments: str, folder: Path, interpreter: str = sys.executable) -> str:
    """Run Python in a folder, with this package and no settings; return what it printed."""
    kept = {name: value for name, value in os.environ.items() if "DJANGO" not in name}
    where = {} if interpreter != sys.executable else {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [interpreter, *arguments],
        cwd=folder,
        env={name: value for name, value in kept.items() if name != "PYTHONPATH"} | where,
        capture_output=True,
        text=True,
        check=False,
    )
    return f"{done.stdout}{done.stderr}\nexit {done.returncode}"
