import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from django.core.management.base import CommandError, CommandParser

from ...conf import debug_is_on
from ...sandbox.standalone import READY
from ..base import OpenRouterCommand

DEFAULT_PORT = 8400
PROGRAM = (
    "import sys; from django_openrouter_auth.sandbox.standalone.serving import main; "
    "main(*sys.argv[1:])"
)


class Command(OpenRouterCommand):
    help = "Serve a stand-in for OpenRouter on this machine: no account, no network, no costs."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--port",
            type=int,
            default=DEFAULT_PORT,
            metavar="NUMBER",
            help="Where to listen on 127.0.0.1. Default: %(default)s.",
        )
        parser.add_argument(
            "--database",
            metavar="FILE",
            default="",
            help="Keep codes and keys in this SQLite file, made if there is none. "
            "Default: they are forgotten at the end.",
        )

    def handle(self, *args: Any, port: int, database: str, verbosity: int, **options: Any) -> None:
        if not debug_is_on():
            raise CommandError(
                "The sandbox is for development: it needs DEBUG = True, because it lets anybody "
                "sign in under any name."
            )
        if not 1 <= port <= 65535:
            raise CommandError("--port must be from 1 to 65535.")
        with suppress(KeyboardInterrupt), sandbox_process(port, database) as process:
            if verbosity:
                self.explain(port, database)
            process.wait()
            raise CommandError(f"The sandbox ended by itself, with exit code {process.returncode}.")

    def explain(self, port: int, database: str) -> None:
        """Say how a site uses the sandbox."""
        url = f"http://127.0.0.1:{port}/sandbox"
        kept = (
            f"Codes and keys are kept in {database}."
            if database
            else "Its keys are forgotten at the end; --database FILE keeps them."
        )
        self.report(
            f"The sandbox plays OpenRouter at {url}/\n"
            "Put this into the settings of your site:\n\n"
            f'    OPENROUTER_AUTH_AUTHORIZE_URL = "{url}/auth"\n'
            f'    OPENROUTER_AUTH_API_URL = "{url}/api/v1"\n\n'
            f"Let it fail on purpose: {url}/faults\n"
            f"{kept} Stop it with Ctrl-C."
        )


@contextmanager
def sandbox_process(port: int, database: str) -> Iterator["subprocess.Popen[str]"]:
    """Run the sandbox in a process of its own, with settings of its own.

    Raises:
        CommandError: it cannot be served.
    """
    process = subprocess.Popen(  # noqa: S603 - our own module, by our own interpreter
        # With -P and PYTHONPATH it finds its modules where this process finds them.
        [
            sys.executable,
            "-P",
            "-c",
            PROGRAM,
            str(port),
            str(Path(database).resolve()) if database else "",
        ],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        # Ctrl-C shall reach this process only, which then ends the other one.
        start_new_session=True,
        creationflags=getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0),
    )
    try:
        answer = process.stdout.readline().strip()  # type: ignore[union-attr]  # it is a pipe
        if answer != READY:
            raise CommandError(answer or "The sandbox could not be started, see above.")
        yield process
    finally:
        # Its standard input ends, so it ends by itself.
        process.communicate()
