"""What attempts that nobody finishes leave behind in a session."""

import json
from collections.abc import Callable
from typing import Any

from .figures import Figure, Goal, Part
from .flow import Journey
from .versions import OURS, Version

STARTS = (1, 5, 50)
GOAL = 60


def measure(application: Callable[..., Any], versions: tuple[Version, ...]) -> list[Part]:
    """Start attempts and never return; return by how many bytes the sessions grew."""
    grown = {
        starts: {one.name: [_growth(application, one, starts)] for one in versions}
        for starts in STARTS
    }
    figures = [
        Figure(f"after {starts} abandoned start{'s' * (starts > 1)}, as JSON", found, "bytes")
        for starts, found in grown.items()
    ]
    goals = []
    if OURS in versions:
        measured = {figure.name: figure.median(OURS.name) for figure in figures}
        goals.append(Goal("session: bytes added", GOAL, measured))
    return [Part("Session", figures, goals)]


def _growth(application: Callable[..., Any], version: Version, starts: int) -> int:
    journey = Journey(application, version)
    before = _size(journey)
    for _ in range(starts):
        journey.start()
    return _size(journey) - before


def _size(journey: Journey) -> int:
    """Return the size of a session as JSON: before compression and signature."""
    return len(json.dumps(journey.browser.session(), separators=(",", ":")))
