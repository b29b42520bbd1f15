"""How large the wheel is."""

import shutil
import subprocess
import sys
from pathlib import Path

from .figures import Figure, Goal, Part
from .versions import OURS

ROOT = Path(__file__).resolve().parent.parent
GOAL = 300


def measure(folder: Path) -> list[Part]:
    """Build the wheel and return its size; a copy is built, as building leaves files behind."""
    source, built = folder / "source", folder / "wheel"
    leftovers = shutil.ignore_patterns(
        ".*_cache", ".git", ".tox", ".venv*", "__pycache__", "build", "dist", "*.egg-info", "local"
    )
    shutil.copytree(ROOT, source, ignore=leftovers)
    subprocess.run(
        [sys.executable, "-m", "build", "--wheel", "--outdir", str(built), str(source)],
        check=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    [wheel] = built.glob("*.whl")
    size = wheel.stat().st_size / 1024
    figure = Figure("wheel", {OURS.name: [size]}, "KiB")
    return [Part("Wheel", [figure], [Goal("wheel: KiB", GOAL, {"size": size})])]
