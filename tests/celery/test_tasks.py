"""The Celery tasks by themselves; test_workers.py runs them in workers."""

import json
import os
import subprocess
import sys
from datetime import timedelta
from unittest.mock import Mock

import pytest
from celery.exceptions import Retry
from django.contrib.auth.models import User
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from django_openrouter_auth import introspection
from django_openrouter_auth.contrib import celery as tasks
from django_openrouter_auth.exceptions import ProviderUnavailable, RateLimited, Throttled
from django_openrouter_auth.models import OpenRouterKey
from django_openrouter_auth.testing import KEY, connect, make_unreadable, reject
from tests.test_docs import blocks_of

TASKS = [tasks.check_key, tasks.check_range, tasks.check_stale_keys]
NAMES = {
    "django_openrouter_auth.contrib.celery.check_key",
    "django_openrouter_auth.contrib.celery.check_range",
    "django_openrouter_auth.contrib.celery.check_stale_keys",
}
DAY = 24


def age(seconds=2 * DAY * 3600):
    """Let time pass, as far as the rows can tell."""
    then = timezone.now() - timedelta(seconds=seconds)
    OpenRouterKey.objects.update(checked_at=then, check_began_at=then)


@pytest.fixture
def keys(db):
    """Five keys, all of them stale."""
    users = [User.objects.create_user(f"user-{number}") for number in range(5)]
    found = [connect(user, f"{KEY[:-1]}{number}") for number, user in enumerate(users)]
    age()
    return found


@pytest.fixture
def put_off(monkeypatch):
    """What the tasks say when they put themselves off."""
    said = Mock(return_value=Retry())
    for task in (tasks.check_key, tasks.check_range):
        monkeypatch.setattr(task, "retry", said)
    return said


@pytest.fixture
def enqueued(monkeypatch):
    """The arguments of the ranges that are enqueued."""
    delay = Mock()
    monkeypatch.setattr(tasks.check_range, "delay", delay)
    return delay.call_args_list


def run(task, *arguments, **options):
    """Run a task as a worker does, in this process; return its result."""
    return task.apply(arguments, throw=True, **options).get()


def check_all(keys, **options):
    """Run the task for the range of these keys."""
    return run(tasks.check_range, keys[0].pk, keys[-1].pk, DAY, **options)


def asked(openrouter):
    """The keys that OpenRouter was asked about, in their order."""
    return [call.api_key for call in openrouter.calls]


def api_keys(keys):
    """Return the keys of some rows."""
    return [key.secret.reveal() for key in keys]


# How workers find and treat them


IMPORTS = "from celery import Celery\napp = Celery()\napp.conf.imports = ['{}']\n"


@pytest.mark.parametrize(
    ("site", "found"),
    [
        (blocks_of("celery.py")[0], NAMES),
        (IMPORTS.format(tasks.__name__), NAMES),
        (IMPORTS.format("django_openrouter_auth"), set()),
    ],
    ids=["autodiscover_tasks", "imports", "neither"],
)
def test_names(site, found):
    """A worker finds the tasks in both documented ways, under their names, and not without."""
    show = (
        "import json\napp.loader.import_default_modules()\n"
        "print(json.dumps([name for name in app.tasks if 'openrouter' in name]))"
    )
    done = subprocess.run(
        [sys.executable, "-c", site + show],
        env={**os.environ, "DJANGO_SETTINGS_MODULE": "tests.settings"},
        stdout=subprocess.PIPE,
        check=True,
    )
    assert set(json.loads(done.stdout)) == found


@pytest.mark.parametrize("task", TASKS, ids=lambda task: task.name)
def test_task_outlives_its_worker(task):
    """A task is handed to another worker if its own dies, and leaves no result behind."""
    assert (task.acks_late, task.reject_on_worker_lost, task.ignore_result) == (True, True, True)


def test_rates_are_limited():
    """Tasks that ask OpenRouter have a rate limit, which a site can change by their names."""
    assert (tasks.check_key.rate_limit, tasks.check_range.rate_limit) == ("10/s", "1/s")


def test_waiting_tasks_stay_below_the_visibility_timeout():
    """No wait is as long as the hour after which Redis hands a waiting task out again."""
    assert tasks.LONGEST_RETRY_AFTER + tasks.LONGEST_WAIT < 3600


# One key


def test_good_key(keys, openrouter):
    """Checking a key asks once and writes the answer down."""
    openrouter.knows(usage=4.5)
    assert run(tasks.check_key, keys[0].pk) == "active"
    assert asked(openrouter) == api_keys(keys[:1])
    keys[0].refresh_from_db()
    assert keys[0].usage == 4.5
    assert timezone.now() - keys[0].checked_at < timedelta(minutes=1)


def test_key_is_gone(db, openrouter, put_off):
    """A key that was deleted meanwhile is left alone, without a retry."""
    assert run(tasks.check_key, 123456) == "unchanged"
    assert not openrouter.calls
    assert not put_off.called


def test_fresh_key(keys, openrouter):
    """With an age a key is not asked about again before its answer is that old."""
    assert run(tasks.check_key, keys[0].pk, 2 * DAY + 1) == "unchanged"
    assert not openrouter.calls
    assert run(tasks.check_key, keys[0].pk, 2 * DAY - 1) == "active"


def test_rejected_key_is_asked_about_on_request(openrouter, user):
    """A rejected key is asked about when somebody wants it, and revives if OpenRouter says so."""
    key = reject(user)
    age()
    assert run(tasks.check_key, key.pk, DAY) == "unchanged"
    assert run(tasks.check_key, key.pk) == "active"


def test_verdict_is_no_reason_to_come_again(keys, openrouter, put_off):
    """A 401 is written down and final."""
    openrouter.forgets()
    assert run(tasks.check_key, keys[0].pk) == "key_rejected"
    keys[0].refresh_from_db()
    assert keys[0].status == "rejected"
    assert not put_off.called


def test_unreadable_key(user, openrouter, put_off):
    """A key that cannot be decrypted is no reason to ask or to come again."""
    key = make_unreadable(user)
    assert run(tasks.check_key, key.pk) == "key_unreadable"
    assert not openrouter.calls
    assert not put_off.called


def test_nonsense_is_no_reason_to_come_again(keys, openrouter, put_off):
    """An answer that means nothing changes nothing; the next run asks again."""
    openrouter.talks_nonsense()
    assert run(tasks.check_key, keys[0].pk) == "provider_protocol"
    assert not put_off.called


def test_answered_a_moment_ago(keys, openrouter, put_off):
    """A key about which OpenRouter has just answered is done."""
    run(tasks.check_key, keys[0].pk)
    assert run(tasks.check_key, keys[0].pk) == "unchanged"
    assert len(openrouter.calls) == 1
    assert not put_off.called


def test_deleted_while_it_was_not_its_turn(keys, monkeypatch, put_off):
    """A key that goes away while another task asks about it is done."""

    def find_it_taken(key):
        OpenRouterKey.objects.filter(pk=key.pk).delete()
        raise Throttled(retry_after=30)

    monkeypatch.setattr(introspection, "take_turn", find_it_taken)
    assert run(tasks.check_key, keys[0].pk) == "unchanged"
    assert not put_off.called


def test_somebody_else_is_asking(keys, openrouter, put_off):
    """While another task asks, which may have died of it, a task waits for its own turn."""
    OpenRouterKey.objects.update(check_began_at=timezone.now())
    with pytest.raises(Retry):
        run(tasks.check_key, keys[0].pk)
    assert 28 <= put_off.call_args.kwargs["countdown"] <= 30
    assert not openrouter.calls


def test_answered_while_a_task_waited(keys, openrouter):
    """A task that comes back does not ask if somebody else got an answer."""
    assert run(tasks.check_key, keys[0].pk, retries=1) == "unchanged"
    OpenRouterKey.objects.update(check_began_at=timezone.now() - timedelta(minutes=1))
    assert run(tasks.check_key, keys[0].pk, retries=1) == "active"
    assert len(openrouter.calls) == 1


def test_never_asked_and_waited(keys, openrouter):
    """A task that comes back asks about a key about which nobody ever asked."""
    OpenRouterKey.objects.update(check_began_at=None, checked_at=None)
    assert run(tasks.check_key, keys[0].pk, retries=1) == "active"


def test_replaced_while_it_was_read(keys, monkeypatch, openrouter, put_off):
    """A key that is replaced before its turn comes is the business of who replaced it."""
    take_turn = introspection.take_turn

    def replace_it(key):
        OpenRouterKey.objects.filter(pk=key.pk).update(key_hash="0" * 64)
        return take_turn(key)

    monkeypatch.setattr(introspection, "take_turn", replace_it)
    assert run(tasks.check_key, keys[0].pk) == "not_connected"
    assert not openrouter.calls
    assert not put_off.called


# Trouble


@pytest.fixture(params=["key", "range"])
def run_into_trouble(request, keys):
    """A function that runs one of the tasks, which asks OpenRouter once."""
    OpenRouterKey.objects.update(checked_at=None)

    def run_task(**options):
        if request.param == "key":
            return run(tasks.check_key, keys[0].pk, DAY, **options)
        return check_all(keys, **options)

    return run_task


@pytest.mark.parametrize("retry_after", [1, 100, 1800])
def test_rate_limit_of_openrouter(run_into_trouble, openrouter, put_off, retry_after):
    """A 429 puts a task off for as long as OpenRouter asks, and a little more by chance."""
    openrouter.fails(429, retry_after=retry_after)
    with pytest.raises(Retry):
        run_into_trouble()
    least = max(30, retry_after)
    assert least <= put_off.call_args.kwargs["countdown"] <= least + 30
    assert isinstance(put_off.call_args.kwargs["exc"], RateLimited)
    assert len(openrouter.calls) == 1


@pytest.mark.parametrize(("retries", "longest"), [(0, 30), (1, 60), (4, 480), (7, 900)])
def test_waits_grow(run_into_trouble, openrouter, put_off, monkeypatch, retries, longest):
    """While OpenRouter is down, the waits double up to a quarter of an hour, less some chance."""
    monkeypatch.setattr("random.randrange", lambda stop: stop - 1)
    openrouter.fails(503)
    with pytest.raises(Retry):
        run_into_trouble(retries=retries)
    assert put_off.call_args.kwargs["countdown"] == 30 + longest
    assert isinstance(put_off.call_args.kwargs["exc"], ProviderUnavailable)


def test_long_wait(run_into_trouble, openrouter, put_off):
    """A task does not wait for hours: the next run does what is left."""
    openrouter.fails(429, retry_after=1801)
    with pytest.raises(RateLimited):
        run_into_trouble()
    assert not put_off.called


def test_tries_come_to_an_end(run_into_trouble, openrouter):
    """After eight tries a task fails with what was wrong."""
    openrouter.fails(503)
    with pytest.raises(ProviderUnavailable):
        run_into_trouble(retries=8)


# A range


def test_range(keys, openrouter):
    """A range asks once about each of its stale keys and counts what came of it."""
    keys[2].delete()
    OpenRouterKey.objects.filter(pk=keys[3].pk).update(checked_at=timezone.now())
    result = run(tasks.check_range, keys[0].pk, keys[3].pk, DAY)
    assert asked(openrouter) == api_keys(keys[:2])
    assert result == {"active": 2}


def test_range_keeps_its_connection(keys, standin):
    """A range asks about all its keys over one connection, so that TLS is set up once."""
    standin.minted += api_keys(keys)
    assert check_all(keys) == {"active": 5}
    assert [seen.connection for seen in standin.status_checks] == [1] * 5


def test_range_again(keys, openrouter):
    """A range that is handed out again asks about nothing that was checked meanwhile."""
    check_all(keys)
    OpenRouterKey.objects.update(check_began_at=timezone.now() - timedelta(minutes=5))
    assert check_all(keys) == {}
    assert len(openrouter.calls) == 5


def test_checked_while_the_range_was_at_it(keys, openrouter, monkeypatch):
    """A key that somebody else checks before its turn comes is not asked about again."""
    settle = introspection.settle

    def settle_the_next_one_too(turn, answer):
        OpenRouterKey.objects.filter(pk=turn.key.pk + 1).update(checked_at=timezone.now())
        return settle(turn, answer)

    monkeypatch.setattr(introspection, "settle", settle_the_next_one_too)
    assert check_all(keys) == {"active": 3, "unchanged": 2}
    assert asked(openrouter) == api_keys([keys[0], keys[2], keys[4]])


def test_range_goes_on_after_a_verdict(keys, openrouter):
    """Whatever OpenRouter says about one key, the others are asked about."""
    openrouter.forgets()
    assert check_all(keys) == {"key_rejected": 5}


def test_range_stops_where_openrouter_has_enough(keys, openrouter, put_off):
    """After a 429 a range asks about no other key; when it comes back, that key comes last."""
    openrouter.fails(429)
    with pytest.raises(Retry):
        check_all(keys)
    openrouter.recovers()
    OpenRouterKey.objects.filter(pk=keys[0].pk).update(
        check_began_at=timezone.now() - timedelta(seconds=31)
    )
    assert check_all(keys, retries=1) == {"active": 5}
    assert asked(openrouter) == api_keys([keys[0], *keys[1:], keys[0]])


def test_key_that_is_taken_holds_up_no_other(keys, openrouter, put_off):
    """A range goes on past a key that somebody else asks about, and looks after it later."""
    OpenRouterKey.objects.filter(pk=keys[1].pk).update(check_began_at=timezone.now())
    with pytest.raises(Retry):
        check_all(keys)
    assert asked(openrouter) == api_keys([keys[0], *keys[2:]])
    assert 28 <= put_off.call_args.kwargs["countdown"] <= 30


def test_keys_never_asked_about_come_first(keys, openrouter):
    """A range begins with keys that were never asked about."""
    OpenRouterKey.objects.filter(pk=keys[4].pk).update(check_began_at=None)
    check_all(keys)
    assert asked(openrouter) == api_keys([keys[4], *keys[:4]])


def test_range_is_bounded(keys, openrouter, monkeypatch):
    """A range that holds more stale keys than when it was enqueued leaves the rest."""
    monkeypatch.setattr(tasks, "RANGE_SIZE", 3)
    assert check_all(keys) == {"active": 3}


# All keys


def test_ranges(keys, enqueued, monkeypatch):
    """The stale keys are split into ranges, each read by a bounded query."""
    monkeypatch.setattr(tasks, "RANGE_SIZE", 2)
    with CaptureQueriesContext(connection) as queries:
        assert run(tasks.check_stale_keys) == 3
    pks = [key.pk for key in keys]
    bounds = [(pks[0], pks[1]), (pks[2], pks[3]), (pks[4], pks[4])]
    assert [call.args for call in enqueued] == [(*found, 24) for found in bounds]
    assert len(queries) == 4
    assert all(query["sql"].endswith("LIMIT 2") for query in queries)


def test_nothing_is_stale(keys, enqueued):
    """Where nothing is stale, nothing is enqueued."""
    assert run(tasks.check_stale_keys, 2 * DAY + 1) == 0
    assert not enqueued


def test_rejected_keys_are_left_out(keys, enqueued):
    """Rejected keys stay as they are until their owners act."""
    OpenRouterKey.objects.filter(pk__gt=keys[0].pk).update(status="rejected")
    run(tasks.check_stale_keys)
    assert [call.args for call in enqueued] == [(keys[0].pk, keys[0].pk, 24)]


def test_arguments_hold_no_secret(keys, enqueued):
    """What goes through the broker is numbers."""
    run(tasks.check_stale_keys)
    (call,) = enqueued
    assert json.loads(json.dumps(call.args)) == [keys[0].pk, keys[4].pk, 24]
    assert not call.kwargs


@pytest.mark.parametrize("hours", [0, -1, float("nan"), float("inf"), 8761])
@pytest.mark.parametrize("task", TASKS, ids=lambda task: task.name)
def test_ages_that_are_mistakes(db, task, hours):
    """An age of nothing, below nothing or beyond a year is refused, not run with."""
    bounds = {tasks.check_key: (1,), tasks.check_range: (1, 2), tasks.check_stale_keys: ()}[task]
    with pytest.raises(ValueError, match=r"above 0 and up to 8760\.$"):
        run(task, *bounds, hours)


def test_nothing_holds_the_key(keys, openrouter, caplog):
    """Results and logs of a task hold no key, whatever happens to it."""
    caplog.set_level("DEBUG")
    results = [check_all(keys)]
    openrouter.fails(503)
    age()
    failed = tasks.check_range.apply((keys[0].pk, keys[4].pk, DAY), retries=8)
    results += [failed.result, failed.traceback]
    assert "ProviderUnavailable" in str(failed.traceback)
    assert "check_range" in caplog.text
    text = f"{results!r} {caplog.text}"
    assert not [key for key in api_keys(keys) if key in text]
