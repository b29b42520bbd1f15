from typing import Any, TextIO

from django.core.exceptions import ImproperlyConfigured
from django.core.management.base import CommandError, CommandParser
from django.db import Error, connections, router

from ...models import OpenRouterKey
from ...rotation import BATCH_SIZE, RotationCounts, count_keys, rotate_keys
from ..base import OpenRouterCommand, refused, stopped
from ..progress import Progress


class Command(OpenRouterCommand):
    help = (
        "Re-encrypt every stored key with the newest encryption key. "
        "Can be stopped at any time and started again."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--database",
            choices=tuple(connections),
            help="The database to work on. Default: the one to which keys are written.",
        )
        parser.add_argument(
            "--batch-size",
            type=int,
            default=BATCH_SIZE,
            metavar="NUMBER",
            help="How many rows to read and to store at a time. Default: %(default)s.",
        )
        parser.add_argument(
            "--dry-run", action="store_true", help="Count what would be done, and write nothing."
        )

    def handle(
        self,
        *args: Any,
        database: str | None,
        batch_size: int,
        dry_run: bool,
        verbosity: int,
        stderr: TextIO | None = None,
        **options: Any,
    ) -> None:
        if batch_size < 1:
            raise CommandError("--batch-size must be 1 or more.")
        using = database or router.db_for_write(OpenRouterKey)
        counts, trouble = RotationCounts(), None
        try:
            with Progress(count_keys(using), verbosity=verbosity, stream=stderr) as progress:
                for batch in rotate_keys(using, batch_size=batch_size, dry_run=dry_run):
                    counts = counts.plus(batch)
                    progress.advance(sum(batch))
        except ImproperlyConfigured as error:
            raise CommandError(f"{error} Nothing was changed.") from error
        except Error as error:
            trouble = refused(error)
        except KeyboardInterrupt:
            trouble = stopped("What was counted is done, and no key is lost.")
        if verbosity:
            self.report(*_lines(counts, dry_run=dry_run))
        if trouble is None and counts.unreadable:
            trouble = CommandError(
                f"No encryption key opens {counts.unreadable:,} of the stored keys. If one is "
                "missing at the end of FERNET_KEYS, put it back and run this command again. "
                "Otherwise their users have to connect again."
            )
        if trouble is not None:
            raise trouble


def _lines(counts: RotationCounts, *, dry_run: bool) -> list[str]:
    return [
        f"{'To be re-encrypted' if dry_run else 'Re-encrypted'}: {counts.rotated:,}",
        f"Already on the newest key: {counts.newest:,}",
        f"Unreadable, left as they are: {counts.unreadable:,}",
        f"Changed by somebody else meanwhile: {counts.changed:,}",
    ]
