"""What the commands share."""

import io
import os
import sys
from pathlib import Path
from typing import Any, TextIO

from django.core.management.base import BaseCommand


class OpenRouterCommand(BaseCommand):
    """A command that does its work whether or not anybody reads what it prints."""

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
