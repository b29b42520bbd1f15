"""A disk that is full from each change of a request on, as SQLite meets it."""

import pytest

from .walks import REQUESTS, Walk

pytestmark = pytest.mark.faults


@pytest.mark.parametrize("name", REQUESTS)
def test_full_disk(site_on_sqlite, request, name):
    """Wherever the disk is full, what is told is true, nothing is half done, and all can go on."""
    steps = Walk(site_on_sqlite, name).ask().steps
    changes = [number for number, step in enumerate(steps) if step.startswith(CHANGES)]
    assert changes
    for position in changes:
        walk = Walk(site_on_sqlite, name)
        told = walk.ask(f"fill {position}").told
        place = (position + 1, steps[position])
        walk.end(request.node, "disk", place, "disk full from there on", told)


CHANGES = "insert", "change", "delete"
