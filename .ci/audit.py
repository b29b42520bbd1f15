"""Ask for known weaknesses of what a site gets with the wheel, as its SBOM lists it.

The lowest versions that setup.cfg allows are asked about too, and only reported: a site gets the
newest, and these are there for one that cannot have them yet.
"""

import configparser
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
NAME = "django-openrouter-auth"

# What pip-audit found on a package, or why it could not look.
Finding = dict[str, Any]


class Unreachable(Exception):
    """Nobody answered, so nothing is known."""


def ask(pins: list[str], options: list[str]) -> list[Finding]:
    """Return what the service knows of exact versions.

    Raises:
        Unreachable: the service did not answer, or knows none of the packages.
        LookupError: it answered for some of them only.
        SystemExit: pip-audit failed otherwise.
    """
    # Without pip: it would ask an index what else is needed.
    command = [sys.executable, "-m", "pip_audit", "--disable-pip", "--no-deps", "--format=json"]
    command += ["--progress-spinner=off", *options, "--requirement", "/dev/stdin"]
    done = subprocess.run(
        command, input="\n".join(pins), capture_output=True, text=True, check=False
    )
    if not done.stdout.strip():
        last = done.stderr.strip().rpartition("\n")[2]
        if "ConnectionError" in last or "Could not connect" in last:
            raise Unreachable(last)
        sys.exit(done.stderr)
    found: list[Finding] = json.loads(done.stdout)["dependencies"]
    # pip-audit calls it success when it could not audit anything.
    skipped = [finding["skip_reason"] for finding in found if "skip_reason" in finding]
    if skipped and len(skipped) == len(found):
        raise Unreachable(skipped[0])
    if skipped or len(found) != len(pins):
        raise LookupError("\n".join(skipped) or f"{len(found)} answers for {len(pins)} packages")
    return found


def tell(title: str, found: list[Finding]) -> bool:
    """Print what was found, and return whether it is nothing."""
    weak = [finding for finding in found if finding["vulns"]]
    print(f"{title}: {len(found)} packages, {len(weak)} with known weaknesses")
    for finding in weak:
        for weakness in finding["vulns"]:
            fixed = ", ".join(weakness["fix_versions"]) or "a version that is not named"
            print(f"  {finding['name']} {finding['version']}: {weakness['id']}, mended in {fixed}")
    return not weak


def newest(folder: Path) -> list[str]:
    """Return what a new installation has beside our package."""
    [sbom] = folder.glob("*.cdx.json")
    components = json.loads(sbom.read_text())["components"]
    return [f"{one['name']}=={one['version']}" for one in components if one["name"] != NAME]


def lowest() -> list[str]:
    """Return the lower bounds of our dependencies."""
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg")
    return setup["options"]["install_requires"].replace(">=", "==").split()


def main(folder: Path, options: list[str]) -> None:
    """Audit what the SBOM of a folder lists, and exit with 1 where something is known."""
    try:
        found = ask(newest(folder), options)
    except Unreachable as reason:
        print(f"SKIPPED, nothing is known: {reason}")
        return
    clean = tell("Newest", found)
    try:
        tell("Lowest", ask(lowest(), options))
    except Unreachable as reason:
        print(f"Lowest: SKIPPED, nothing is known: {reason}")
    sys.exit(not clean)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
