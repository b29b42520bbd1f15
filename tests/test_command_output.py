"""What the commands share: printing, whether or not anybody reads it."""

import io
import os
import sys
from pathlib import Path

import pytest

from django_openrouter_auth.management.base import OpenRouterCommand


@pytest.fixture
def unread():
    """A stream into a pipe whose reader has gone."""
    reader, writer = os.pipe()
    os.close(reader)
    with open(writer, "w") as stream:  # noqa: PTH123 - a descriptor has no path
        yield stream


def test_lines_are_printed_at_once(capsys):
    """Each line of a report is a line of stdout."""
    OpenRouterCommand().report("one", "two")
    assert capsys.readouterr() == ("one\ntwo\n", "")


def test_reader_has_gone(unread):
    """MC 231: a report that nobody reads is dropped, and so is what Python flushes at its end."""
    command = OpenRouterCommand(stdout=unread)
    command.report("one")
    command.report("two")
    unread.write("three")
    unread.flush()
    assert os.fstat(unread.fileno()).st_rdev == Path(os.devnull).stat().st_rdev


def test_no_streams_at_all(monkeypatch):
    """MC 231: where the shell closed stdout and stderr, a command prints to nobody."""
    monkeypatch.setattr(sys, "stdout", None)
    monkeypatch.setattr(sys, "stderr", None)
    command = OpenRouterCommand()
    command.report("one")
    command.stderr.write("two")
    assert isinstance(command.stdout._out, io.StringIO)
