from datetime import timedelta
from typing import Any

from django.core.management.base import CommandError, CommandParser
from django.db import Error

from ...pruning import delete_in_batches, find_leftovers
from ..base import OpenRouterCommand, refused, stopped

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
            "Default: %(default)s.",
        )
        parser.add_argument(
            "--batch-size",
            type=int,
            default=DEFAULT_BATCH,
            metavar="NUMBER",
            help="How many rows one statement deletes. Default: %(default)s.",
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
        leftovers = find_leftovers(timedelta(days=older_than))
        counts, trouble = dict.fromkeys(leftovers, 0), None
        try:
            for kind, found in leftovers.items():
                for number in [found.count()] if dry_run else delete_in_batches(found, batch_size):
                    counts[kind] += number
        except Error as error:
            trouble = refused(error)
        except KeyboardInterrupt:
            trouble = stopped("What was counted is done.")
        if verbosity:
            done = "Would delete" if dry_run else "Deleted"
            numbers = ", ".join(f"{count:,} {kind}" for kind, count in counts.items())
            self.report(f"{done} attempts: {numbers}.")
        if trouble is not None:
            raise trouble
