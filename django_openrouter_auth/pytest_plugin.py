"""Fixtures for the pytest suite of a site, found by the entry point of the same name.

Every run of pytest in an environment with this package loads this module, so it imports nothing
until a fixture is asked for.
"""

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from .testing import LeakScan
    from .testing.provider import OpenRouter


@pytest.fixture
def openrouter() -> Iterator["OpenRouter"]:
    """OpenRouter in place of the network: it hands out keys until it is told otherwise."""
    from .testing import openrouter as open_openrouter

    with open_openrouter() as provider:
        yield provider


@pytest.fixture
def openrouter_leaks(db: None) -> Iterator["LeakScan"]:
    """Fail the test if a key leaked into answers, logs, mail, sessions or SQL statements."""
    from .testing import watch_leaks

    with watch_leaks() as scan:
        yield scan


@pytest.fixture
def openrouter_create_user(db: None) -> Callable[[str], Any]:
    """A function from a name to a new user; override it where a user needs more than a name."""
    from .testing import create_user

    return create_user


@pytest.fixture
def openrouter_connected_user(openrouter_create_user: Callable[[str], Any]) -> Any:
    """A user who connected OpenRouter."""
    from .testing import connect

    user = openrouter_create_user("connected")
    connect(user)
    return user


@pytest.fixture
def openrouter_rejected_user(openrouter_create_user: Callable[[str], Any]) -> Any:
    """A user whose key OpenRouter no longer accepts."""
    from .testing import reject

    user = openrouter_create_user("rejected")
    reject(user)
    return user


@pytest.fixture
def openrouter_unreadable_user(openrouter_create_user: Callable[[str], Any]) -> Any:
    """A user whose key can no longer be decrypted."""
    from .testing import make_unreadable

    user = openrouter_create_user("unreadable")
    make_unreadable(user)
    return user
