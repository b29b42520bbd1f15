"""Measure this package beside other ways to do the same.

    python benchmarks/run.py [PART ...] [--database-url URL] [--json FILE]

See ``benchmarks/README.rst`` for what is measured and how. The exit status is 0 whether or not
the goals are met, and 1 when something could not be measured.
"""

import argparse
import json
import os
import subprocess
import sys
import textwrap
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks import environment
from benchmarks.figures import Part, print_goals, print_part
from benchmarks.versions import ALL

NAMES = (
    *("flow", "https", "gunicorn", "session", "storage", "admin", "setup", "wheel"),
    *("rotation", "memory"),
)
NUMBERS = {
    "runs": (100, "of each version over HTTP"),
    "tls_runs": (30, "of each version over HTTPS"),
    "rounds": (6, "of each version under gunicorn"),
    "callbacks": (100, "in a round"),
    "keys": (300, "stored and read in each way"),
    "pages": (25, "of each list in the admin"),
    "processes": (11, "in which Django is set up with each version"),
    "rotated": (50_000, "rows of each pass of rotation"),
    "passes": (3, "of each way of rotation"),
    "rows": (1_000_000, "for the memory of rotation"),
}


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument(
        "parts", nargs="*", metavar="PART", help=f"of {', '.join(NAMES)}; all where none is given"
    )
    parser.add_argument(
        "--versions",
        nargs="+",
        choices=[one.name for one in ALL],
        default=[one.name for one in ALL],
        help="to connect with; all where none is given",
    )
    for name, (default, meaning) in NUMBERS.items():
        option = f"--{name.replace('_', '-')}"
        parser.add_argument(
            option, type=int, default=default, metavar="N", help=f"{meaning} ({default:,})"
        )
    parser.add_argument(
        "--database-url",
        metavar="URL",
        default=os.environ.get("DATABASE_URL"),
        help="as DATABASE_URL, its default; SQLite in a temporary file where neither is given",
    )
    parser.add_argument(
        "--flush",
        action="store_true",
        help="let SQLite wait for the disk at every commit, as it does by default",
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all figures there, too")
    arguments = parser.parse_args()
    if unknown := set(arguments.parts) - set(NAMES):
        parser.error(f"no such part: {', '.join(unknown)}")
    if min(getattr(arguments, name) for name in NUMBERS) < 1:
        parser.error("every number is at least 1")
    arguments.versions = tuple(one for one in ALL if one.name in arguments.versions)
    return arguments


def _measure(arguments: argparse.Namespace) -> tuple[list[Part], dict[str, str]]:
    """Run the parts, and print each as soon as it is done."""
    done: list[Part] = []
    with environment.prepared(arguments.database_url, flush=arguments.flush) as folder:
        from benchmarks.parts import PARTS  # noqa: PLC0415 - it imports models

        for name in NAMES:
            if name in (arguments.parts or NAMES):
                began = time.monotonic()
                found = PARTS[name](arguments, folder)
                for part in found:
                    part.seconds = (time.monotonic() - began) / len(found)
                    part.load = os.getloadavg()[0]
                    print_part(part)
                done += found
        return done, environment.versions()


def main() -> int:
    """Measure, print and return the exit status."""
    arguments = _arguments()
    try:
        parts, versions = _measure(arguments)
    except (
        environment.UnexpectedAnswerError,
        TimeoutError,
        subprocess.CalledProcessError,
    ) as error:
        print(f"Could not measure: {error}", file=sys.stderr)
        return 1
    print_goals(parts)
    on = ", ".join(f"{name} {found}" for name, found in versions.items())
    print(f"\n{textwrap.fill(on, 100, break_on_hyphens=False)}")
    if arguments.json:
        found = {"versions": versions, "parts": [part.as_json() for part in parts]}
        arguments.json.parent.mkdir(parents=True, exist_ok=True)
        arguments.json.write_text(json.dumps(found, indent=2) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
