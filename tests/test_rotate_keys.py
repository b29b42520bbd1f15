"""``manage.py openrouter_auth_rotate_keys``: what it says, how it ends, and what stops it."""

import io
import os
import signal
import subprocess
import sys
from urllib.parse import urlsplit

import pytest
from django.core.management import CommandError, call_command
from django.db import OperationalError, connection

from django_openrouter_auth import rotation
from django_openrouter_auth.management import progress
from django_openrouter_auth.management.commands import openrouter_auth_rotate_keys
from django_openrouter_auth.models import OpenRouterKey
from django_openrouter_auth.rotation import BATCH_SIZE

from .example_site import MANAGE, environment, manage
from .stored_keys import NEW, OLD, api_key, store_keys, write

COMMAND = "openrouter_auth_rotate_keys"


@pytest.fixture
def rows(settings, db):
    """Three rows of the old encryption key, and settings with a new one in front."""
    settings.FERNET_KEYS = [OLD]
    made = store_keys(3)
    settings.FERNET_KEYS = [NEW, OLD]
    return made


def rotate(*arguments, **options):
    """Run the command; return what it printed and how it ended: an error or ``None``."""
    out, error = io.StringIO(), None
    try:
        call_command(COMMAND, *arguments, **{"stdout": out, "stderr": io.StringIO(), **options})
    except CommandError as raised:
        error = raised
    return out.getvalue(), error


def report(rotated=0, newest=0, unreadable=0, changed=0, done="Re-encrypted"):
    """What the command prints at its end."""
    return (
        f"{done}: {rotated}\n"
        f"Already on the newest key: {newest}\n"
        f"Unreadable, left as they are: {unreadable}\n"
        f"Changed by somebody else meanwhile: {changed}\n"
    )


def test_counts_are_printed(rows):
    """ST 139: rows are re-encrypted, and counted."""
    assert rotate() == (report(rotated=3), None)


def test_second_time(rows):
    """ST 140: the second time there is nothing to do."""
    rotate()
    assert rotate() == (report(newest=3), None)


def test_no_rows(db):
    """MC 231: without rows there is nothing to do either, and that is no error."""
    assert rotate() == (report(), None)


def test_dry_run(rows):
    """ST 144: a dry run says that it is one, counts the same and leaves all to be done."""
    assert rotate("--dry-run") == (report(rotated=3, done="To be re-encrypted"), None)
    assert rotate() == (report(rotated=3), None)


@pytest.mark.parametrize("arguments", [[], ["--dry-run"]])
def test_old_key_is_gone(rows, settings, arguments):
    """ST 145: for unreadable rows the exit code is 1, and the text says what to do."""
    settings.FERNET_KEYS = [NEW]
    printed, error = rotate(*arguments)
    assert "Unreadable, left as they are: 3\n" in printed
    assert error.returncode == 1
    assert "No encryption key opens 3 of the stored keys" in str(error)
    assert "FERNET_KEYS" in str(error)
    assert "connect again" in str(error)


def test_changed_meanwhile(rows, monkeypatch):
    """T18: what somebody else changed meanwhile is counted, and no error."""
    write_batch = rotation._write

    def late(*arguments):
        rows[0].delete()
        return write_batch(*arguments)

    monkeypatch.setattr(rotation, "_write", late)
    assert rotate() == (report(rotated=2, changed=1), None)


@pytest.mark.parametrize("size", ["0", "-1", "x", "1.5", ""])
def test_impossible_batch_size(rows, size):
    """MC 231: a batch size that is none is an error before anything is done."""
    printed, error = rotate("--batch-size", size)
    assert (printed, error.returncode) == ("", 1)
    assert "--batch-size" in str(error)


@pytest.mark.parametrize("size", [1, 2, 3, 10**9])
def test_any_other_batch_size(rows, size):
    """Whatever the size of a batch, all rows are done."""
    assert rotate(batch_size=size) == (report(rotated=3), None)


def test_unknown_database(rows):
    """MC 231: a database that the site has not is an error."""
    printed, error = rotate("--database", "nowhere")
    assert printed == ""
    assert "nowhere" in str(error)


class ReadsElsewhere:
    """A router that would read keys from a replica, and write other models elsewhere."""

    def db_for_read(self, model, **hints):
        return "replica"

    def db_for_write(self, model, **hints):
        return "default" if model is OpenRouterKey else "elsewhere"


@pytest.mark.parametrize("arguments", [[], ["--database", "default"]])
def test_database_that_keys_are_written_to(rows, settings, arguments):
    """ST 147: keys are counted, read and written in one database, and never in a replica."""
    settings.DATABASE_ROUTERS = [ReadsElsewhere()]
    assert rotate(*arguments) == (report(rotated=3), None)


@pytest.mark.parametrize(
    "values",
    [
        {"FERNET_KEYS": []},
        {"FERNET_KEYS": ["secret one" * 4, ""]},
        {"FERNET_KEYS": {"secret one": 1}},
        {"FERNET_KEYS": ["secret one" * 4], "FERNET_USE_HKDF": False},
    ],
)
def test_unusable_encryption_keys(rows, settings, values):
    """M06: keys that cannot be used are an error that names the setting and shows no key."""
    for name, value in values.items():
        setattr(settings, name, value)
    printed, error = rotate()
    assert printed == ""
    assert "FERNET_KEYS" in str(error)
    assert "Nothing was changed" in str(error)
    assert "secret one" not in f"{error!r} {error.__cause__!r} {error.__context__!r}"


def test_django_secret_keys(settings, db):
    """ST 149: without ``FERNET_KEYS``, a new ``SECRET_KEY`` with the old one in the fallbacks."""
    del settings.FERNET_KEYS
    settings.SECRET_KEY = OLD
    store_keys(2)
    settings.SECRET_KEY, settings.SECRET_KEY_FALLBACKS = NEW, [OLD]
    assert rotate() == (report(rotated=2), None)
    settings.SECRET_KEY_FALLBACKS = []
    assert rotate() == (report(newest=2), None)


def test_away_from_the_secret_key(settings, db):
    """ST 149: ``FERNET_KEYS`` with ``SECRET_KEY`` at its end moves all rows off that key."""
    del settings.FERNET_KEYS
    settings.SECRET_KEY = OLD
    store_keys(2)
    settings.FERNET_KEYS = [NEW, OLD]
    assert rotate() == (report(rotated=2), None)
    settings.FERNET_KEYS = [NEW]
    assert rotate() == (report(newest=2), None)


def test_silence(rows, capfd, monkeypatch):
    """MC 231: with verbosity 0 nothing is printed, however long it takes."""
    monkeypatch.setattr(progress, "INTERVAL", 0)
    stderr = io.StringIO()
    assert rotate(verbosity=0, stderr=stderr) == ("", None)
    assert (stderr.getvalue(), *capfd.readouterr()) == ("", "", "")


@pytest.mark.parametrize("verbosity", [1, 2, 3])
def test_verbosity(rows, verbosity):
    """MC 231: more verbosity shows no more than the counts."""
    assert rotate(verbosity=verbosity) == (report(rotated=3), None)


def test_progress_goes_to_stderr(rows, monkeypatch):
    """While it works, the command tells how far it is, apart from its result."""
    monkeypatch.setattr(progress, "INTERVAL", 0)
    out, err = io.StringIO(), io.StringIO()
    call_command(COMMAND, batch_size=2, stdout=out, stderr=err)
    assert out.getvalue() == report(rotated=3)
    assert err.getvalue() == "2 of 3 keys\n3 of 3 keys\n"


def test_nothing_leaks(rows, leaks):
    """LK: neither a user's key nor an encryption key is printed or logged."""
    leaks.plant(first=api_key(0), damaged=api_key(1), old=OLD, new=NEW)
    write(rows[1], b"damaged")
    printed, error = rotate(verbosity=3)
    leaks.search("output", [printed, str(error), repr(error)])


# Stopped


def after_one_batch(monkeypatch, error):
    """Let something happen when the second batch is asked for."""

    def rotate_one_batch(*arguments, **options):
        yield next(rotation.rotate_keys(*arguments, **options))
        raise error

    monkeypatch.setattr(openrouter_auth_rotate_keys, "rotate_keys", rotate_one_batch)


def test_interrupted(rows, monkeypatch):
    """ST 142: Ctrl-C ends with the counts so far and the usual exit code; a rerun completes."""
    with monkeypatch.context() as patch:
        after_one_batch(patch, KeyboardInterrupt())
        printed, error = rotate(batch_size=2)
    assert printed == report(rotated=2)
    assert error.returncode == 130
    assert "Stopped. What was counted is done, and no key is lost. " in str(error)
    assert rotate() == (report(rotated=1, newest=2), None)


def test_database_fails(rows, monkeypatch):
    """MC 231: a database that fails ends the command with the counts so far and one line."""
    with monkeypatch.context() as patch:
        after_one_batch(patch, OperationalError("database is locked\nLINE 1: UPDATE"))
        printed, error = rotate(batch_size=2)
    assert printed == report(rotated=2)
    assert error.returncode == 1
    assert str(error).startswith("The database refused: database is locked. ")
    assert "LINE" not in str(error)
    assert "run this command again" in str(error)


# In a process of its own

SITE_KEYS = {"FERNET_KEYS": f"{NEW},{OLD}"}

STORE = """
from tests.stored_keys import store_keys
store_keys(40)
"""

# Ends its own process inside the third transaction, or between it and the next.
DIE = """
import os, signal
from django.core.management import call_command
from django.db import connection

def die_at_third(execute, sql, params, many, context):
    global seen
    seen += sql.startswith("UPDATE") and {before}
    if seen == 3:
        os.kill(os.getpid(), signal.{signal})
    result = execute(sql, params, many, context)
    seen += sql.startswith("UPDATE") and not {before}
    if seen == 3:
        os.kill(os.getpid(), signal.{signal})
    return result

seen = 0
with connection.execute_wrapper(die_at_third):
    call_command("openrouter_auth_rotate_keys", batch_size=10)
"""

READ = """
from django_openrouter_auth.models import OpenRouterKey
for key in OpenRouterKey.objects.order_by("pk"):
    print(key.secret.reveal())
"""


def shell(env, script, keys):
    """Run a script on the example site with these encryption keys."""
    return manage({**env, "FERNET_KEYS": keys}, "shell", "-v0", "-c", script)


def survives(env, before):
    """Kill the command in the middle, start it again, and look at every row."""
    stored = shell(env, STORE, OLD)
    assert stored.returncode == 0, stored.stderr
    killed = shell(env, DIE.format(before=before, signal="SIGKILL"), f"{NEW},{OLD}")
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    keys = "".join(f"{api_key(number)}\n" for number in range(40))
    assert shell(env, READ, f"{NEW},{OLD}").stdout == keys
    again = manage({**env, **SITE_KEYS}, COMMAND, "--batch-size", "10")
    assert (again.returncode, again.stderr) == (0, "")
    assert again.stdout == report(rotated=20, newest=20)
    assert shell(env, READ, NEW).stdout == keys


@pytest.mark.process
@pytest.mark.parametrize("before", [True, False])
def test_killed_with_sqlite(tmp_path, before):
    """ST 142: killed while it writes, before or after the database has heard of it."""
    env = environment(tmp_path)
    assert manage(env, "migrate", "-v0").returncode == 0
    survives(env, before)


@pytest.mark.postgresql
@pytest.mark.process
@pytest.mark.parametrize("before", [True, False])
def test_killed_with_postgresql(tmp_path, transactional_db, before):
    """ST 142: the same on a server, which takes back what was not committed."""
    url = urlsplit(os.environ["DATABASE_URL"])
    name = connection.settings_dict["NAME"]
    url = url._replace(path=f"/{name}")
    survives(environment(tmp_path, DATABASE_URL=url.geturl()), before)


@pytest.mark.process
def test_interrupted_process(tmp_path):
    """ST 142: Ctrl-C while a batch is written takes that batch back and prints the counts."""
    env = environment(tmp_path)
    assert manage(env, "migrate", "-v0").returncode == 0
    shell(env, STORE, OLD)
    script = DIE.format(before=False, signal="SIGINT")
    done = shell(env, script, f"{NEW},{OLD}")
    assert done.stdout == report(rotated=20)
    assert done.returncode == 130
    assert done.stderr.startswith("CommandError: Stopped. ")
    assert manage({**env, **SITE_KEYS}, COMMAND).stdout == report(rotated=20, newest=20)


@pytest.mark.process
def test_site_without_tables(tmp_path):
    """MC 231: before ``migrate`` the command ends with 1 and one line, without a traceback."""
    done = manage(environment(tmp_path), COMMAND)
    assert (done.returncode, done.stdout) == (1, report())
    assert done.stderr.startswith("CommandError: The database refused: ")
    assert 'Run "manage.py migrate"' in done.stderr
    assert done.stderr.count("\n") == 1


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """A site with forty keys, of which none can be read."""
    env = environment(tmp_path_factory.mktemp("site"))
    assert manage(env, "migrate", "-v0").returncode == 0
    assert shell(env, STORE, OLD).returncode == 0
    return {**env, "FERNET_KEYS": NEW}


@pytest.mark.process
@pytest.mark.parametrize("command", ['exec "$@" >&-', '"$@" | true'])
def test_closed_output_does_not_matter(site, command):
    """MC 231: with stdout closed, or nobody who reads it, the command works and ends as usual."""
    arguments = [sys.executable, "-W", "error", str(MANAGE), COMMAND]
    done = subprocess.run(
        ["/bin/sh", "-c", command, "sh", *arguments],
        env=site,
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        text=True,
        check=False,
    )
    assert done.stderr.startswith("CommandError: No encryption key opens 40")
    assert done.stderr.count("\n") == 1


@pytest.mark.process
def test_traceback(site):
    """MC 231: with ``--traceback`` neither a user's key nor an encryption key is shown."""
    done = manage(site, COMMAND, "--traceback", "-v3")
    assert done.returncode == 1
    assert "Traceback" in done.stderr
    assert not [key for key in (OLD, NEW, api_key(0)) if key in done.stdout + done.stderr]


def test_help_names_the_default():
    """``--help`` says how large a batch is."""
    text = openrouter_auth_rotate_keys.Command().create_parser("manage.py", COMMAND).format_help()
    assert f"Default: {BATCH_SIZE}." in " ".join(text.split())
