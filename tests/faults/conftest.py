import sqlite3
from contextlib import closing

import pytest

from tests.standin import Standin

from .servers import killable_postgresql, require_programs, served


@pytest.fixture(scope="module")
def openrouter_over_sockets():
    """OpenRouter, played over sockets for a site in a process of its own."""
    with Standin() as standin:
        yield standin


@pytest.fixture(scope="module")
def server():
    """A PostgreSQL server that can be killed."""
    require_programs()
    with killable_postgresql() as server:
        yield server


@pytest.fixture(scope="module")
def site(server, openrouter_over_sockets, tmp_path_factory):
    """The site that breaks on request, on PostgreSQL."""
    folder = tmp_path_factory.mktemp("site")
    with served(folder, server.url, openrouter_over_sockets) as site:
        yield site


@pytest.fixture(scope="module")
def site_on_sqlite(openrouter_over_sockets, tmp_path_factory):
    """The site that breaks on request, on SQLite, with a table for what fills its disk."""
    require_programs()
    folder = tmp_path_factory.mktemp("site")
    path = folder / "db.sqlite3"
    with closing(sqlite3.connect(path)) as file:
        file.execute("CREATE TABLE filler (of_the_disk)")
    with served(folder, f"sqlite:///{path}", openrouter_over_sockets) as site:
        yield site
