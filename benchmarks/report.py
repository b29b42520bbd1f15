"""The table: figures of both versions, their ratio, and whether the goal is met."""

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from statistics import median, quantiles
from typing import Any

from . import flow
from .flow import HANDWRITTEN, OURS, Run
from .measure import Measured

PAGES = (flow.NOT_CONNECTED, flow.CONNECTED)
STARTS = (flow.FIRST_START, flow.LATER_START)
CALLBACKS = (flow.FIRST_CALLBACK, flow.LATER_CALLBACK)
GOAL_STATEMENTS = dict.fromkeys(STARTS, 4) | dict.fromkeys(CALLBACKS, 6)
GOAL_RATIO = dict.fromkeys(PAGES, 1.0) | dict.fromkeys(STARTS, 1.15) | dict.fromkeys(CALLBACKS, 1.3)
GOAL_HTTPS = 0.3
GOAL_SESSION = 60


@dataclass
class Row:
    """One line of the table; a goal is a limit, for the ratio or for our own figure."""

    figure: str
    ours: float
    handwritten: float | None = None
    goal_ratio: float | None = None
    goal: float | None = None
    unit: str = ""

    @property
    def ratio(self) -> float | None:
        return round(self.ours / self.handwritten, 2) if self.handwritten else None

    @property
    def met(self) -> bool | None:
        if self.goal is not None:
            return self.ours <= self.goal
        if self.goal_ratio is None or self.ratio is None:
            return None
        return self.ratio <= self.goal_ratio


def rows(measured: Measured) -> list[Row]:
    """Return the lines of the table."""
    return [
        *_counts(measured),
        *_times(measured.http, "wall", (flow.PLAIN, *PAGES, *STARTS, *CALLBACKS), GOAL_RATIO),
        *_times(measured.http, "cpu", (flow.PLAIN, *PAGES, *STARTS, *CALLBACKS), GOAL_RATIO),
        *_times(measured.https, "wall", CALLBACKS, dict.fromkeys(CALLBACKS, GOAL_HTTPS), "HTTPS "),
        *_times(measured.https, "cpu", CALLBACKS, dict.fromkeys(CALLBACKS, GOAL_HTTPS), "HTTPS "),
    ]


def _counts(measured: Measured) -> Iterable[Row]:
    ours = measured.counted[OURS.name].observations
    theirs = measured.counted[HANDWRITTEN.name].observations
    without = len(ours[flow.PLAIN].statements)
    for step in (*STARTS, *CALLBACKS):
        numbers = len(ours[step].statements), len(theirs[step].statements)
        yield Row(f"{step}: statements", *numbers, goal=GOAL_STATEMENTS[step])
    for step in (*STARTS, *CALLBACKS):
        yield Row(f"{step}: commits", ours[step].commits, theirs[step].commits)
    for step in PAGES:
        numbers = len(ours[step].statements) - without, len(theirs[step].statements) - without
        yield Row(f"{step}: statements of the button", *numbers, goal=1)
    for step in PAGES:
        yield Row(f"{step}: decryptions", ours[step].decryptions, theirs[step].decryptions, goal=0)
        read = int(ours[step].reads_ciphertext), int(theirs[step].reads_ciphertext)
        yield Row(f"{step}: ciphertext read (0: no, 1: yes)", *read, goal=0)
    yield Row("session: bytes added, as JSON", measured.session_bytes, goal=GOAL_SESSION)


def _times(
    runs: dict[str, list[Run]],
    clock: str,
    steps: Iterable[str],
    goals: dict[str, float],
    prefix: str = "",
) -> Iterable[Row]:
    for step in steps:
        ours, theirs = (
            median(_milliseconds(runs[one.name], step, clock)) for one in (OURS, HANDWRITTEN)
        )
        name = f"{prefix}{step}: {clock}"
        yield Row(name, ours, theirs, goal_ratio=goals.get(step), unit="ms")


def _milliseconds(runs: list[Run], step: str, clock: str) -> list[float]:
    return [getattr(run.timings[step], clock) * 1000 for run in runs]


def print_report(measured: Measured) -> None:
    """Print the table, what it was measured on, and what was taken away."""
    print(f"{'figure':<49}{'ours':>9}{'hand-written':>14}{'ratio':>7}{'goal':>9}  met")
    for row in rows(measured):
        print(
            f"{row.figure:<49}{_shown(row.ours, row.unit):>9}"
            f"{_shown(row.handwritten, row.unit):>14}{_plain(row.ratio):>7}{_goal(row):>9}"
            f"  {'' if row.met is None else 'yes' if row.met else 'NO'}".rstrip()
        )
    print()
    print("wall: median milliseconds by the clock, without the provider's processor time")
    print("cpu: median milliseconds of processor time of the site's own process")
    print("A goal is held against both; they differ by waiting: for the database, the disk, the")
    print("network and, on a busy machine, for other programs.")
    print("statements: without BEGIN, COMMIT and SAVEPOINT")
    for name, runs in (("HTTP", measured.http), ("HTTPS", measured.https)):
        print(f"{name}: {len(runs[OURS.name])} runs of each version; {_taken_away(runs)}")
    print(f"load of the machine (other programs make wall longer): {measured.load:.1f}")
    first = ", ".join(f"{name} {_shown(cold, 'ms')}" for name, cold in measured.cold.items())
    print(f"first callback over HTTPS in the process: {first}")
    print(", ".join(f"{name} {found}" for name, found in measured.versions.items()))


def _taken_away(runs: dict[str, list[Run]]) -> str:
    parts = []
    for name, made in runs.items():
        seconds, requests = zip(
            *(one for run in made for one in run.provider.values()), strict=True
        )
        each = median(seconds) * 1000
        parts.append(f"{name} {_shown(each, 'ms')} in {max(requests)} request(s)")
    return f"taken away from each callback: {', '.join(parts)}"


def _shown(figure: float | None, unit: str) -> str:
    if figure is None:
        return ""
    return f"{figure:.2f} {unit}" if unit else f"{figure:g}"


def _plain(ratio: float | None) -> str:
    return "" if ratio is None else f"{ratio:.2f}"


def _goal(row: Row) -> str:
    if row.goal is not None:
        return f"<= {row.goal:g}"
    return "" if row.goal_ratio is None else f"<= {row.goal_ratio:g}x"


def as_json(measured: Measured) -> dict[str, Any]:
    """Return everything that the table is made of, with quartiles."""
    return {
        "versions": measured.versions,
        "load": measured.load,
        "table": [asdict(row) | {"ratio": row.ratio, "met": row.met} for row in rows(measured)],
        "quartiles_ms": {
            f"{scheme} {step} {clock} {name}": _quartiles(_milliseconds(made, step, clock))
            for scheme, runs in (("http", measured.http), ("https", measured.https))
            for name, made in runs.items()
            for step in made[0].timings
            for clock in ("wall", "cpu")
        },
        "first_https_callback_ms": measured.cold,
        "statements": {
            name: {step: seen.statements for step, seen in run.observations.items()}
            for name, run in measured.counted.items()
        },
    }


def _quartiles(figures: list[float]) -> list[float]:
    return quantiles(figures, n=4) if len(figures) > 1 else figures * 3
