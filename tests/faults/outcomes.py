"""What came of a fault: seen by a test, kept in its report, put into the docs by tables.py."""

import html
import json
import re
from dataclasses import asdict, dataclass
from typing import Any

import pytest
from django.contrib.messages import get_messages

from django_openrouter_auth import exceptions
from django_openrouter_auth.answers import LEFTOVER

LEFT_OVER = "left-over key"
MESSAGES = {
    str(item.message): name
    for name, item in vars(exceptions).items()
    if isinstance(item, type)
    and issubclass(item, exceptions.OpenRouterAuthError)
    and "message" in vars(item)
}
GOOD = {
    "OpenRouter is connected. This return from it was used before.": "connected before",
    "OpenRouter is connected.": "connected",
    "OpenRouter is disconnected": "disconnected",
    "OpenRouter was not connected": "nothing to disconnect",
    "OpenRouter accepts your key.": "checked",
}


@dataclass(frozen=True)
class Told:
    """What a person was told.

    Attributes:
        what: the exception whose words they were, or what went well, in words.
        left_over: whether it said that a key may be left over at OpenRouter.
    """

    what: str
    left_over: bool = False

    def __str__(self) -> str:
        shown = f"``{self.what}``" if self.what in MESSAGES.values() else self.what
        return f"{shown}, {LEFT_OVER}" if self.left_over else shown

    @property
    def is_connected(self) -> bool:
        return self.what.startswith("connected")


def told(text: str) -> Told:
    """Return what the text of a message says.

    Raises:
        AssertionError: it is none of ours.
    """
    plain = html.unescape(text)
    for start, what in (*MESSAGES.items(), *GOOD.items()):
        if plain.startswith(start):
            return Told(what, str(LEFTOVER) in plain)
    raise AssertionError(text)


def told_by(response: Any) -> Told:
    """Return what the one message of an answer of the test client says."""
    (message,) = get_messages(response.wsgi_request)
    return told(str(message))


@dataclass(frozen=True)
class Case:
    """One fault and what came of it; a row of a table, or a part of one.

    Attributes:
        table: which table it belongs to.
        request: what the user was doing.
        place: where it broke: the number of a step, if it was one, and its name.
        fault: what broke.
        told: what the user was told.
        stored: what is stored afterwards.
        exchanges: how often a code was sent to OpenRouter.
        again: what the same request led to when it was made again.
    """

    table: str
    request: str
    place: tuple[int | None, str]
    fault: str
    told: str
    stored: str
    exchanges: int
    again: str

    def record(self, test: pytest.Item) -> None:
        """Keep this in the report of a test."""
        test.user_properties.append(("fault", json.dumps(asdict(self))))


CASES = re.compile(r"(?:PM )?(\d[^:]*): (.*)", re.DOTALL)


def record_answer(test: Any, response: Any) -> None:
    """Keep what was told after an answer of OpenRouter's in the report of a test.

    Args:
        test: its docstring begins with the numbers of the cases that it plays.
        response: the answer of the test client, with one message.
    """
    match = CASES.fullmatch(test.function.__doc__.strip())
    assert match, test
    numbers, promise = match.groups()
    promise = " ".join(promise.partition("\n\n")[0].split())
    seen = {"cases": numbers.replace("PM ", ""), "promise": promise, "told": str(told_by(response))}
    test.user_properties.append(("answer", json.dumps(seen)))
