"""Ten thousand stale keys, a real broker, and real workers, one of which is killed."""

import os
import subprocess
import sys
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import timedelta

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.utils import timezone

from django_openrouter_auth.models import OpenRouterKey
from tests.databases.with_server import NotInstalledError
from tests.example_site import PACKAGE, ROOT, environment
from tests.processes import wait_until
from tests.stored_keys import api_key, store_keys
from tests.test_docs import blocks_of

from .servers import CountingOpenRouter, kill, redis_server, worker

# django_db: pytest-django makes a database for marked tests only.
pytestmark = [pytest.mark.celery, pytest.mark.postgresql, pytest.mark.django_db]

COUNT = 10_000
KILLED_AFTER = 3_000
PROCESSES = 2
SECRET = api_key(0)[:-10]  # what all keys of the site begin with; their masks are shorter
BUSY = {0, 150}  # in the first two ranges, so that nobody waits for them at the end
ENQUEUE = (
    "from site_with_workers import app;"
    "app.send_task('django_openrouter_auth.contrib.celery.check_stale_keys')"
)


@dataclass
class Night:
    """What a night of checking left behind.

    Attributes:
        began_at: when it began.
        asked_before: how often OpenRouter had been asked when the worker was killed.
        asked: how often OpenRouter was asked about each key in the end.
        rows: status, time and trouble of the last check of each key.
        output: what the broker and the workers printed.
    """

    began_at: object
    asked_before: int
    asked: dict
    rows: list
    output: str


@pytest.fixture(scope="module")
def night(django_db_setup, django_db_blocker, tmp_path_factory):
    """Check all keys by two workers, and kill one of them in the middle."""
    folder = tmp_path_factory.mktemp("night")
    (block,) = blocks_of("celery.py")
    (folder / "site_with_workers.py").write_text(block)
    with ExitStack() as stack:
        try:
            broker_url = stack.enter_context(redis_server(folder))
        except NotInstalledError as error:
            stop = pytest.fail if os.environ.get("CI") == "true" else pytest.skip
            stop(f"{error} not found, so no worker was tested")
        openrouter = stack.enter_context(CountingOpenRouter().serving())
        openrouter.busy = set(map(api_key, BUSY))
        stack.enter_context(django_db_blocker.unblock())
        stack.callback(User.objects.all().delete)
        store_keys(COUNT)
        OpenRouterKey.objects.update(checked_at=timezone.now() - timedelta(days=2))
        env = environment(
            folder,
            PYTHONPATH=os.pathsep.join(map(str, (folder, ROOT, PACKAGE))),
            DJANGO_SETTINGS_MODULE="tests.celery.settings",
            DATABASE_URL=database_url(),
            BROKER_URL=broker_url,
            OPENROUTER_API_URL=openrouter.url,
        )
        began_at = timezone.now()
        logs = [folder / "doomed.log", folder / "survivor.log"]
        doomed, _ = (stack.enter_context(worker(log.stem, env, log)) for log in logs)
        subprocess.run([sys.executable, "-c", ENQUEUE], env=env, cwd=ROOT, check=True)
        wait_until(lambda: openrouter.asked.total() >= KILLED_AFTER)
        asked_before = openrouter.asked.total()
        kill(doomed)
        wait_until(lambda: not OpenRouterKey.objects.filter(checked_at__lt=began_at).exists())
        rows = list(OpenRouterKey.objects.values_list("status", "checked_at", "check_error"))
    output = "".join(path.read_text() for path in folder.glob("*.log"))
    return Night(began_at, asked_before, dict(openrouter.asked), rows, output)


def database_url():
    """Return the URL of the database of the tests."""
    return f"{os.environ['DATABASE_URL'].rpartition('/')[0]}/{connection.settings_dict['NAME']}"


def test_every_key_is_checked(night):
    """No key gets lost with the worker that was about to check it."""
    assert KILLED_AFTER <= night.asked_before < COUNT
    assert len(night.rows) == COUNT
    assert {(status, error) for status, _, error in night.rows} == {("active", "")}
    assert all(checked_at >= night.began_at for _, checked_at, _ in night.rows)


def test_no_key_is_asked_about_without_need(night):
    """OpenRouter is asked once about a key; again if it said so, or its answer died on its way."""
    asked_again = {key for key, times in night.asked.items() if times == 2}
    assert set(night.asked) == set(map(api_key, range(COUNT)))
    assert set(night.asked.values()) == {1, 2}
    assert set(map(api_key, BUSY)) <= asked_again
    assert len(asked_again) <= len(BUSY) + PROCESSES


def test_no_output_holds_a_key(night):
    """What workers and broker print at the level DEBUG holds no key, and is something."""
    assert SECRET not in night.output
    assert "DEBUG/MainProcess" in night.output
    assert "check_range" in night.output
