"""The search for planted secrets, at its strictest: frames of logged exceptions included."""

from collections.abc import Iterator

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from django_openrouter_auth.testing import LeakScan
from django_openrouter_auth.testing.capture import ErrorMail

__all__ = ["ErrorMail", "LeakScan"]  # and the fixtures below


@pytest.fixture
def leaks() -> Iterator[LeakScan]:
    """A search that hears every logger at DEBUG; the test fails if anything was found."""
    scan = LeakScan()
    with scan.listen():
        yield scan
    scan.search_logs()
    assert scan.found == []


@pytest.fixture
def statements(leaks: LeakScan, db: None) -> Iterator[None]:
    """Every SQL statement with its parameters, searched when the test ends."""
    with CaptureQueriesContext(connection) as queries:
        yield
    leaks.search("SQL", [query["sql"] for query in queries.captured_queries])
