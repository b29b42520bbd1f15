"""What the commands share."""

import io
import os
import sys
from pathlib import Path
from typing import Any, TextIO

from django.core.management.base import BaseCommand, CommandError
from django.db import Error

INTERRUPTED = 130


def refused(error: Error) -> CommandError:
    """Return how a command ends whose database refused: what was done before stays done."""
    # The lines after the first may show the statement and the values of a row.
    reason = str(error).partition("\n")[0].rstrip(".")
    return CommandError(
        f"The database refused: {reason}. What was counted is done. "
        'Run "manage.py migrate" if its tables are missing, then run this command again.'
    )


def stopped(text: str) -> CommandError:
    """Return how a command ends after Ctrl-C, with the exit code that shells expect.

    Args:
        text: what stays done.
    """
    return CommandError(
        f"Stopped. {text} Run the command again for the rest.", returncode=INTERRUPTED
    )


class OpenRouterCommand(BaseCommand):
    """A command that does its work whether or not anybody reads what it prints."""

    # Those are for deployments: before each run from cron their warnings would be mailed.
    requires_system_checks = ()

    def __init__(
        self, stdout: TextIO | None = None, stderr: TextIO | None = None, **options: Any
    ) -> None:
        # Python has no sys.stdout at all where the shell closed it (>&-).
        super().__init__(
            stdout or sys.stdout or io.StringIO(), stderr or sys.stderr or io.StringIO(), **options
        )

    def report(self, *lines: str) -> None:
        """Print lines at once, or nowhere when the reader has gone (``| head``)."""
        try:
            self.stdout.write("\n".join(lines))
            self.stdout.flush()
        except BrokenPipeError:
            # Python flushes what is left when it ends, and would complain then.
            with Path(os.devnull).open("wb") as nowhere:
                os.dup2(nowhere.fileno(), self.stdout.fileno())
