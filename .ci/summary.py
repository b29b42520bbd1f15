"""Add up the test results of all tox environments: one line an environment, and a last line."""

import sys
from pathlib import Path
from xml.etree import ElementTree as ET


def count(report: Path) -> tuple[int, int, int]:
    """Return how many tests of a JUnit report passed, failed and were skipped."""
    suites = list(ET.parse(report).iter("testsuite"))  # noqa: S314 - pytest wrote it just now
    total, failures, errors, skipped = (
        sum(int(suite.get(name, 0)) for suite in suites)
        for name in ("tests", "failures", "errors", "skipped")
    )
    return total - failures - errors - skipped, failures + errors, skipped


def line(counts: tuple[int, ...]) -> str:
    """Return the counts in words."""
    return "{} passed, {} failed, {} skipped".format(*counts)


results = {report.stem: count(report) for report in sorted(Path(sys.argv[1]).glob("*.xml"))}
for environment, counts in results.items():
    print(f"{environment}: {line(counts)}")
print(line(tuple(sum(counts[index] for counts in results.values()) for index in range(3))))
