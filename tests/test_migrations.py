"""Migrations: forward, back and forward again, with data and without encryption keys."""

import io
import os
import subprocess
import sys
from pathlib import Path

import pytest
from django.core.management import call_command
from django.db import connections
from django.db.migrations.executor import MigrationExecutor

from django_openrouter_auth.models import OpenRouterKey

from .connecting import KEY
from .example_site import environment

APP = "django_openrouter_auth"


@pytest.fixture
def migrate(transactional_db):
    """A function that migrates this app to a point; afterwards everything is there again."""

    def to(name):
        call_command("migrate", APP, *([name] if name else []), verbosity=0)

    yield to
    to("")


def test_forward_with_data(user, connected, migrate):
    """MG 233: keys and attempts of an earlier version survive every later migration."""
    migrate("0001")
    migrate("")
    key = OpenRouterKey.objects.get()
    assert key.secret.reveal() == KEY
    assert (key.requested, key.check_error, key.check_began_at) == ({}, "", None)


def test_zero_and_forward(migrate):
    """MG 233: the tables can be removed and made again."""
    migrate("zero")
    tables = connections["default"].introspection.table_names()
    assert not [table for table in tables if table.startswith(APP)]
    migrate("")
    assert not OpenRouterKey.objects.exists()


def test_no_encryption_key_is_needed(settings, migrate):
    """MG 233: migrations neither need nor look at the encryption keys."""
    settings.FERNET_KEYS = 7
    migrate("zero")
    migrate("")


def test_sql(transactional_db):
    """MG 233: ``sqlmigrate`` shows every migration."""
    for app, name in MigrationExecutor(connections["default"]).loader.disk_migrations:
        if app == APP:
            out = io.StringIO()
            call_command("sqlmigrate", APP, name[:4], stdout=out)
            assert "-- " in out.getvalue()  # a step, be it one that the database need not know


@pytest.mark.process
def test_other_database(tmp_path):
    """MG 233: ``--database`` migrates that one and no other."""
    (tmp_path / "two.py").write_text(
        "from tests.settings import *\n"
        "DATABASES = {name: {'ENGINE': 'django.db.backends.sqlite3', 'NAME': name + '.sqlite3'}"
        " for name in ('default', 'other')}\n"
    )
    env = environment(tmp_path) | {"DJANGO_SETTINGS_MODULE": "two"}
    env["PYTHONPATH"] = os.pathsep.join([env["PYTHONPATH"], str(Path.cwd())])
    shows = (
        "from django.db import connections;"
        "print([len(connections[name].introspection.table_names()) > 0"
        " for name in ('default', 'other')])"
    )
    for arguments in (["migrate", "-v0", "--database", "other"], ["shell", "-v0", "-c", shows]):
        result = subprocess.run(
            [sys.executable, "-m", "django", *arguments],
            env=env,
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=True,
        )
    assert result.stdout.strip() == "[False, True]"
