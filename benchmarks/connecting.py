"""Connecting, step by step, all versions in turn: over HTTP and over HTTPS."""

import os
from collections.abc import Callable, Iterable
from pathlib import Path
from statistics import median
from typing import Any

from . import flow, provider
from .figures import Figure, Goal, Part, ratio_goal
from .flow import Journey, Run
from .versions import ALLAUTH, HANDWRITTEN, OURS, SOCIAL, Version

WARM_UPS = 5
PAGES = (flow.NOT_CONNECTED, flow.CONNECTED)
STARTS = (flow.FIRST_START, flow.LATER_START)
CALLBACKS = (flow.FIRST_CALLBACK, flow.LATER_CALLBACK)
STEPS = (flow.PLAIN, *PAGES, *STARTS, *CALLBACKS)
HTTPS_GOAL = 0.25
Runs = dict[str, list[Run]]


def measure_http(
    application: Callable[..., Any], versions: tuple[Version, ...], runs: int
) -> list[Part]:
    """Measure all steps over HTTP, and count what each does."""
    with provider.running() as standin:
        flow.use_provider(standin.api_url)
        counted = {
            one.name: Journey(application, one, observe=True).make(standin) for one in versions
        }
        _in_turn(application, standin, versions, WARM_UPS)
        made = _in_turn(application, standin, versions, runs)
    return [_counts(counted), _times(made)]


def measure_https(
    application: Callable[..., Any], versions: tuple[Version, ...], runs: int, folder: Path
) -> list[Part]:
    """Measure callbacks that reach the provider over HTTPS."""
    certificate, bundle = provider.make_certificate(folder)
    os.environ["REQUESTS_CA_BUNDLE"] = str(bundle)
    with provider.running(certificate) as standin:
        flow.use_provider(standin.api_url)
        warm = _in_turn(application, standin, versions, WARM_UPS)
        made = _in_turn(application, standin, versions, runs)
    figures = _figures(made, CALLBACKS)
    cold = ", ".join(
        f"{name} {first[0].timings[flow.FIRST_CALLBACK].wall * 1000:.1f} ms"
        for name, first in warm.items()
    )
    return [
        Part(
            "Callback, the provider over HTTPS",
            figures,
            _goals(
                ratio_goal(f"HTTPS callback: of {one.name}", HTTPS_GOAL, figures, one.name)
                for one in (HANDWRITTEN, ALLAUTH, SOCIAL)
            ),
            [_taken_away(made), f"very first callback of the process: {cold}"],
        )
    ]


def _in_turn(
    application: Callable[..., Any],
    standin: provider.Provider,
    versions: tuple[Version, ...],
    runs: int,
) -> Runs:
    """Run all versions in turn, each as often at each place: the machine is not always as fast."""
    made: Runs = {one.name: [] for one in versions}
    for number in range(runs):
        first = number % len(versions)
        for one in versions[first:] + versions[:first]:
            made[one.name].append(Journey(application, one).make(standin))
    return made


def _statements(run: Run, step: str) -> int:
    return len(run.observations[step].statements)


def _of_the_button(run: Run, step: str) -> int:
    """Return how many statements a page makes beyond those of a page without a button."""
    return _statements(run, step) - _statements(run, flow.PLAIN)


def _commits(run: Run, step: str) -> int:
    return run.observations[step].commits


def _decryptions(run: Run, step: str) -> int:
    return run.observations[step].decryptions


def _reads_key(run: Run, step: str) -> int:
    return int(run.observations[step].reads_key)


COUNTS: tuple[tuple[str, Callable[[Run, str], int], tuple[str, ...], int | None], ...] = (
    ("statements", _statements, STARTS, 4),
    ("statements", _statements, CALLBACKS, 6),
    ("commits", _commits, (*STARTS, *CALLBACKS), None),
    ("statements of the button", _of_the_button, PAGES, 1),
    ("decryptions", _decryptions, PAGES, 0),
    ("reads the key (1: yes)", _reads_key, PAGES, 0),
)


def _counts(counted: dict[str, Run]) -> Part:
    part = Part(
        "Connecting: what is done", notes=["statements: without BEGIN, COMMIT and SAVEPOINT"]
    )
    for what, count, steps, limit in COUNTS:
        figures = [
            Figure(f"{step}: {what}", {name: [count(run, step)] for name, run in counted.items()})
            for step in steps
        ]
        part.figures += figures
        if limit is not None and OURS.name in counted:
            measured = {figure.name: figure.median(OURS.name) for figure in figures}
            part.goals.append(Goal(f"{_kind(steps)}: {what}", limit, measured))
    return part


def _kind(steps: tuple[str, ...]) -> str:
    """Return what steps have in common: start, callback or page."""
    return steps[0].partition(",")[0]


def _times(made: Runs) -> Part:
    figures = _figures(made, STEPS)
    part = Part("Connecting: time", figures, notes=[_taken_away(made)])
    limits = {HANDWRITTEN.name: {PAGES: 1.0, STARTS: 1.15, CALLBACKS: 1.3}}
    limits |= {one.name: dict.fromkeys((STARTS, CALLBACKS), 0.6) for one in (ALLAUTH, SOCIAL)}
    for version, by_steps in limits.items():
        for steps, limit in by_steps.items():
            held = [figure for figure in figures if figure.name.startswith(steps)]
            goal = ratio_goal(f"{_kind(steps)}: of {version}", limit, held, version)
            part.goals += [goal] if goal else []
            if version in made and version != HANDWRITTEN.name and HANDWRITTEN.name in made:
                floor = ", ".join(f"{one.ratio(version, HANDWRITTEN.name):.2f}" for one in held)
                part.notes.append(f"hand-written divided by {version}, {_kind(steps)}: {floor}")
    return part


def _goals(found: Iterable[Goal | None]) -> list[Goal]:
    return [goal for goal in found if goal is not None]


def _figures(made: Runs, steps: Iterable[str]) -> list[Figure]:
    """Return wall and processor time of steps; a goal is held against both."""
    return [
        Figure(
            f"{step}: {clock}",
            {
                version: [getattr(run.timings[step], clock) * 1000 for run in runs]
                for version, runs in made.items()
            },
            "ms",
        )
        for clock in ("wall", "cpu")
        for step in steps
    ]


def _taken_away(made: Runs) -> str:
    parts = []
    for name, runs in made.items():
        seconds, requests = zip(
            *(one for run in runs for one in run.provider.values()), strict=True
        )
        parts.append(f"{name} {median(seconds) * 1000:.2f} ms in {max(requests)}")
    number = len(next(iter(made.values())))
    return (
        f"{number} runs of each version; taken away from each callback for the provider's"
        f" requests: {', '.join(parts)}"
    )
