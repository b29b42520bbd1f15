"""``manage.py openrouter_auth_prune_attempts``: what goes, and what stays."""

import io
import subprocess
import sys
from datetime import timedelta
from itertools import count

import pytest
from django.core.management import CommandError, call_command
from django.db import OperationalError, connection, router
from django.db.models.signals import pre_delete
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from django_openrouter_auth import pruning
from django_openrouter_auth.attempts import CONNECTED
from django_openrouter_auth.conf import app_settings
from django_openrouter_auth.models import ConnectAttempt

from .connecting import CODE, start
from .example_site import MANAGE, environment, manage

COMMAND = "openrouter_auth_prune_attempts"
NOTHING = "Deleted attempts: 0 expired, 0 interrupted, 0 ended.\n"
AGE = app_settings.ATTEMPT_MAX_AGE
MINUTE = timedelta(minutes=1)
DAY = timedelta(days=1)
HOUR = timedelta(hours=1)
numbers = count()


@pytest.fixture
def attempt(user):
    """Make an attempt: ``attempt(started, claimed, outcome)``; times are ages."""

    def attempt(started, claimed=None, outcome=""):
        now = timezone.now()
        return ConnectAttempt.objects.create(
            user=user,
            state_hash=f"{next(numbers):064}",
            browser_hash="b" * 64,
            created_at=now - started,
            claimed_at=None if claimed is None else now - claimed,
            outcome=outcome,
        )

    return attempt


def prune(*arguments):
    """Run the command; return what it printed."""
    out = io.StringIO()
    call_command(COMMAND, *arguments, stdout=out)
    return out.getvalue()


def left():
    """The primary keys of the attempts that are left."""
    return set(ConnectAttempt.objects.values_list("pk", flat=True))


def test_pending_attempts_that_are_too_old_go(attempt):
    """DR 207: what nobody can finish any more is deleted, and nothing that is alive."""
    attempt(AGE + 2 * MINUTE)
    alive = {attempt(timedelta()).pk, attempt(AGE - MINUTE).pk, attempt(AGE).pk}
    assert prune() == "Deleted attempts: 1 expired, 0 interrupted, 0 ended.\n"
    assert left() == alive


def test_a_clock_that_is_behind_loses_nothing(attempt):
    """An attempt that is alive by the clock of a server that is a little behind stays."""
    late = attempt(AGE + MINUTE / 2)
    attempt(AGE + MINUTE + timedelta(seconds=10))
    prune()
    assert left() == {late.pk}


def test_an_attempt_from_the_future_stays(attempt):
    """The clock of another server may be ahead as well."""
    early = attempt(-HOUR)
    assert prune() == NOTHING
    assert left() == {early.pk}


def test_the_age_is_the_setting(attempt, settings):
    """``ATTEMPT_MAX_AGE`` says what is alive."""
    found = attempt(2 * HOUR)
    settings.OPENROUTER_AUTH_ATTEMPT_MAX_AGE = timedelta(hours=3)
    assert prune() == NOTHING
    settings.OPENROUTER_AUTH_ATTEMPT_MAX_AGE = HOUR
    prune()
    assert found.pk not in left()


def test_claimed_attempts_go_when_their_request_is_over(attempt, settings):
    """A request that died leaves a claimed attempt; it goes when no request can last so long."""
    settings.OPENROUTER_AUTH_TIMEOUT = (60, 540)
    longest = AGE + MINUTE + MINUTE + timedelta(minutes=10)
    attempt(5 * HOUR, longest + MINUTE)
    busy = {attempt(5 * HOUR, timedelta()).pk, attempt(5 * HOUR, longest - MINUTE).pk}
    assert prune() == "Deleted attempts: 0 expired, 1 interrupted, 0 ended.\n"
    assert left() == busy


@pytest.mark.parametrize("claimed", [29 * DAY, None])
@pytest.mark.parametrize("outcome", [CONNECTED, "denied"])
def test_the_record_is_kept_for_a_month(outcome, claimed, attempt):
    """An ended attempt, claimed or not, stays for 30 days and goes then."""
    recent = attempt(29 * DAY, claimed, outcome)
    attempt(31 * DAY, claimed, outcome)
    assert prune() == "Deleted attempts: 0 expired, 0 interrupted, 1 ended.\n"
    assert left() == {recent.pk}


def test_how_long_the_record_is_kept_can_be_said(attempt):
    """``--older-than`` is in days, and touches no attempt that is pending."""
    alive = attempt(timedelta())
    kept = attempt(6 * DAY, 6 * DAY, CONNECTED)
    attempt(8 * DAY, 8 * DAY, CONNECTED)
    prune("--older-than", "7")
    assert left() == {alive.pk, kept.pk}
    prune("--older-than", "0")
    assert left() == {alive.pk}


def test_dry_run_counts_only(attempt):
    """``--dry-run`` prints what would go and deletes nothing."""
    all_of_them = {
        attempt(DAY).pk,
        attempt(DAY, DAY).pk,
        attempt(31 * DAY, 31 * DAY, CONNECTED).pk,
        attempt(timedelta()).pk,
    }
    said = prune("--dry-run")
    assert said == "Would delete attempts: 1 expired, 1 interrupted, 1 ended.\n"
    assert left() == all_of_them


@pytest.mark.parametrize("batch_size", [1, 2, 3, 7, 500])
def test_batches_of_any_size_delete_all(batch_size, attempt):
    """All goes, whatever the size of a batch, and what lies between stays."""
    alive = set()
    for _ in range(7):
        attempt(DAY)
        alive.add(attempt(timedelta()).pk)
    assert "7 expired" in prune("--batch-size", str(batch_size))
    assert left() == alive


def test_a_statement_deletes_no_more_than_a_batch(attempt):
    """No statement names more rows than a batch has, and none reads what it need not know."""
    for _ in range(5):
        attempt(DAY)
    with CaptureQueriesContext(connection) as queries:
        prune("--batch-size", "2")
    deletes = [query["sql"] for query in queries if query["sql"].startswith("DELETE")]
    assert [sql.rpartition(" IN (")[2].count(",") + 1 for sql in deletes] == [2, 2, 1]
    assert not any("code_verifier" in query["sql"] for query in queries)


def test_a_search_begins_where_the_last_one_ended(attempt, monkeypatch):
    """No search passes the same rows twice, however many of them stay."""
    monkeypatch.setattr(pruning, "FOUND_AT_ONCE", 2)
    for _ in range(5):
        attempt(DAY)
    with CaptureQueriesContext(connection) as queries:
        assert "5 expired" in prune()
    searches = [query["sql"] for query in queries if "ORDER BY" in query["sql"]]
    assert len(set(searches)) == len(searches) > 3


def test_what_changes_meanwhile_stays(attempt):
    """An attempt that another request ends between finding and deleting keeps its record."""
    changed = attempt(AGE + 2 * MINUTE)
    attempt(AGE + 2 * MINUTE)
    expired = pruning.find_leftovers(DAY)["expired"]

    def end_it(execute, sql, params, many, context):
        if sql.startswith("DELETE"):
            ConnectAttempt.objects.filter(pk=changed.pk).update(outcome="state_expired")
        return execute(sql, params, many, context)

    with connection.execute_wrapper(end_it):
        assert list(pruning.delete_in_batches(expired, 10)) == [1]
    assert left() == {changed.pk}


def test_receivers_of_a_site_are_told(attempt):
    """A site that listens for deleted rows hears of each, and the rows go all the same."""
    heard = []

    def hear(instance, **kwargs):
        heard.append(instance.pk)

    pre_delete.connect(hear, sender=ConnectAttempt)
    try:
        found = {attempt(DAY).pk for _ in range(3)}
        assert "3 expired" in prune("--batch-size", "2")
    finally:
        pre_delete.disconnect(hear, sender=ConnectAttempt)
    assert set(heard) == found
    assert not left()


def test_it_works_where_rows_are_written(attempt, monkeypatch):
    """With a database router the rows of the database for writing are pruned."""
    asked = []

    def db_for_write(model, **hints):
        asked.append(model)
        return "default"

    monkeypatch.setattr(router, "db_for_write", db_for_write)
    monkeypatch.setattr(router, "db_for_read", lambda model, **hints: 1 / 0)
    attempt(DAY)
    assert "1 expired" in prune()
    assert ConnectAttempt in asked


def test_no_rows_is_no_error(db):
    """MC 231: without any attempt the command says so."""
    assert prune() == prune("-v", "3") == NOTHING
    assert prune("--traceback", "--dry-run").startswith("Would delete attempts: 0")


def test_silence(attempt):
    """MC 231: ``-v 0`` prints nothing, and does the same."""
    attempt(DAY)
    assert prune("-v", "0") == ""
    assert not left()


@pytest.mark.parametrize(
    "argument",
    [
        *(f"--batch-size={junk}" for junk in ("0", "-1", "x", "", "1.5", "10001", "9" * 30)),
        *(f"--older-than={junk}" for junk in ("-1", "x", "", "1.5", "nan", "36501", "9" * 30)),
        "--user=ann",
        "42",
    ],
)
def test_wrong_arguments(argument, db):
    """MC 231: wrong arguments are a CommandError before anything is deleted."""
    with pytest.raises(CommandError):
        prune(argument)


@pytest.mark.parametrize("argument", ["--older-than=36500", "--batch-size=10000"])
def test_extreme_arguments(argument, attempt):
    """The largest values work."""
    attempt(DAY)
    assert "1 expired" in prune(argument)


def prune_until(error):
    """Run the command, whose second deletion ends so; return what it printed and how it ended."""
    deletions, out = count(1), io.StringIO()

    def end_it(execute, sql, params, many, context):
        if sql.startswith("DELETE") and next(deletions) == 2:
            raise error
        return execute(sql, params, many, context)

    with connection.execute_wrapper(end_it), pytest.raises(CommandError) as trouble:
        call_command(COMMAND, batch_size=2, stdout=out)
    return out.getvalue(), trouble.value


def test_a_database_that_refuses(attempt):
    """Trouble in the middle ends with the counts so far, and a text that says how to go on."""
    for _ in range(3):
        attempt(DAY)
    printed, error = prune_until(OperationalError("database is locked\nLINE 1: DELETE"))
    assert printed == "Deleted attempts: 2 expired, 0 interrupted, 0 ended.\n"
    assert error.returncode == 1
    assert str(error).startswith("The database refused: database is locked. ")
    assert "LINE" not in str(error)
    assert "run this command again" in str(error)


def test_interrupted(transactional_db, attempt):
    """MC 231: Ctrl-C ends with the counts so far and the usual exit code; a rerun completes."""
    for _ in range(3):
        attempt(DAY)
    printed, error = prune_until(KeyboardInterrupt())
    assert printed == "Deleted attempts: 2 expired, 0 interrupted, 0 ended.\n"
    assert error.returncode == 130
    assert "Stopped" in str(error)
    assert "1 expired" in prune()


def test_attempts_of_the_flow(browser, openrouter):
    """DR 207: an attempt that is under way when the command runs connects afterwards."""
    waiting = start(browser)
    attempt = ConnectAttempt.objects.get()
    ConnectAttempt.objects.filter(pk=attempt.pk).update(created_at=timezone.now() - AGE + MINUTE)
    assert prune("--older-than", "0") == NOTHING
    browser.get(waiting.path, {"code": CODE})
    assert ConnectAttempt.objects.get().outcome == CONNECTED
    assert "1 ended" in prune("--older-than", "0")


# In a process of its own


@pytest.mark.process
def test_a_site_without_tables(tmp_path):
    """MC 231: before ``migrate`` the command ends with 1 and one line, without a traceback."""
    done = manage(environment(tmp_path), COMMAND)
    assert (done.returncode, done.stdout) == (1, NOTHING)
    assert done.stderr.startswith("CommandError: The database refused: ")
    assert 'Run "manage.py migrate"' in done.stderr
    assert done.stderr.count("\n") == 1


@pytest.mark.process
def test_closed_output_does_not_matter(tmp_path):
    """MC 231: with stdout closed, or nobody who reads it, the command does its work in silence."""
    env = environment(tmp_path)
    assert manage(env, "migrate", "-v0").returncode == 0
    for shell in ('exec "$@" >&-', '"$@" | true'):
        done = subprocess.run(
            ["/bin/sh", "-c", shell, "sh", sys.executable, "-W", "error", str(MANAGE), COMMAND],
            env=env,
            capture_output=True,
            text=True,
            check=False,
        )
        assert (done.returncode, done.stderr) == (0, "")
