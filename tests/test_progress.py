"""Progress of a command: a bar on a terminal, a line now and then elsewhere, or nothing."""

import io
import sys

import pytest

from django_openrouter_auth.management import progress
from django_openrouter_auth.management.progress import INTERVAL, Progress


class Terminal(io.StringIO):
    """A stream that is a terminal."""

    def isatty(self):
        return True


class Broken(io.StringIO):
    """A stream whose reader has gone."""

    def write(self, text):
        raise BrokenPipeError


@pytest.fixture
def clock(monkeypatch):
    """The time of a clock that stands still until it is set: ``clock.now += 1``."""

    class Clock:
        now = 1000.0

        def monotonic(self):
            return self.now

    clock = Clock()
    monkeypatch.setattr(progress, "time", clock)
    return clock


@pytest.fixture
def without_tqdm(monkeypatch):
    """The optional extra is not installed."""
    monkeypatch.setitem(sys.modules, "tqdm", None)


def test_bar_on_a_terminal():
    """On a terminal, tqdm draws a bar over and over, up to the end."""
    stream = Terminal()
    with Progress(4, stream=stream) as shown:
        for _ in range(4):
            shown.advance()
    assert "\r" in stream.getvalue()
    assert "4/4" in stream.getvalue()
    assert " keys/s" in stream.getvalue()
    assert stream.getvalue().endswith("\n")


def test_bar_ends_with_an_exception():
    """A bar is finished when its work fails, so that what is printed next has a line of its own."""
    stream = Terminal()

    def work():
        with Progress(4, stream=stream) as shown:
            shown.advance(2)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        work()
    assert "2/4" in stream.getvalue()
    assert stream.getvalue().endswith("\n")


def test_nothing_is_animated_without_a_terminal(clock):
    """In a log there are whole lines, one in each interval and none before the first."""
    stream = io.StringIO()
    with Progress(5000, stream=stream) as shown:
        shown.advance(1000)
        assert stream.getvalue() == ""
        clock.now += INTERVAL
        shown.advance(1000)
        shown.advance(1000)
        clock.now += INTERVAL - 1
        shown.advance(1000)
        assert stream.getvalue() == "2,000 of 5,000 keys\n"
        clock.now += 1
        shown.advance(1000)
    assert stream.getvalue() == "2,000 of 5,000 keys\n5,000 of 5,000 keys\n"


def test_counts_on_a_terminal_without_tqdm(clock, without_tqdm):
    """Without the optional extra, a terminal gets the same plain counts."""
    stream = Terminal()
    with Progress(2, unit="rows", stream=stream) as shown:
        clock.now += INTERVAL
        shown.advance()
    assert stream.getvalue() == "1 of 2 rows\n"


@pytest.mark.parametrize("make_stream", [Terminal, io.StringIO])
def test_silence(clock, make_stream):
    """With verbosity 0 nothing is shown anywhere; steps are counted all the same."""
    stream = make_stream()
    with Progress(2, verbosity=0, stream=stream) as shown:
        clock.now += INTERVAL
        shown.advance(2)
    assert stream.getvalue() == ""
    assert shown.done == 2


def test_stderr_is_where_it_goes(clock, capsys):
    """Without a stream, progress goes to stderr, away from what the command prints."""
    with Progress(1) as shown:
        clock.now += INTERVAL
        shown.advance()
    assert capsys.readouterr() == ("", "1 of 1 keys\n")


def test_no_stderr_at_all(clock, monkeypatch):
    """Where the shell closed stderr, progress is silent."""
    monkeypatch.setattr(sys, "stderr", None)
    with Progress(1) as shown:
        clock.now += INTERVAL
        shown.advance()
    assert shown.done == 1


def test_reader_has_gone(clock):
    """Work goes on when nobody reads its progress any more."""
    with Progress(1, stream=Broken()) as shown:
        clock.now += INTERVAL
        shown.advance()
    assert shown.done == 1
