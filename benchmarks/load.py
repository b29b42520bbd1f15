"""Measure the site under load: how fast, beside a slow provider, and whether anything grows.

    python benchmarks/load.py [speed] [waiting] [soak] [--json FILE]

DATABASE_URL names a PostgreSQL server. gunicorn and a stand-in for OpenRouter are started for the
purpose; gunicorn and psycopg are needed. Linux only, because /proc is read. What is measured, and
how, is in ``benchmarks/README.rst``. The exit status is 0 whether or not something grew, and 1 when
an answer or a record was wrong.
"""

import argparse
import contextlib
import json
import os
import signal
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import django
from django.test.utils import setup_databases, teardown_databases

PARTS = ("speed", "waiting", "soak")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument(
        "parts", nargs="*", metavar="PART", help="speed, waiting, soak (default: all of them)"
    )
    parser.add_argument(
        "--database-url",
        default=os.environ.get("DATABASE_URL"),
        help="of PostgreSQL, as DATABASE_URL, its default",
    )
    parser.add_argument("--users", type=int, default=100_000, help="signed in (default: 100000)")
    parser.add_argument("--clients", type=int, default=16, help="visitors at a time (default: 16)")
    parser.add_argument("--threads", type=int, default=8, help="of each worker (default: 8)")
    parser.add_argument(
        "--seconds", type=float, default=10, help="of each measurement of speed (default: 10)"
    )
    parser.add_argument(
        "--callbacks", type=int, default=100_000, help="of the soak (default: 100000)"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all figures there, too")
    arguments = parser.parse_args()
    if not set(arguments.parts) <= set(PARTS):
        parser.error(f"the parts are {', '.join(PARTS)}")
    if not (arguments.database_url or "").startswith("postgres"):
        parser.error("a PostgreSQL server is needed")
    if min(arguments.clients, arguments.threads, arguments.seconds, arguments.callbacks) <= 0:
        parser.error("at least one of everything is needed")
    if arguments.users < 1000:
        parser.error("at least a thousand users are needed")
    return arguments


@contextlib.contextmanager
def _database() -> Iterator[None]:
    # One of its own, also on a server that holds other people's.
    made = setup_databases(verbosity=0, interactive=False)
    try:
        yield
    finally:
        teardown_databases(made, verbosity=0)


def main() -> int:
    """Measure, print and return the exit status."""
    arguments = _arguments()
    os.environ |= {
        "BENCHMARK_API_URL": "",
        "DATABASE_URL": arguments.database_url,
        "DJANGO_SETTINGS_MODULE": "benchmarks.under_load.settings",
    }
    django.setup()
    from benchmarks.under_load.parts import measure  # noqa: PLC0415 - it imports models
    from benchmarks.under_load.visitors import TooManyWrongError  # noqa: PLC0415 - beside it

    # Told to stop, stop gunicorn, too: `finally` runs on SystemExit, not on a signal.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    found = {}
    for part in arguments.parts or PARTS:
        with _database(), tempfile.TemporaryDirectory() as folder:
            try:
                found[part] = measure(part, arguments, Path(folder))
            except (TooManyWrongError, TimeoutError) as error:
                print(f"Could not measure: {error}", file=sys.stderr)
                return 1
    if arguments.json:
        arguments.json.write_text(json.dumps(found, indent=2) + "\n")
    return int(any(one["wrong"] for one in found.values()))


if __name__ == "__main__":
    sys.exit(main())
