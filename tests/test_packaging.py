"""What a distribution contains and says about itself: built here, from a copy of the tree."""

import configparser
import email.parser
import re
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path, PurePosixPath

import pytest

import django_openrouter_auth

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = "django_openrouter_auth"
LOCAL = "example_project/local/"  # the secrets and the database of the one who ran the demo

pytestmark = pytest.mark.packaging


@pytest.fixture(scope="module")
def wheel_files(wheel):
    """The names of the wheel's files, as in ``django_openrouter_auth/conf.py``."""
    with zipfile.ZipFile(wheel) as archive:
        return set(archive.namelist())


@pytest.fixture(scope="module")
def sdist_files(distributions):
    """The names of the sdist's files, without its top folder."""
    [path] = distributions.glob("*.tar.gz")
    with tarfile.open(path) as archive:
        names = [PurePosixPath(member.name) for member in archive if member.isfile()]
    return {str(PurePosixPath(*name.parts[1:])) for name in names}


@pytest.fixture(scope="module")
def metadata(wheel):
    """The headers of the wheel's METADATA file."""
    with zipfile.ZipFile(wheel) as archive:
        [name] = [name for name in archive.namelist() if name.endswith(".dist-info/METADATA")]
        return email.parser.BytesParser().parsebytes(archive.read(name))


def run(module, *arguments):
    """Run a Python module as a program; show what it printed when it fails."""
    command = [sys.executable, "-m", module, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def files_below(folder):
    """The files that the tree holds below a folder of the root, named as in an archive."""
    files = {
        path.relative_to(ROOT).as_posix() for path in (ROOT / folder).rglob("*") if path.is_file()
    }
    return {name for name in files if not name.startswith(LOCAL) and not name.endswith(".pyc")}


def test_wheel_holds_the_package_and_nothing_else(wheel_files):
    """Every file of the package is in the wheel, and no tests, example or docs.

    What translators write stays out: a site reads the compiled catalogues only.
    """
    information = {name for name in wheel_files if ".dist-info/" in name}
    written = {name for name in files_below(PACKAGE) if name.endswith(".po")}
    assert written
    assert wheel_files - information == files_below(PACKAGE) - written


@pytest.mark.parametrize("folder", ["locale", "migrations", "static", "templates", "sandbox"])
def test_wheel_holds_files_of(folder, wheel_files):
    """The folders that are easily forgotten are not empty."""
    prefix = f"{PACKAGE}/{folder}/"
    assert any(name.startswith(prefix) for name in wheel_files)


def test_wheel_is_marked_as_typed(wheel_files):
    """Type checkers of a site use our annotations."""
    assert f"{PACKAGE}/py.typed" in wheel_files


def test_wheel_carries_the_licence(wheel_files):
    """The MIT licence asks for its text in every copy."""
    assert any(name.endswith(".dist-info/licenses/LICENSE") for name in wheel_files)


def test_wheel_stays_small(wheel):
    """The wheel stays below 330 KiB, of which the eight languages are a quarter."""
    assert wheel.stat().st_size < 330 * 1024


def test_wheel_passes_check_wheel_contents(wheel):
    """The usual mistakes of a wheel are absent."""
    run("check_wheel_contents", "--config", ROOT / "pyproject.toml", wheel)


def test_metadata_is_ready_for_an_index(distributions):
    """An index would take both distributions and render the README."""
    run("twine", "check", "--strict", *distributions.iterdir())


def test_exactly_three_runtime_dependencies(metadata):
    """A site gets Django, requests and django-fernet-fields-v2 with us, and nothing else."""
    requirements = metadata.get_all("Requires-Dist")
    runtime = [requirement for requirement in requirements if "extra ==" not in requirement]
    assert sorted(runtime) == ["Django>=5.2", "django-fernet-fields-v2>=0.9", "requests>=2.32.4"]


def test_name_version_python_and_licence(metadata):
    """What an installer reads is what the code and the README say."""
    expected = {
        "Name": "django-openrouter-auth",
        "Version": django_openrouter_auth.__version__,
        "Requires-Python": ">=3.11",
        "License-Expression": "MIT",
    }
    assert {field: metadata[field] for field in expected} == expected


def test_lowest_environment_tests_the_lower_bounds(metadata):
    """The lower bounds are tested, not guessed: tox.ini pins exactly them."""
    tox = configparser.ConfigParser(interpolation=None)
    tox.read(ROOT / "tox.ini")
    pins = tox["testenv:lowest"]["deps"].split()
    bounds = [bound.partition(";")[0].strip() for bound in metadata.get_all("Requires-Dist")]
    assert sorted(pins) == sorted(bound.replace(">=", "==") for bound in bounds)


def test_classifiers_name_what_tox_tests(metadata):
    """The Python and Django versions on the label are the ones in the matrix."""
    tox = configparser.ConfigParser(interpolation=None)
    tox.read(ROOT / "tox.ini")
    tested = {f"Programming Language :: Python :: 3.{minor}" for minor in (11, 12, 13)}
    tested |= {f"Framework :: Django :: {version}" for version in ("5.2", "6.0", "6.1")}
    versioned = re.compile(r"(Programming Language :: Python|Framework :: Django) :: \d\.\d+")
    assert set(filter(versioned.fullmatch, metadata.get_all("Classifier"))) == tested
    environments = {"py311-dj52", "py312-dj{52,60,61}", "py313-dj{52,60,61}"}
    assert environments <= set(tox["tox"]["env_list"].split())


def test_environments_are_described():
    """The page for contributors names every environment that ``make test`` runs."""
    tox = configparser.ConfigParser(interpolation=None)
    tox.read(ROOT / "tox.ini")
    names = tox["tox"]["env_list"].split()
    page = (ROOT / "docs" / "contributing.rst").read_text()
    described = re.findall(
        r"``([^`]+)``", "".join(re.findall(r"^   \* - (.+)", page, re.MULTILINE))
    )
    assert {name for name in names if not name.startswith("py")} <= set(described)


@pytest.mark.parametrize("folder", ["tests", "example_project"])
def test_sdist_carries(folder, sdist_files):
    """A distributor can run the tests and the example from the sdist."""
    assert files_below(folder) <= sdist_files


def test_sdist_keeps_the_demo_to_itself(sdist_files):
    """What the example site generated on this machine, secrets among it, is not published."""
    assert not [name for name in sdist_files if name.startswith(LOCAL) or ".sqlite3" in name]


def test_sdist_carries_the_tools(sdist_files):
    """What `make test` needs is in the sdist."""
    tools = {"Makefile", "tox.ini", "pyproject.toml", "setup.cfg", ".ci/summary.py", ".ci/dist.py"}
    assert tools <= sdist_files
