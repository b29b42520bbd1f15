"""``openrouter_auth_check_keys``: asking about many keys at once."""

import io
import signal
import sqlite3
import subprocess
import sys
import threading
from collections import Counter
from datetime import timedelta

import pytest
import requests
from django.core.management import CommandError, call_command
from django.db.utils import OperationalError
from django.utils import timezone

from django_openrouter_auth import bulk_introspection
from django_openrouter_auth.bulk_introspection import BulkCheck, GaveUp
from django_openrouter_auth.fields import SealedKey
from django_openrouter_auth.management.progress import Progress
from django_openrouter_auth.models import OpenRouterKey

from .connecting import API
from .example_site import environment
from .standin import STATUS, known
from .stored_keys import TABLE, store_keys
from .stored_keys import api_key as key_of

DAY = timedelta(days=1)
GOOD: tuple[int, dict[str, str], str] = (200, {}, '{"data": {"usage": 5}}')


@pytest.fixture
def keys(db):
    """Store the keys of so many users, which were last checked two days ago."""

    def store(count, **values):
        return store_keys(count, checked_at=timezone.now() - 2 * DAY, **values)

    return store


@pytest.fixture
def answers(openrouter):
    """Answer each question by a function of the key, and count the questions."""
    asked = Counter()

    def use(answer):
        def respond(request):
            api_key = request.headers["Authorization"].removeprefix("Bearer ")
            asked[api_key] += 1
            return answer(api_key)

        openrouter.mock.remove("GET", f"{API}/key")
        openrouter.mock.add_callback("GET", f"{API}/key", respond, content_type="application/json")
        return asked

    return use


def run(**options):
    """Run the command and return what it prints."""
    out = io.StringIO()
    call_command("openrouter_auth_check_keys", stdout=out, stderr=io.StringIO(), **options)
    return out.getvalue()


def counts(check):
    """Run to the end and return the counts."""
    done = sum(check.run())
    assert done == sum(check.counts.values())
    return dict(check.counts)


# What it does


def test_every_end(keys, answers):
    """Each stale key is asked about once, every end is counted, and only a 401 rejects."""
    rows = keys(6)
    ends = {0: GOOD, 1: (401, {}, "{}"), 2: (403, {}, "{}"), 3: (402, {}, "{}"), 4: GOOD}
    OpenRouterKey.objects.filter(pk=rows[5].pk).update(secret=SealedKey(b"damaged"))
    asked = answers(lambda api_key: ends[int(api_key[-2:])])
    out = io.StringIO()
    with pytest.raises(CommandError, match="could not be checked: 2"):
        call_command("openrouter_auth_check_keys", stdout=out, stderr=io.StringIO())
    assert out.getvalue().splitlines() == [
        "Accepted by OpenRouter: 2",
        "Rejected by OpenRouter: 1",
        "Unreadable, not asked about: 1",
        "Could not be checked, left as they are: 2",
        "Just being checked by somebody else, or gone: 0",
    ]
    assert set(asked.values()) == {1}
    statuses = OpenRouterKey.objects.order_by("pk").values_list("status", flat=True)
    expected = ["active", "rejected", "active", "active", "active", "unreadable"]
    assert list(statuses) == expected


def test_only_stale_keys(keys, answers):
    """Keys that were checked lately are left alone; how long ago counts is an option, in hours."""
    keys(3)
    recent = OpenRouterKey.objects.order_by("pk").first()
    OpenRouterKey.objects.filter(pk=recent.pk).update(checked_at=timezone.now() - DAY / 2)
    asked = answers(lambda api_key: GOOD)
    run()
    assert sorted(asked) == [key_of(1), key_of(2)]
    run(stale_after=11)
    assert asked[key_of(0)] == 1
    OpenRouterKey.objects.update(check_began_at=None)
    run(stale_after=0)
    assert set(asked.values()) == {2}


def test_limit(keys, answers):
    """``--limit`` bounds how many keys are checked."""
    keys(5)
    asked = answers(lambda api_key: GOOD)
    assert "Accepted by OpenRouter: 2" in run(limit=2)
    assert sorted(asked) == [key_of(0), key_of(1)]


def test_pages(keys, answers, monkeypatch):
    """More keys than one page holds are all checked, with a limit between pages as well."""
    monkeypatch.setattr(bulk_introspection, "PAGE", 2)
    keys(5)
    asked = answers(lambda api_key: GOOD)
    run(limit=3)
    assert len(asked) == 3
    run()
    assert len(asked) == 5


def test_workers(keys, answers):
    """As many keys are asked about at the same time as there are workers, and never more."""
    keys(12)
    at_once, most, lock = 0, 0, threading.Lock()
    together = threading.Barrier(4)

    def answer(api_key):
        nonlocal at_once, most
        with lock:
            at_once += 1
            most = max(most, at_once)
        together.wait(timeout=10)
        with lock:
            at_once -= 1
        return GOOD

    answers(answer)
    assert "Accepted by OpenRouter: 12" in run(workers=4)
    assert most == 4


def test_somebody_else_is_asking(keys, answers):
    """D21: a key that was asked about less than 30 seconds ago is left to whoever asked."""
    keys(1, check_began_at=timezone.now())
    asked = answers(lambda api_key: GOOD)
    assert "Just being checked by somebody else, or gone: 1" in run()
    assert not asked


def test_deleted_meanwhile(keys, answers, monkeypatch):
    """A key that is deleted after it was read is passed over."""
    keys(2)

    asked = answers(lambda api_key: GOOD)
    stale = BulkCheck._stale

    def then_deleted(check):
        for number, key in enumerate(stale(check)):
            if number:
                OpenRouterKey.objects.filter(pk=key.pk).delete()
            yield key

    monkeypatch.setattr(BulkCheck, "_stale", then_deleted)
    assert counts(BulkCheck(DAY)) == {"accepted": 1, "skipped": 1}
    assert len(asked) == 1


def test_no_keys(db, answers):
    """Where nothing is stale, the counts say so."""
    asked = answers(lambda api_key: GOOD)
    assert "Accepted by OpenRouter: 0" in run()
    assert not asked


# A busy OpenRouter


def pausing():
    """Return a list of waits, and the function that notes them and lets time pass."""
    waited = []

    def pause(seconds):
        waited.append(seconds)
        OpenRouterKey.objects.update(check_began_at=None)

    return waited, pause


@pytest.mark.parametrize(("header", "seconds"), [({"Retry-After": "7"}, 7), ({}, 30)])
def test_retry_after(keys, answers, header, seconds):
    """``Retry-After`` is waited for, and half a minute without one; then the key has its turn."""
    keys(2)
    busy = [key_of(0)]
    asked = answers(lambda api_key: (429, header, "{}") if api_key in busy and busy.pop() else GOOD)
    waited, pause = pausing()
    check = BulkCheck(DAY, workers=1, pause=pause)
    assert counts(check) == {"accepted": 2}
    assert waited == [seconds, 30]
    assert asked == {key_of(0): 2, key_of(1): 1}


def test_retry_after_an_outage(keys, answers):
    """A wait that comes with another error than 429 is kept as well."""
    keys(2)
    down = [key_of(0)]
    busy = (503, {"Retry-After": "9"}, "")
    answers(lambda api_key: busy if api_key in down and down.pop() else GOOD)
    waited, pause = pausing()
    check = BulkCheck(DAY, workers=1, pause=pause)
    assert counts(check) == {"accepted": 2}
    assert waited == [9, 30]


def test_stopped_in_the_second_round(keys, answers):
    """Whenever a run is stopped, each key that was asked about is in the counts."""
    keys(3)
    asked = answers(lambda api_key: (429, {}, "{}") if asked[api_key] == 1 else GOOD)
    check = BulkCheck(DAY, workers=1, pause=pausing()[1])
    run = check.run()
    while not check.counts:
        next(run)
    run.close()
    assert check.counts == {"accepted": 1, "not checked": 2}


@pytest.mark.parametrize("limit", [None, 2])
def test_keys_that_always_fail_come_last(keys, answers, limit):
    """Keys whose last check failed stand in nobody's way, whatever the limit."""
    keys(30)
    asked = answers(lambda api_key: GOOD if int(api_key[-2:], 16) >= 25 else (403, {}, ""))
    for _ in range(15):
        counts(BulkCheck(DAY, workers=1, limit=limit))
        OpenRouterKey.objects.update(check_began_at=timezone.now() - DAY / 24)
    assert all(asked[key_of(number)] == 1 for number in range(25, 30))


def test_busy_twice(keys, answers):
    """A key for which OpenRouter has no time twice is left for the next run."""
    keys(2)
    asked = answers(lambda api_key: (429, {"Retry-After": "3"}, "{}"))
    waited, pause = pausing()
    assert counts(BulkCheck(DAY, workers=1, pause=pause)) == {"not checked": 2}
    assert waited == [3, 3, 30, 3, 3]
    assert set(asked.values()) == {2}
    assert set(OpenRouterKey.objects.values_list("status", flat=True)) == {"active"}


def test_longest_wait(keys, answers):
    """Where OpenRouter asks for a long wait, the run ends and says so."""
    keys(3)
    asked = answers(lambda api_key: (429, {"Retry-After": "3600"}, "{}"))
    waited, pause = pausing()
    check = BulkCheck(DAY, workers=1, pause=pause)
    with pytest.raises(GaveUp, match="3600 seconds"):
        counts(check)
    assert (waited, len(asked)) == ([], 1)
    assert check.counts == {"not checked": 1}


def test_outage(keys, answers):
    """Where OpenRouter is down, the run gives up instead of going through all keys."""
    keys(40)
    asked = answers(lambda api_key: (503, {}, ""))
    out = io.StringIO()
    with pytest.raises(CommandError, match="cannot be reached"):
        call_command("openrouter_auth_check_keys", workers=1, stdout=out, stderr=io.StringIO())
    assert len(asked) == 20
    assert "Could not be checked, left as they are: 20" in out.getvalue()


def test_bad_moments(keys, answers):
    """A failure now and then is no outage."""
    keys(60)
    answers(lambda api_key: GOOD if int(api_key[-2:]) % 10 == 0 else (500, {}, ""))
    assert counts(BulkCheck(DAY, workers=1)) == {"accepted": 6, "not checked": 54}


def test_odd_failure(keys, answers):
    """A failure that nobody foresaw costs one key its check, and is no outage."""
    keys(2)

    def answer(api_key):
        if api_key == key_of(0):
            raise RuntimeError
        return GOOD

    answers(answer)
    assert counts(BulkCheck(DAY, workers=1)) == {"accepted": 1, "not checked": 1}


# Stopping


def test_stopped(keys, answers, monkeypatch):
    """Ctrl-C ends the run with the counts; answers that were under way are stored."""
    keys(6)
    asked = answers(lambda api_key: GOOD)

    def interrupt(progress, count=1):
        if asked:
            raise KeyboardInterrupt

    monkeypatch.setattr(Progress, "advance", interrupt)
    out = io.StringIO()
    with pytest.raises(CommandError, match="Stopped") as stop:
        call_command("openrouter_auth_check_keys", workers=2, stdout=out, stderr=io.StringIO())
    assert stop.value.returncode == 130
    fresh = OpenRouterKey.objects.filter(checked_at__gt=timezone.now() - DAY).count()
    assert fresh == len(asked)
    assert f"Accepted by OpenRouter: {fresh}" in out.getvalue()


def test_connections_are_kept(keys, standin):
    """Each worker keeps one connection for all of its questions."""
    keys(20)
    standin.minted += map(key_of, range(20))
    assert counts(BulkCheck(DAY, workers=3)) == {"accepted": 20}
    assert len({request.connection for request in standin.status_checks}) <= 3


@pytest.mark.parametrize("is_put", [True, False])
def test_stopped_while_a_question_is_put(keys, answers, monkeypatch, is_put):
    """Stopped at the very moment at which a question starts, it loses no answer and waits for none.

    A thread may run before the one that started it goes on.
    """
    keys(1)
    asked = answers(lambda api_key: GOOD)
    submit = bulk_introspection.ThreadPoolExecutor.submit

    def stop(pool, *question):
        if is_put:
            submit(pool, *question).result()
        raise KeyboardInterrupt

    monkeypatch.setattr(bulk_introspection.ThreadPoolExecutor, "submit", stop)
    check = BulkCheck(DAY)
    with pytest.raises(KeyboardInterrupt):
        list(check.run())
    assert asked.total() == check.counts["accepted"] == is_put
    assert OpenRouterKey.objects.filter(usage=5).count() == is_put


def test_worker_that_breaks(keys, monkeypatch):
    """What nobody foresaw in a worker ends the run, and leaves nobody waiting."""
    keys(3)

    def break_down(api_key, connection):
        raise MemoryError

    monkeypatch.setattr(bulk_introspection, "ask", break_down)
    with pytest.raises(MemoryError):
        list(BulkCheck(DAY).run())


@pytest.mark.process
def test_real_ctrl_c(tmp_path, standin):
    """A process that gets SIGINT stores the answers under way, prints the counts and ends."""
    asked, go_on = threading.Semaphore(0), threading.Event()

    def hold_back(wire):
        asked.release()
        go_on.wait(20)
        wire.send(known())

    standin.answer(STATUS, *[hold_back] * 9)
    (tmp_path / "site_settings.py").write_text(
        f"from tests.settings import *\nOPENROUTER_AUTH_API_URL = {standin.url!r}\n"
    )
    env = environment(tmp_path, DJANGO_SETTINGS_MODULE="site_settings")
    manage = [sys.executable, "-W", "error", "-m", "django"]
    subprocess.run([*manage, "migrate", "-v0"], env=env, check=True)
    store = "from tests.stored_keys import store_keys; store_keys(9)"
    subprocess.run([*manage, "shell", "-v0", "-c", store], env=env, check=True)
    process = subprocess.Popen(
        [*manage, "openrouter_auth_check_keys", "--workers", "2"],
        env=env,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    for _ in range(2):
        assert asked.acquire(timeout=30)
    process.send_signal(signal.SIGINT)
    go_on.set()
    out, err = process.communicate(timeout=30)
    assert process.returncode == 130, err
    assert "Stopped" in err
    assert "Traceback" not in err
    with sqlite3.connect(tmp_path / "db.sqlite3") as database:
        [(checked,)] = database.execute(f"SELECT count(*) FROM {TABLE} WHERE checked_at NOT NULL")
    database.close()
    assert 2 <= checked < 9
    assert f"Accepted by OpenRouter: {checked}" in out


# Wrong use


@pytest.mark.parametrize(
    "option",
    [
        "--workers=0",
        "--workers=-1",
        "--workers=65",
        "--workers=x",
        "--limit=0",
        "--limit=-3",
        "--limit=x",
        "--stale-after=-1",
        "--stale-after=nan",
        "--stale-after=inf",
        "--stale-after=1e9",
        "--stale-after=x",
    ],
)
def test_wrong_options(db, option):
    """MC 231: options that make no sense are refused in one line."""
    with pytest.raises(CommandError):
        call_command("openrouter_auth_check_keys", option)


@pytest.mark.parametrize("verbosity", [0, 1, 3])
def test_verbosity(keys, answers, verbosity):
    """MC 231: ``-v 0`` prints nothing; more prints the counts."""
    keys(1)
    answers(lambda api_key: GOOD)
    assert bool(run(verbosity=verbosity)) == (verbosity > 0)


def test_unmigrated_database(answers, monkeypatch, db):
    """MC 231: without tables the command names the way out."""

    def refuse(check):
        raise OperationalError("no such table\nSELECT …")

    monkeypatch.setattr(BulkCheck, "total", refuse)
    with pytest.raises(CommandError, match=r"no such table.* migrate"):
        run()


def test_closed_connection(keys, answers):
    """An OpenRouter that breaks off counts as not checked."""
    keys(1)

    def answer(api_key):
        raise requests.ConnectionError

    answers(answer)
    with pytest.raises(CommandError, match="could not be checked: 1"):
        run()


def test_leak(keys, answers, leaks):
    """LK 171: neither output, logs nor errors show a key."""
    keys(3)
    leaks.plant(first=key_of(0), second=key_of(1))
    answers(lambda api_key: (401, {}, "{}") if api_key == key_of(0) else (500, {}, api_key))
    with pytest.raises(CommandError) as error:
        run()
    leaks.search_exception("command", error.value)


def test_statements(keys, answers, django_assert_num_queries):
    """A key costs two statements: its turn and its verdict."""
    keys(10)
    answers(lambda api_key: GOOD)
    # How many there are, one page and the end of the pages, and those that failed before.
    with django_assert_num_queries(4 + 2 * 10):
        run()
