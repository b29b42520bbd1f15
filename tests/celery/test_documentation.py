"""What the page about background checks says is so."""

from inspect import signature

import django
import pytest
from celery import Celery
from celery.beat import Scheduler
from django.contrib.auth.models import User
from django.utils import timezone

from django_openrouter_auth.contrib import celery as tasks
from django_openrouter_auth.models import OpenRouterKey
from django_openrouter_auth.testing import connect
from tests.test_docs import PAGES, blocks_of, literals, run, table

PAGE = "reference/background"
PREFIX = "django_openrouter_auth.contrib.celery."
TASKS = {
    task.name.removeprefix(PREFIX): task
    for task in (tasks.check_stale_keys, tasks.check_range, tasks.check_key)
}


@pytest.fixture
def stale_key(db, openrouter):
    """A key that was checked an age ago."""
    connect(User.objects.create_user("ann"))
    OpenRouterKey.objects.update(checked_at=None)
    return OpenRouterKey.objects.get()


def is_fresh(key):
    """Return whether a key was checked just now."""
    key.refresh_from_db()
    return key.checked_at is not None and (timezone.now() - key.checked_at).seconds < 60


def test_every_task_is_described():
    """The table has every task, with its arguments."""
    found = {name: literals(row[0]) for name, row in table(PAGE, "check_key").items()}
    assert found == {name: set(signature(task.run).parameters) for name, task in TASKS.items()}


def test_numbers():
    """The page names the numbers that the code has."""
    text = " ".join(PAGES[PAGE].split())
    assert (tasks.RANGE_SIZE, tasks.MAX_RETRIES) == (100, 8)
    assert "one ``check_range`` for every 100 keys" in text
    assert "After eight such tries" in text
    assert tasks.FIRST_WAIT == 30
    assert "up to half a minute at first" in text
    assert tasks.LONGEST_WAIT == 15 * 60
    assert "below 15 minutes" in text
    assert tasks.LONGEST_RETRY_AFTER == 30 * 60
    assert "more than half an hour" in text


def test_schedule(stale_key, monkeypatch):
    """The example of a schedule names a task and arguments that it takes, and checks keys."""
    (block,) = [text for text in blocks_of("settings.py") if "CELERY" in text]
    names = run(block)
    with Celery("a site", set_as_current=False, fixups=[]) as app:
        app.conf.beat_schedule = names["CELERY_BEAT_SCHEDULE"]
        scheduler = Scheduler(app, lazy=True)
        scheduler.setup_schedule()
        entry = scheduler.schedule["check-openrouter-keys"]
    monkeypatch.setattr(
        tasks.check_range, "delay", lambda *range_: tasks.check_range.apply(range_, throw=True)
    )
    task = TASKS[entry.task.removeprefix(PREFIX)]
    task.apply(entry.args, entry.kwargs, throw=True)
    assert is_fresh(stale_key)


def test_annotations():
    """The example of a rate limit is for a task that there is."""
    (block,) = [text for text in blocks_of("settings.py") if "CELERY" in text]
    (name,) = run(block)["CELERY_TASK_ANNOTATIONS"]
    assert name.removeprefix(PREFIX) in TASKS


@pytest.mark.skipif(django.VERSION < (6, 0), reason="django.tasks came with Django 6.0")
def test_task_of_django(stale_key):
    """The example for django.tasks checks keys."""
    (block,) = blocks_of("tasks.py")
    result = run(block)["check_openrouter_keys"].enqueue()
    assert result.status == "SUCCESSFUL", result.errors
    assert is_fresh(stale_key)
