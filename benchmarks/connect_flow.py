"""Measure connecting, beside a hand-written two-view version.

    python benchmarks/connect_flow.py [--runs N] [--database-url URL] [--json FILE]

See ``benchmarks/README.rst`` for what is measured and how. The exit status is 0 whether or not
the goals are met, and 1 when something could not be measured.
"""

import argparse
import json
import os
import sys
import tempfile
from pathlib import Path

import django
from django.core.wsgi import get_wsgi_application

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from django.test.utils import setup_databases, teardown_databases

from benchmarks.flow import UnexpectedAnswerError
from benchmarks.measure import measure
from benchmarks.report import as_json, print_report

PROXIES = ("http_proxy", "https_proxy", "all_proxy", "no_proxy")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--runs", type=int, default=150, help="runs over HTTP (default: 150)")
    parser.add_argument("--tls-runs", type=int, default=40, help="runs over HTTPS (default: 40)")
    parser.add_argument(
        "--database-url",
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
    if min(arguments.runs, arguments.tls_runs) < 1:
        parser.error("at least one run is needed")
    return arguments


def _prepare_environment(database_url: str | None, folder: Path, *, flush: bool) -> None:
    for name in PROXIES:
        os.environ.pop(name, None)
        os.environ.pop(name.upper(), None)
    # For both versions: no file of this machine's user takes part.
    os.environ["NETRC"] = os.devnull
    os.environ["DATABASE_URL"] = database_url or f"sqlite:///{folder / 'benchmark.sqlite3'}"
    os.environ["BENCHMARK_FLUSH"] = "1" if flush else ""
    os.environ["DJANGO_SETTINGS_MODULE"] = "benchmarks.settings"


def main() -> int:
    """Measure, print and return the exit status."""
    arguments = _arguments()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        _prepare_environment(arguments.database_url, folder, flush=arguments.flush)
        django.setup()
        # A database of its own, also on a server that holds other people's.
        databases = setup_databases(verbosity=0, interactive=False)
        try:
            figures = measure(
                get_wsgi_application(),
                folder,
                runs=arguments.runs,
                tls_runs=arguments.tls_runs,
            )
        except (UnexpectedAnswerError, TimeoutError) as error:
            print(f"Could not measure: {error}", file=sys.stderr)
            return 1
        finally:
            teardown_databases(databases, verbosity=0)
    print_report(figures)
    if arguments.json:
        arguments.json.write_text(json.dumps(as_json(figures), indent=2) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
