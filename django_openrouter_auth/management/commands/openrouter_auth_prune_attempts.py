from datetime import timedelta
from typing import Any

from django.core.management.base import CommandError, CommandParser
from django.db import Error

from ...pruning import delete_in_batches, find_leftovers
from ..base import OpenRouterCommand

DEFAULT_DAYS = 30
MOST_DAYS = 36500
DEFAULT_BATCH = 500
LARGEST_BATCH = 10000


class Command(OpenRouterCommand):
    help = "Delete attempts to connect that nobody can finish any more, and old records of others."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--older-than",
            type=int,
            default=DEFAULT_DAYS,
            metavar="DAYS",
            help="Keep the record of an attempt that ended this long after its start. "
            f"Default: {DEFAULT_DAYS}.",
        )
        parser.add_argument(
            "--batch-size",
            type=int,
            default=DEFAULT_BATCH,
            metavar="NUMBER",
            help=f"How many rows one statement deletes. Default: {DEFAULT_BATCH}.",
        )
        parser.add_argument(
            "--dry-run", action="store_true", help="Only count what would be deleted."
        )

    def handle(
        self,
        *args: Any,
        older_than: int,
        batch_size: int,
        dry_run: bool,
        verbosity: int,
        **options: Any,
    ) -> None:
        if not 0 <= older_than <= MOST_DAYS:
            raise CommandError(f"--older-than must be from 0 to {MOST_DAYS} days.")
        if not 1 <= batch_size <= LARGEST_BATCH:
            raise CommandError(f"--batch-size must be from 1 to {LARGEST_BATCH}.")
        try:
            counts = {
                kind: found.count() if dry_run else delete_in_batches(found, batch_size)
                for kind, found in find_leftovers(timedelta(days=older_than)).items()
            }
        except Error as error:
            raise CommandError(
                "The database refused, so not all that could be deleted was. Run migrate if the "
                "tables are missing, then run this again. --traceback shows what it said."
            ) from error
        if verbosity:
            done = "Would delete" if dry_run else "Deleted"
            numbers = ", ".join(f"{count} {kind}" for kind, count in counts.items())
            self.report(f"{done} attempts: {numbers}.")
