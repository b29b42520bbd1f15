"""What is published: the same bytes each time, with a list of what comes along, and no weakness."""

import hashlib
import http.server
import json
import os
import re
import shutil
import subprocess
import sys
import threading
import time
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
LEFTOVERS = shutil.ignore_patterns(
    ".*_cache", ".git", ".tox", ".venv*", "__pycache__", "build", "dist", "*.egg-info", "local"
)

pytestmark = pytest.mark.packaging


def run(script, *arguments, check=True, **options):
    """Run a script of ``.ci`` and return what it printed."""
    command = [sys.executable, script, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, **options)
    assert not check or done.returncode == 0, done.stdout + done.stderr
    return done


def git(folder, *arguments):
    """Run git as nobody in particular, without what this machine's owner has set."""
    environment = {name: value for name, value in os.environ.items() if name[:4] != "GIT_"}
    environment |= {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_SYSTEM": os.devnull}
    command = ["git", "-c", "user.name=Nobody", "-c", "user.email=nobody@example.com", *arguments]
    subprocess.run(command, cwd=folder, env=environment, check=True, capture_output=True)


@pytest.fixture(scope="module")
def repository(tmp_path_factory):
    """A repository whose last commit is the tree as it is now."""
    folder = tmp_path_factory.mktemp("repository") / "origin"
    shutil.copytree(ROOT, folder, ignore=LEFTOVERS)
    git(folder, "init", "--quiet")
    git(folder, "add", ".")
    git(folder, "commit", "--quiet", "--message", "All of it")
    return folder


def digests(folder):
    """The SHA-256 of each file of a folder by its name."""
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.iterdir()}


@pytest.fixture(scope="module")
def published(repository, tmp_path_factory):
    """What ``make dist`` makes: both distributions and the SBOM."""
    folder = tmp_path_factory.mktemp("published") / "dist"
    run(repository / ".ci" / "dist.py", folder)
    run(repository / ".ci" / "sbom.py", folder)
    return folder


def test_two_builds_are_the_same(repository, published, tmp_path):
    """Who builds a commit again, elsewhere and later, gets wheel and sdist byte for byte."""
    clone = tmp_path / "a folder of another name"
    git(tmp_path, "clone", "--quiet", str(repository), str(clone))
    (clone / "docs" / "left.rst").write_text("A file that nobody committed.")
    earlier = time.time() - 10**8
    for path in clone.rglob("*.py"):
        os.utime(path, (earlier, earlier))
    elsewhere = os.environ | {"TZ": "Asia/Tokyo", "LC_ALL": "C"}
    run(clone / ".ci" / "dist.py", tmp_path / "dist", cwd=tmp_path, env=elsewhere, umask=0o077)
    again = digests(tmp_path / "dist")
    assert len(again) == 2
    assert again.items() < digests(published).items()


def test_published_wheel_is_the_tested_one(published, wheel):
    """The wheel that ``make dist`` makes has the files of the one that the tests install."""
    [path] = published.glob("*.whl")
    with zipfile.ZipFile(path) as ours, zipfile.ZipFile(wheel) as tested:
        assert sorted(ours.namelist()) == sorted(tested.namelist())


def test_sbom_lists_what_comes_along(published):
    """The SBOM has our package, the wheel's hash, the three and what those need; no more."""
    [path] = published.glob("*.cdx.json")
    sbom = json.loads(path.read_text())
    components = {component["name"].lower(): component for component in sbom["components"]}
    expected = {
        "django-openrouter-auth": ["Django", "django-fernet-fields-v2", "requests"],
        "django": ["asgiref", "sqlparse"],
        "django-fernet-fields-v2": ["Django", "cryptography"],
        "cryptography": ["cffi"],
        "cffi": ["pycparser"],
        "requests": ["certifi", "charset-normalizer", "idna", "urllib3"],
    }
    needs = {
        entry["ref"].partition("==")[0].lower(): [
            name.partition("==")[0] for name in entry["dependsOn"]
        ]
        for entry in sbom["dependencies"]
        if "dependsOn" in entry
    }
    assert needs == expected
    needed = {name.lower() for names in needs.values() for name in names}
    assert set(components) == {*expected, *needed}
    [reference] = components["django-openrouter-auth"]["externalReferences"]
    [wheel] = published.glob("*.whl")
    assert reference["hashes"][0]["content"] == digests(published)[wheel.name]
    assert reference["url"] == wheel.name


@pytest.fixture
def advisories():
    """A service that knows weaknesses of the versions that a test puts into it; its address."""
    known = {}

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self):
            query = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            name = f"{query['package']['name']}=={query['version']}"
            found = [{"id": known[name], "affected": []}] if name in known else []
            body = json.dumps({"vulns": found} if found else {}).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *arguments):
            """Keep quiet."""

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield known, f"http://127.0.0.1:{server.server_port}/"
    server.shutdown()
    thread.join()
    server.server_close()


def audit(published, address):
    """Run the audit against a service on this machine."""
    service = ("-s", "osv", "--osv-url", address)
    return run(ROOT / ".ci" / "audit.py", published, *service, check=False)


def test_audit_asks_about_all_that_comes_along(published, advisories):
    """Nothing known means: everything was asked about, and nothing was found."""
    _known, address = advisories
    result = audit(published, address)
    assert result.returncode == 0
    assert re.match(r"Newest: 12 packages, 0 with .*\nLowest: 3 packages, 0 with", result.stdout)


def test_audit_finds_a_weakness(published, advisories):
    """A known weakness of what a new site gets fails the audit and has a name."""
    known, address = advisories
    [path] = published.glob("*.cdx.json")
    [version] = re.findall(r'"bom-ref": "cryptography==(.+)"', path.read_text())
    known[f"cryptography=={version}"] = "PYSEC-0-1"
    result = audit(published, address)
    assert result.returncode == 1
    assert f"cryptography {version}: PYSEC-0-1" in result.stdout


def test_audit_reports_the_lowest_versions(published, advisories):
    """A weakness of the lowest versions is told, and does not fail: a site gets the newest."""
    known, address = advisories
    known["django==5.2"] = "PYSEC-0-2"
    result = audit(published, address)
    assert result.returncode == 0
    assert "django 5.2: PYSEC-0-2" in result.stdout


def test_audit_without_a_service_is_no_verdict(published):
    """Where nobody answers, the audit says that it was skipped; it never says clean."""
    result = audit(published, "http://127.0.0.1:9/")
    assert result.stdout.startswith("SKIPPED, nothing is known: ")
    assert "0 with known weaknesses" not in result.stdout
