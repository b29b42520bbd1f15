"""Mutation testing of the modules that ``[tool.mutmut]`` in pyproject.toml names.

``make mutants`` judges all of them. While you work: ``python tests/mutation/run.py --again MODULE``
judges what survived so far or was edited since, of the modules that you name.
"""

import argparse
import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
NEEDED = (
    *("django_openrouter_auth", "tests", "docs", "example_project"),
    *("README.rst", "CHANGELOG.rst", "Makefile", "tox.ini", "setup.cfg", "pyproject.toml"),
)

if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))

import pytest  # noqa: E402 - after the path to `tests`
from mutmut import __main__ as mutmut  # noqa: E402
from mutmut.configuration import config, reset_config  # noqa: E402
from mutmut.mutation.trampoline import set_mutant_under_test  # noqa: E402
from mutmut.utils import file_utils  # noqa: E402

from tests.mutation import judging, listed, mutating, report  # noqa: E402


def main() -> int:
    """Judge mutants in a copy of the tree; return 0 where all is as listed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("modules", nargs="*", help="default: all")
    parser.add_argument("--again", action="store_true", help="keep the verdicts of the last run")
    parser.add_argument("--folder", type=Path, default=ROOT / "build" / "mutation")
    parser.add_argument("--patience", type=float, default=60, help="seconds of tests for a mutant")
    options = parser.parse_args()
    if not options.again:
        shutil.rmtree(options.folder, ignore_errors=True)
    copy(options.folder)
    os.chdir(options.folder)
    reset_config()
    make_mutants()
    known = listed.read_list()
    judge = judging.Judge(options.folder, options.modules, options.patience, known)
    os.chdir("mutants")
    arguments = ["--rootdir=.", "tests", *config().pytest_add_cli_args]
    status = pytest.main(arguments, plugins=[judge])
    if status:
        return int(status)
    judge.judge_anew(arguments)
    os.chdir(options.folder)
    return report.report(judge.files, known)


def copy(folder: Path) -> None:
    """Copy the tree; what did not change keeps its time, and so its verdicts."""
    folder.mkdir(parents=True, exist_ok=True)
    # mutmut adds files to its own copy of the tests, and removes none.
    shutil.rmtree(folder / "mutants" / "tests", ignore_errors=True)
    for name in NEEDED:
        shutil.rmtree(folder / name, ignore_errors=True)
        subprocess.run(["cp", "-Rp", ROOT / name, folder], check=True)


def make_mutants() -> None:
    """Write the mutants into the folder ``mutants``, and make sure that nothing else is loaded."""
    mutating.patch()
    set_mutant_under_test("mutant_generation")
    Path("mutants").mkdir(exist_ok=True)
    with mutmut.CatchOutput():
        file_utils.copy_src_dir()
        file_utils.copy_also_copy_files()
        file_utils.setup_source_paths()
        mutmut.create_mutants(judging.AT_ONCE)
    # As mutmut does it: a test finds its functions by this name.
    os.environ["MUTMUT_DEPENDENCY_DEPTH"] = "-1"
    set_mutant_under_test("stats")
    sys.path.remove(str(ROOT))
    for name in [*sys.modules]:
        if name == "tests" or name.startswith("tests."):
            del sys.modules[name]


if __name__ == "__main__":
    sys.exit(main())
