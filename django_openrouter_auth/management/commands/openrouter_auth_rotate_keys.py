from typing import Any

from django.core.exceptions import ImproperlyConfigured
from django.core.management.base import CommandError, CommandParser
from django.db import Error, connections, router

from ...models import OpenRouterKey
from ...rotation import BATCH_SIZE, RotationCounts, count_keys, rotate_keys
from ..base import OpenRouterCommand
from ..progress import Progress

INTERRUPTED = 130


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
            help="How many rows to read and to store at a time. Default: %(default)s.",
        )
        parser.add_argument(
            "--dry-run", action="store_true", help="Count what would be done, and write nothing."
        )

    def handle(self, **options: Any) -> None:
        if options["batch_size"] < 1:
            raise CommandError("--batch-size must be 1 or more.")
        using = options["database"] or router.db_for_write(OpenRouterKey)
        verbosity, dry_run = options["verbosity"], options["dry_run"]
        counts, trouble = RotationCounts(), None
        try:
            with Progress(
                count_keys(using), verbosity=verbosity, stream=options.get("stderr")
            ) as progress:
                batches = rotate_keys(using, batch_size=options["batch_size"], dry_run=dry_run)
                for batch in batches:
                    counts = counts.plus(batch)
                    progress.advance(sum(batch))
        except ImproperlyConfigured as error:
            raise CommandError(f"{error} Nothing was changed.") from error
        except Error as error:
            reason = str(error).partition("\n")[0]
            trouble = CommandError(
                f'The database "{using}" refused: {reason}. What was counted is done. '
                'Run "manage.py migrate" if its tables are missing, then run this command again.'
            )
        except KeyboardInterrupt:
            trouble = CommandError(
                "Stopped. What was counted is done, and no key is lost. "
                "Run the command again for the rest.",
                returncode=INTERRUPTED,
            )
        if verbosity > 0 and (trouble is None or any(counts)):
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
