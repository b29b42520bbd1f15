"""``manage.py demo``: everything between a fresh clone and a site to click on."""

import os
import socket

from django.conf import settings
from django.contrib.auth import get_user_model
from django.contrib.staticfiles.management.commands import runserver
from django.core.management import CommandError, call_command
from django.utils.autoreload import DJANGO_AUTORELOAD_ENV

NAME = PASSWORD = "demo"


class Command(runserver.Command):
    """A ``runserver`` that prepares the site first and says how to use it."""

    help = "Prepare the database, make the user “demo” and serve the site."

    def add_arguments(self, parser):
        parser.add_argument("--port", type=int, default=3000, help="default: 3000")

    def handle(self, *args, port, **options):
        if not settings.DEBUG:
            raise CommandError("The demo needs DEBUG: everybody knows its password.")
        # The reloader runs this command again in a process of its own, for which all is prepared.
        if os.environ.get(DJANGO_AUTORELOAD_ENV) != "true":
            require_free(port)
            call_command("migrate", verbosity=0)
            make_user()
            # That process reads its settings anew, so the sandbox moves along to another port.
            os.environ.setdefault("SANDBOX_URL", f"http://localhost:{port}/openrouter-sandbox")
        super().handle(
            addrport=f"localhost:{port}",
            use_ipv6=False,
            use_reloader=True,
            use_threading=True,  # the sandbox answers while the page that calls it waits
            use_static_handler=True,
            insecure_serving=False,
            skip_checks=True,  # `manage.py check` prints; this prints three lines
        )

    def on_bind(self, server_port):
        """Say how to use the site, once it can be used."""
        openrouter = (
            "OpenRouter is a sandbox here: no account, no costs."
            if settings.USE_SANDBOX
            else "OpenRouter is the real one: answers cost money on the account that you connect."
        )
        self.stdout.write(
            f"Open http://localhost:{server_port}/ and stop the server with Ctrl+C.\n"
            f"Sign in as “{NAME}” with the password “{PASSWORD}”; this opens /admin/ as well.\n"
            f"{openrouter}"
        )
        self.stdout.flush()  # also where it is piped into another program


def require_free(port):
    """Stop where another program already serves a port.

    Asking is surer than binding: ``localhost`` has two addresses, and the browser may take the
    other one.
    """
    if not 0 < port < 65536:
        raise CommandError("A port is a number from 1 to 65535.")
    try:
        socket.create_connection(("localhost", port), timeout=1).close()
    except OSError:
        return
    raise CommandError(
        f"Port {port} is taken by another program. Stop that one, or choose another port: "
        f"make demo PORT={port + 1}, or manage.py demo --port {port + 1}."
    )


def make_user():
    """Make the demo's user, or repair it; an unchanged password leaves sessions alone."""
    user, _ = get_user_model().objects.get_or_create(username=NAME)
    user.is_active = user.is_staff = user.is_superuser = True
    if not user.check_password(PASSWORD):
        user.set_password(PASSWORD)
    user.save()
