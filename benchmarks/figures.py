"""What a part of the benchmarks found: figures of each version, and how the goals fared."""

import textwrap
from collections.abc import Iterable
from dataclasses import dataclass, field
from statistics import median, quantiles
from typing import Any

from .versions import OURS


@dataclass
class Figure:
    """One line of a table.

    Attributes:
        samples: by version, what was measured; the table shows medians.
    """

    name: str
    samples: dict[str, list[float]]
    unit: str = ""

    def median(self, version: str) -> float:
        """Return the median of a version."""
        return median(self.samples[version])

    def ratio(self, version: str, of: str = OURS.name) -> float | None:
        """Return our median divided by that of another version, where that can be done."""
        if of not in self.samples or not self.median(version):
            return None
        return self.median(of) / self.median(version)

    def as_json(self) -> dict[str, Any]:
        """Return medians, quartiles and ratios."""
        return {
            "figure": self.name,
            "unit": self.unit,
            "versions": {
                name: {
                    "median": self.median(name),
                    "quartiles": quantiles(made, n=4) if len(made) > 1 else made * 3,
                    "samples": len(made),
                    "ours_divided_by_this": self.ratio(name),
                }
                for name, made in self.samples.items()
            },
        }


@dataclass
class Goal:
    """A limit, and what is held against it: all of it has to keep to the limit."""

    text: str
    limit: float
    measured: dict[str, float]
    at_least: bool = False
    unit: str = ""

    @property
    def met(self) -> bool:
        # Rounded as it is shown.
        found = [round(value, 2) for value in self.measured.values()]
        return min(found) >= self.limit if self.at_least else max(found) <= self.limit

    def as_json(self) -> dict[str, Any]:
        """Return all of it."""
        return {
            "goal": self.text,
            "limit": self.limit,
            "limit_is": "at least" if self.at_least else "at most",
            "unit": self.unit,
            "measured": self.measured,
            "met": self.met,
        }


@dataclass
class Part:
    """One part of the benchmarks.

    Attributes:
        load: how many programs wanted a processor, over the minute before its end.
    """

    title: str
    figures: list[Figure] = field(default_factory=list)
    goals: list[Goal] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    seconds: float = 0.0
    load: float = 0.0

    def as_json(self) -> dict[str, Any]:
        """Return all of it."""
        return {
            "part": self.title,
            "figures": [figure.as_json() for figure in self.figures],
            "goals": [goal.as_json() for goal in self.goals],
            "notes": self.notes,
            "seconds": self.seconds,
            "load": self.load,
        }


def ratio_goal(
    text: str, limit: float, figures: Iterable[Figure], version: str, *, at_least: bool = False
) -> Goal | None:
    """Return a goal for our figures divided by those of another version, if that was measured."""
    ratios = {figure.name: figure.ratio(version) for figure in figures if version in figure.samples}
    found = {name: ratio for name, ratio in ratios.items() if ratio is not None}
    return Goal(text, limit, found, at_least=at_least, unit="x") if found else None


def print_part(part: Part) -> None:
    """Print the table of a part: each median and, in brackets, ours divided by it."""
    print(f"\n{part.title}\n{'-' * len(part.title)}")
    columns = list(dict.fromkeys(name for figure in part.figures for name in figure.samples))
    width = max((len(_label(figure)) for figure in part.figures), default=0)
    if columns:
        print(f"{'':<{width}}" + "".join(f"{name:>16}" for name in columns))
    for figure in part.figures:
        cells = "".join(f"{_cell(figure, name):>16}" for name in columns)
        print(f"{_label(figure):<{width}}{cells}".rstrip())
    for note in part.notes:
        print(textwrap.fill(note, 100, break_on_hyphens=False))
    print(f"{part.seconds:.0f} s, load of the machine at the end {part.load:.1f}")


def print_goals(parts: Iterable[Part]) -> None:
    """Print whether the goals of all parts are met."""
    goals = [goal for part in parts for goal in part.goals]
    if not goals:
        return
    print("\nGoals\n-----")
    width = max(len(goal.text) for goal in goals)
    for goal in goals:
        limit = f"{'>=' if goal.at_least else '<='} {_number(goal.limit)} {goal.unit}"
        found = ", ".join(_number(value) for value in goal.measured.values())
        print(f"{'yes' if goal.met else 'NO':<4}{goal.text:<{width}}  {limit:<12}{found}".rstrip())


def _label(figure: Figure) -> str:
    return f"{figure.name}, {figure.unit}" if figure.unit else figure.name


def _cell(figure: Figure, version: str) -> str:
    if version not in figure.samples:
        return ""
    ratio = None if version == OURS.name else figure.ratio(version)
    shown = _number(figure.median(version))
    return shown if ratio is None else f"{shown} ({ratio:.2f})"


def _number(value: float) -> str:
    if value == int(value) or abs(value) >= 1000:
        return f"{value:,.0f}"
    return f"{value:.2f}"
