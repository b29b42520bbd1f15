"""The process that serves the sandbox for ``manage.py openrouter_auth_sandbox``.

It says in one line that it is ready, or what is in the way, and serves until its standard input
ends. So it never outlives the process that started it, however that one ended.
"""

import errno
import os
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Thread
from typing import TextIO

import django
from django.apps import apps
from django.contrib.staticfiles.handlers import StaticFilesHandler
from django.core.management import call_command
from django.core.servers.basehttp import ThreadedWSGIServer, WSGIRequestHandler
from django.core.wsgi import get_wsgi_application
from django.db import DatabaseError, connection, connections

from . import DATABASE_VARIABLE, READY

HOST = "127.0.0.1"
DJANGO_TABLES = {"django_migrations"}


class Obstacle(Exception):
    """Raised when the sandbox cannot be served; the text says why and what to do."""


def serve(port: int, lifeline: TextIO, out: TextIO) -> None:
    """Serve the sandbox until ``lifeline`` ends; say ``READY`` on ``out``, or what is in the way.

    Args:
        port: where to listen on loopback.
        lifeline: a stream that somebody holds open as long as the sandbox is wanted.
        out: where one line is written.
    """
    try:
        prepare_database()
        server = listen(port)
    except Obstacle as obstacle:
        out.write(f"{obstacle}\n")
        return
    with server:
        server.set_app(StaticFilesHandler(get_wsgi_application()))
        Thread(target=server.serve_forever, daemon=True).start()
        out.write(f"{READY}\n")
        out.flush()
        lifeline.read()
        server.shutdown()


def listen(port: int) -> ThreadedWSGIServer:
    """Return a server that listens, on loopback only.

    Raises:
        Obstacle: the port is in use, or not for everybody.
    """
    try:
        return ThreadedWSGIServer((HOST, port), WSGIRequestHandler)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise Obstacle(
                f"Port {port} is in use by another program. Stop that one, or choose another "
                f"port: --port {port + 1 if port < 65535 else port - 1}"
            ) from None
        raise Obstacle(f"Port {port} cannot be opened: {error.strerror}.") from None


def prepare_database() -> None:
    """Create the tables of the sandbox where they are missing.

    Raises:
        Obstacle: the file is no database, cannot be written, or belongs to another site.
    """
    ours = {
        model._meta.db_table for model in apps.get_app_config("openrouter_sandbox").get_models()
    }
    try:
        foreign = set(connection.introspection.table_names()) - ours - DJANGO_TABLES
        if foreign:
            raise Obstacle(
                "The file of --database holds tables of another site. Give the sandbox a file of "
                "its own: it is created where there is none."
            )
        call_command("migrate", verbosity=0)
    except DatabaseError as error:
        raise Obstacle(f"The file of --database cannot be used: {error}.") from None


def main(port: str, database: str) -> None:
    """Serve the sandbox on standard input and output.

    Args:
        port: where to listen.
        database: path of an SQLite file; empty for one that is deleted at the end.
    """
    with TemporaryDirectory(prefix="openrouter-sandbox-") as folder:
        os.environ[DATABASE_VARIABLE] = database or str(Path(folder) / "sandbox.sqlite3")
        os.environ["DJANGO_SETTINGS_MODULE"] = "django_openrouter_auth.sandbox.standalone.settings"
        django.setup()
        serve(int(port), sys.stdin, sys.stdout)
        connections.close_all()
