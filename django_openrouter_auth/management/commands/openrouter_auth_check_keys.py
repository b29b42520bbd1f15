from contextlib import closing
from datetime import timedelta
from typing import Any, TextIO

from django.core.management.base import CommandError, CommandParser
from django.db import Error

from ...bulk_introspection import (
    ACCEPTED,
    NOT_CHECKED,
    REJECTED,
    SKIPPED,
    UNREADABLE,
    BulkCheck,
    GaveUp,
)
from ..base import OpenRouterCommand, refused, stopped
from ..progress import Progress

MOST_HOURS = 24 * 365
MOST_WORKERS = 64
LINES = {
    ACCEPTED: "Accepted by OpenRouter",
    REJECTED: "Rejected by OpenRouter",
    UNREADABLE: "Unreadable, not asked about",
    NOT_CHECKED: "Could not be checked, left as they are",
    SKIPPED: "Just being checked by somebody else, or gone",
}


class Command(OpenRouterCommand):
    help = (
        "Ask OpenRouter about every key that was not checked for some time. "
        "Can be stopped at any time and started again."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--stale-after",
            type=float,
            default=24,
            metavar="HOURS",
            help="Check keys that were last checked this many hours ago. Default: %(default)s.",
        )
        parser.add_argument(
            "--limit", type=int, metavar="NUMBER", help="Check this many keys at most."
        )
        parser.add_argument(
            "--workers",
            type=int,
            default=8,
            metavar="NUMBER",
            help="How many keys to ask about at the same time. Default: %(default)s.",
        )

    def handle(
        self,
        *args: Any,
        stale_after: float,
        limit: int | None,
        workers: int,
        verbosity: int,
        stderr: TextIO | None = None,
        **options: Any,
    ) -> None:
        if not 0 <= stale_after <= MOST_HOURS:
            raise CommandError(f"--stale-after must be from 0 to {MOST_HOURS} hours.")
        if limit is not None and limit < 1:
            raise CommandError("--limit must be 1 or more.")
        if not 1 <= workers <= MOST_WORKERS:
            raise CommandError(f"--workers must be from 1 to {MOST_WORKERS}.")
        check = BulkCheck(timedelta(hours=stale_after), limit=limit, workers=workers)
        trouble = _run(check, verbosity, stderr)
        if verbosity:
            self.report(*(f"{line}: {check.counts[end]:,}" for end, line in LINES.items()))
        if trouble is None and check.counts[NOT_CHECKED]:
            trouble = CommandError(
                f"Keys that could not be checked: {check.counts[NOT_CHECKED]:,}. They stay as they "
                "are. Run the command again later."
            )
        if trouble is not None:
            raise trouble


def _run(check: BulkCheck, verbosity: int, stderr: TextIO | None) -> CommandError | None:
    """Check the keys and return what kept it from getting to the end."""
    try:
        with (
            Progress(check.total(), verbosity=verbosity, stream=stderr) as progress,
            closing(check.run()) as run,
        ):
            for number in run:
                progress.advance(number)
    except GaveUp as reason:
        return CommandError(f"{reason} Run the command again later for the rest.")
    except Error as error:
        return refused(error)
    except KeyboardInterrupt:
        return stopped("What OpenRouter said so far is stored.")
    return None
