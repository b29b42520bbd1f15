"""The benchmarks run: nobody would notice for a year that they do not."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

RUN = Path(__file__).resolve().parents[2] / "benchmarks" / "run.py"
VERSIONS = ["ours", "hand-written", "allauth", "social-auth", "Authlib"]

pytestmark = pytest.mark.guides


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    """What a short run writes as JSON, by the titles of its parts."""
    path = tmp_path_factory.mktemp("benchmarks") / "report.json"
    numbers = [f"--{name}=1" for name in ("runs", "tls-runs", "keys", "pages", "passes")]
    subprocess.run(
        [
            *(sys.executable, "-W", "ignore", RUN),
            *("flow", "https", "session", "storage", "admin", "rotation"),
            *(*numbers, "--rotated=2", "--json", path),
        ],
        env={name: value for name, value in os.environ.items() if "DJANGO" not in name},
        check=True,
    )
    return {part["part"]: part for part in json.loads(path.read_text())["parts"]}


@pytest.mark.parametrize("title", ["Connecting: time", "Callback, the provider over HTTPS"])
def test_all_versions_connect(report, title):
    """Each version starts, comes back and replaces its key, and is measured at it."""
    for figure in report[title]["figures"]:
        assert list(figure["versions"]) == VERSIONS
        assert all(found["median"] > 0 for found in figure["versions"].values()), figure


def test_nothing_is_decrypted_for_a_page(report):
    """What does not depend on the machine is met: statements, decryptions, bytes of a session."""
    counts = report["Connecting: what is done"]["goals"] + report["Session"]["goals"]
    met = {goal["goal"] for goal in counts if goal["met"]}
    assert met >= {
        "callback: statements",
        "page: statements of the button",
        "page: decryptions",
        "page: reads the key (1: yes)",
        "session: bytes added",
    }


def test_every_way_stores_and_rotates(report):
    """Keys are stored, shown and re-encrypted in each way that is compared."""
    for title, ways in (
        ("One key", ["ours", "hand-written", "bare"]),
        ("Admin list of 100 keys", ["ours", "decrypting"]),
        ("Re-encrypting stored keys", ["ours", "bulk_update()", "our model", "bare loop"]),
    ):
        for figure in report[title]["figures"]:
            assert list(figure["versions"]) == ways
