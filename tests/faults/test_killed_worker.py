"""A worker that is killed at every step of a request, and what is true when the next one is up."""

import os
import signal

import pytest

from tests.standin import EXCHANGE, STATUS

from .visitor import NO_ANSWER
from .walks import REQUESTS, Walk

pytestmark = pytest.mark.faults


@pytest.mark.parametrize("name", REQUESTS)
def test_killed_at_every_step(site, request, name):
    """Wherever a worker dies, nothing is half done, no code is sent twice, and all can go on."""
    steps = (*Walk(site, name).ask().steps, "answer")
    assert steps[:2] == ("read session", "read user")
    for position, step in enumerate(steps):
        walk = Walk(site, name)
        told = walk.ask(f"kill {position}").told
        assert told == NO_ANSWER
        walk.end(request.node, "worker", (position + 1, step), "killed before it", told)


@pytest.mark.parametrize("path", [EXCHANGE, STATUS])
def test_killed_while_openrouter_answers(site, request, path):
    """A worker that dies while it waits for OpenRouter leaves what the next one can tell."""
    walk = Walk(site, "callback, connected before")
    worker = walk.person.worker

    def kill(wire):
        if path == EXCHANGE:
            site.openrouter.mint()
        os.kill(worker, signal.SIGKILL)
        wire.hang_up()

    site.openrouter.answer(path, kill)
    told = walk.ask().told
    assert told == NO_ANSWER
    place = (None, f"while OpenRouter answers {'POST' if path == EXCHANGE else 'GET'} {path[7:]}")
    walk.end(request.node, "worker", place, "killed", told)
