"""The guide to going live."""

import logging
import sys
from datetime import timedelta
from io import StringIO

import pytest
import requests
from django.core.management import call_command

from django_openrouter_auth import services, signals
from django_openrouter_auth.exceptions import KeyRejected
from django_openrouter_auth.models import ConnectAttempt, OpenRouterKey
from django_openrouter_auth.testing import approve, deny
from tests.documented import Page

from .project import Project

PAGE = Page("howto/going-live")
SETTINGS = PAGE.take("# settings.py")
COMMANDS = PAGE.take("python manage.py migrate")
SERVER = PAGE.take("# gunicorn.conf.py")
JOBS = PAGE.take("# once a day")
MONITORING = PAGE.take("# chat/monitoring.py")


def arguments(block):
    """Return the arguments of each management command of a block."""
    lines = [line for line in block.text.splitlines() if not line.startswith("#")]
    assert all(line.startswith("python manage.py ") for line in lines)
    return [line.split()[2:] for line in lines]


@pytest.mark.guides
def test_commands(tmp_path, monkeypatch):
    """With the settings of the guide, checks and doctor have nothing to say."""
    monkeypatch.setenv("SECRET_KEY", "s3cret-" + "0123456789abcdefghij" * 3)
    monkeypatch.setenv("OPENROUTER_ENCRYPTION_KEY", "k" * 20 + "0123456789" * 3)
    project = Project(tmp_path)
    project.append("mysite/settings.py", SETTINGS.text)
    # What a new project is without, and this guide is not about.
    project.append("mysite/settings.py", 'SILENCED_SYSTEM_CHECKS = ["mail.E001"]\n')
    migrate, collect, check, doctor = arguments(COMMANDS)
    project.manage(*migrate)
    project.manage(*collect)
    assert "django_openrouter_auth" not in project.manage(*check)
    found = project.manage(*doctor, "--offline")
    assert "https://app.example/openrouter/callback/STATE/" in found
    assert "FAILED" not in found
    assert "\nwarning" not in found


def test_jobs(user, connected, openrouter):
    """The daily jobs run: one finds a dead key, the other deletes an old record."""
    openrouter.forgets()
    OpenRouterKey.objects.update(checked_at=connected.checked_at - timedelta(days=2))
    attempt = ConnectAttempt.objects.get()
    ConnectAttempt.objects.update(created_at=attempt.created_at - timedelta(days=31))
    for command, *options in arguments(JOBS):
        printed = StringIO()
        call_command(command, *options, stdout=printed)
        assert printed.getvalue() == ""
    assert OpenRouterKey.objects.get().status == "rejected"
    assert not ConnectAttempt.objects.exists()


def test_monitoring(client, user, openrouter, caplog, django_capture_on_commit_callbacks):
    """The receivers write a line for each way in which a connection begins and ends."""
    caplog.set_level(logging.INFO, "chat.openrouter")
    receivers = MONITORING.run()
    client.force_login(user)
    with django_capture_on_commit_callbacks(execute=True):
        deny(client)
        approve(client)
        openrouter.forgets()
        with pytest.raises(KeyRejected):
            services.check(user)
    signals.connect_failed.disconnect(receivers["count_failed"])
    signals.key_connected.disconnect(receivers["count_connected"])
    signals.key_rejected.disconnect(receivers["count_rejected"])
    told = [record for record in caplog.records if record.name == "chat.openrouter"]
    assert [record.getMessage() for record in told] == [
        "failed: access_denied",
        "connected",
        "rejected",
    ]


@pytest.mark.deployment
def test_access_log(tmp_path):
    """The log of the server has the address of a callback without its code."""
    from tests.deployment.servers import gunicorn

    (tmp_path / "gunicorn.conf.py").write_text(SERVER.text)
    (tmp_path / "answering.py").write_text(
        "def application(environ, start_response):\n"
        "    start_response('303 See Other', [('Location', '/')])\n"
        "    return []\n"
    )
    log = tmp_path / "access.log"
    options = ("--chdir", str(tmp_path), "--access-logfile", str(log), "answering:application")
    with gunicorn(
        {"PATH": "/usr/bin", "PYTHONPATH": ":".join(sys.path)}, tmp_path, *options
    ) as port:
        url = f"http://127.0.0.1:{port}/openrouter/callback/state/?code=overheard"
        requests.get(url, allow_redirects=False, timeout=10)
    assert '"GET /openrouter/callback/state/" 303' in log.read_text()
    assert "overheard" not in log.read_text()
