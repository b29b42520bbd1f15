import shutil
import signal
import subprocess
import sys
from functools import wraps
from importlib.util import find_spec
from pathlib import Path

import pytest
from django.db import connection
from django.utils import translation

from django_openrouter_auth.exceptions import OpenRouterAuthError

ROOT = Path(__file__).resolve().parent.parent

# Behind a shell's "&" Ctrl-C is ignored, and the programs that tests interrupt inherit that.
signal.signal(signal.SIGINT, signal.default_int_handler)

pytest_plugins = [
    "django_openrouter_auth.pytest_plugin",  # once, also where it is installed
    "pytester",
    "tests.authority",
    "tests.connecting",
    "tests.leakscan",
    "tests.staff",
    "tests.standin",
    "tests.calling",  # it imports those above, and pytest wants to see them first
]

# Only the environments that drive a browser install Playwright.
collect_ignore = [] if find_spec("playwright") else ["browser"]


def pytest_collection_modifyitems(config, items):
    """Leave out what needs PostgreSQL on another database, so that a skip always means trouble."""
    if connection.vendor == "postgresql":
        return
    left_out = [item for item in items if item.get_closest_marker("postgresql")]
    items[:] = [item for item in items if item not in left_out]
    config.hook.pytest_deselected(items=left_out)


@pytest.fixture(scope="session")
def distributions(tmp_path_factory):
    """The folder with the sdist and the wheel, which `build` makes from the sdist."""
    # From a copy: building leaves build/ and *.egg-info behind, and tox may be building too.
    source = tmp_path_factory.mktemp("source") / "tree"
    leftovers = shutil.ignore_patterns(
        ".*_cache", ".git", ".tox", ".venv*", "__pycache__", "build", "dist", "*.egg-info"
    )
    shutil.copytree(ROOT, source, ignore=leftovers)
    folder = tmp_path_factory.mktemp("dist")
    subprocess.run([sys.executable, "-m", "build", "--outdir", folder, source], check=True)
    return folder


@pytest.fixture(scope="session")
def wheel(distributions):
    """The path of the wheel."""
    [path] = distributions.glob("*.whl")
    return path


STAGES = ("start", "callback", "exchange", "status", "save", "use")


@pytest.fixture(autouse=True)
def stages():
    """Fail where the package does not say at which of the documented stages an error arose."""
    make, strange = OpenRouterAuthError.__init__, []

    @wraps(make)
    def note(error, **facts):
        maker = sys._getframe(1).f_globals["__name__"]
        is_ours = maker.startswith("django_openrouter_auth.") and facts  # none where it is a copy
        if is_ours and facts.get("stage") not in STAGES:
            strange.append((type(error).__name__, facts))
        make(error, **facts)

    OpenRouterAuthError.__init__ = note
    yield
    OpenRouterAuthError.__init__ = make
    assert not strange


@pytest.fixture(autouse=True)
def default_language():
    """End each test in the language of the site: a request may have chosen another one."""
    yield
    translation.deactivate()
