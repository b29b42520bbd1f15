"""What a run of mutation testing came to, compared with the list of survivors."""

from collections import Counter
from pathlib import Path

from mutmut.mutation.data import SourceFileMutationData

from . import mutating
from .judging import LEFT, TOO_LONG
from .listed import Survivor, describe

GOAL = 95


def report(files: list[SourceFileMutationData], listed: "Counter[Survivor]") -> int:
    """Print figures and disagreements; return the exit status.

    Args:
        files: the modules that were judged, each as a whole.
        listed: the survivors of all modules that are known.
    """
    print(f"{'module':<34}{'mutants':>9}{'killed':>9}{'per cent':>10}{'of these too long':>19}")
    survivors: Counter[Survivor] = Counter()
    sums: Counter[str] = Counter()
    for data in files:
        verdicts = data.exit_code_by_key
        killed = [verdict for verdict in verdicts.values() if verdict not in (None, *LEFT)]
        found = {"mutants": len(verdicts), "killed": len(killed), "long": killed.count(TOO_LONG)}
        path = Path(data.path)
        _print_figures(path.stem, found)
        sums.update(found)
        survivors.update(
            describe(name, path) for name, verdict in verdicts.items() if verdict in LEFT
        )
    _print_figures("all", sums)
    left_out = sum(mutating.count_prose(Path(data.path)) for data in files)
    print(f"Left out, because they change only the words of a text: {left_out}")
    modules = {Path(data.path).stem for data in files}
    known = Counter(one for one in listed.elements() if one.function.split(".")[0] in modules)
    for survivor in (survivors - known).elements():
        print(f"\nSurvives, and is not listed: {survivor.function}\n{survivor.change}")
    for survivor in (known - survivors).elements():
        print(f"\nListed, and does not survive: {survivor.function}\n{survivor.change}")
    is_reached = sums["killed"] * 100 >= GOAL * sums["mutants"]
    return 0 if is_reached and survivors == known else 1


def _print_figures(name: str, found: dict[str, int]) -> None:
    share = 100 * found["killed"] / max(1, found["mutants"])
    print(f"{name:<34}{found['mutants']:>9}{found['killed']:>9}{share:>10.1f}{found['long']:>19}")
