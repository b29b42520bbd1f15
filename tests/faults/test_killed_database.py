"""PostgreSQL that is killed and started again, in the middle of an exchange and of a rotation."""

import secrets
import subprocess
import sys

import pytest

from tests.example_site import ROOT
from tests.standin import EXCHANGE, STATUS, known, reply
from tests.stored_keys import NEW, OLD, api_key

from .outcomes import Case
from .servers import command, settings_for
from .walks import Walk

pytestmark = pytest.mark.faults

PAUSE = "/api/v1/pause"
FIRST, AGAIN = "callback, first connection", "callback, connected before"


@pytest.mark.parametrize("is_early", [True, False], ids=["back before", "back after"])
@pytest.mark.parametrize("path", [EXCHANGE, STATUS])
@pytest.mark.parametrize("name", [FIRST, AGAIN])
def test_killed_during_an_exchange(site, server, request, name, path, is_early):
    """A key is stored once the database is back; if it stays away, the user is told of the key."""
    walk = Walk(site, name)

    def kill(wire):
        server.kill()
        if is_early:
            server.start()
        wire.send(site.openrouter.mint() if path == EXCHANGE else known())

    site.openrouter.answer(path, kill)
    told = walk.ask().told
    if not is_early:
        server.start()
    assert told.is_connected == is_early
    call = {EXCHANGE: "POST /auth/keys", STATUS: "GET /key"}[path]
    fault = f"killed, back {'before' if is_early else 'after'} OpenRouter has answered"
    walk.end(request.node, "server", (None, f"while OpenRouter answers {call}"), fault, told)


@pytest.mark.parametrize("position", [6, 7, 8])
def test_killed_while_storing(site, server, request, position):
    """A database that is killed inside the transaction that stores the key leaves the old one."""
    steps = Walk(site, AGAIN).ask().steps
    assert steps[6:] == ("change key", "change attempt", "commit")
    walk = Walk(site, AGAIN)
    site.openrouter.answer(PAUSE, lambda wire: (server.kill(), wire.send(reply())))
    told = walk.ask(f"pause {position}").told
    server.start()
    assert told.left_over
    place = (position + 1, steps[position])
    walk.end(request.node, "server", place, "killed, back after the site has answered", told)


# Rotation

STORE = """
from tests.stored_keys import store_keys
store_keys(30)
"""

READ = """
from django_openrouter_auth.models import OpenRouterKey
for key in OpenRouterKey.objects.order_by("pk"):
    print(key.secret.reveal())
"""

ROTATE = """
import sys
import django
django.setup()
from django.core.management import execute_from_command_line
from tests.faults.steps import watched
from tests.faults.site import paused
with watched(paused(int(sys.argv[1]))):
    execute_from_command_line(["", "openrouter_auth_rotate_keys", "--batch-size", "10"])
"""

KEYS = "".join(f"{api_key(number)}\n" for number in range(30))
STEPS = ["read key", *("read key", "change key", "commit") * 3, "read key"]


@pytest.fixture
def rotate(server, openrouter_over_sockets, tmp_path):
    """A function that runs scripts and commands on a database of its own, with encryption keys."""
    import psycopg

    name = f"rotation_{secrets.token_hex(4)}"
    with psycopg.connect(server.url, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")
    url = f"{server.url.rpartition('/')[0]}/{name}"
    env = settings_for(tmp_path, url, openrouter_over_sockets)

    def run(keys, *arguments):
        return command({**env, "FERNET_KEYS": keys}, *arguments)

    assert run(OLD, "migrate", "--verbosity", "0").returncode == 0
    stored = run(OLD, "shell", "-v0", "-c", STORE)
    assert stored.returncode == 0, stored.stderr
    run.env = {**env, "FERNET_KEYS": f"{NEW},{OLD}"}
    return run


@pytest.mark.parametrize("is_early", [True, False], ids=["back at once", "back later"])
@pytest.mark.parametrize("position", [4, 5, 6])
def test_killed_during_a_rotation(
    rotate, server, openrouter_over_sockets, request, position, is_early
):
    """Killed between two batches or inside one, every key is readable, and a rerun completes."""

    def kill(wire):
        server.kill()
        if is_early:
            server.start()
        wire.send(reply())

    openrouter_over_sockets.answer(PAUSE, kill)
    stopped = subprocess.run(
        [sys.executable, "-c", ROTATE, str(position)],
        env=rotate.env,
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    if not is_early:
        server.start()
    assert stopped.returncode == 1, stopped.stderr
    assert "The database refused" in stopped.stderr
    assert "run this command again" in stopped.stderr
    assert "Traceback" not in stopped.stderr
    assert "Re-encrypted: 10\n" in stopped.stdout
    assert rotate(f"{NEW},{OLD}", "shell", "-v0", "-c", READ).stdout == KEYS
    again = rotate(f"{NEW},{OLD}", "openrouter_auth_rotate_keys", "--batch-size", "10")
    assert (again.returncode, again.stderr) == (0, "")
    assert "Re-encrypted: 20\nAlready on the newest key: 10\n" in again.stdout
    assert rotate(NEW, "shell", "-v0", "-c", READ).stdout == KEYS
    Case(
        "server",
        "rotation, second of three batches",
        (position + 1, STEPS[position]),
        f"killed, back {'at once' if is_early else 'later'}",
        "run this command again, exit code 1",
        "every key, readable with both encryption keys",
        0,
        "every key, readable with the new one alone",
    ).record(request.node)
