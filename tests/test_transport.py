"""The reader below ``requests`` that watches the time and the length of an answer."""

import io

import pytest

from django_openrouter_auth import transport
from django_openrouter_auth.transport import MOST_BYTES, AnswerTooLong


class Socket:
    """A socket that remembers how long it shall wait."""

    def __init__(self, patience):
        self.patience = patience

    def gettimeout(self):
        return self.patience

    def settimeout(self, patience):
        self.patience = patience


class Raw(io.BytesIO):
    """What comes in; ``None`` where a socket has nothing yet."""

    def readinto(self, buffer):
        return super().readinto(buffer) if self.getvalue() else None


@pytest.fixture
def read(monkeypatch):
    """Read once, ten seconds after midnight; return how much, and how long the socket may wait."""
    monkeypatch.setattr(transport.time, "monotonic", lambda: 10.0)

    def read(*, until=15.0, patience=None, data=b"data"):
        sock = Socket(patience)
        reader = transport._DeadlineReader(Raw(data), sock, until)
        count = reader.readinto(bytearray(4))
        return count, sock.patience

    return read


@pytest.mark.parametrize(("patience", "left"), [(None, 5.0), (30.0, 5.0), (2.0, 2.0)])
def test_time_that_is_left(read, patience, left):
    """A socket waits until the deadline, or as long as it would by itself if that is shorter."""
    assert read(patience=patience) == (4, left)


@pytest.mark.parametrize("until", [10.0, 9.0])
def test_no_time_left(read, until):
    """At the deadline it is over: a socket that waits for no time at all would not block."""
    with pytest.raises(TimeoutError):
        read(until=until)


def test_nothing_there_yet(read):
    """A socket that has nothing to say does not break the count."""
    assert read(data=b"") == (None, 5.0)


def test_longest(monkeypatch):
    """What is read altogether is bounded, to the byte, in however many pieces it comes."""
    monkeypatch.setattr(transport.time, "monotonic", lambda: 0.0)
    reader = transport._DeadlineReader(io.BytesIO(b"x" * (MOST_BYTES + 1)), Socket(None), 1.0)
    pieces = [reader.readinto(bytearray(MOST_BYTES // 2)) for _ in range(2)]
    assert sum(pieces) == MOST_BYTES
    assert reader.readinto(bytearray()) == 0
    with pytest.raises(AnswerTooLong):
        reader.readinto(bytearray(1))
