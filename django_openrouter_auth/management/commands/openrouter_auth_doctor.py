from typing import Any

from django.core.management.base import CommandError, CommandParser

from ...conf import app_settings
from ...doctor import FAILED, NEWEST_KEYS, OK, WARNING, Finding, callback_url, examine
from ..base import OpenRouterCommand


class Command(OpenRouterCommand):
    help = "Print the callback URL and examine what could keep people from connecting."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--offline", action="store_true", help="Do not ask OpenRouter; leave the clock out."
        )
        parser.add_argument(
            "--all-keys",
            action="store_true",
            help=f"Decrypt every stored key. Default: the newest {NEWEST_KEYS}.",
        )

    def handle(
        self, *args: Any, offline: bool, all_keys: bool, verbosity: int, **options: Any
    ) -> None:
        if verbosity:
            self.report(f"Callback URL: {_callback_url()}")
            if app_settings.SITE_URL is None:
                self.report("Its scheme and HOST are those of each request.")
        counts = dict.fromkeys((OK, WARNING, FAILED), 0)
        for title, finding in examine(offline=offline, all_keys=all_keys):
            counts[finding.level] += 1
            if verbosity or finding.level == FAILED:
                self.report(self._line(title, finding))
        if verbosity and offline:
            self.report("skipped  OpenRouter, clock: --offline.")
        if counts[FAILED]:
            raise CommandError(
                f"{counts[FAILED]} of {sum(counts.values())} examinations failed. People may not "
                "be able to connect."
            )
        if verbosity:
            self.report(f"{counts[OK]} ok, {counts[WARNING]} with a warning.")

    def _line(self, title: str, finding: Finding) -> str:
        paint = {OK: self.style.SUCCESS, WARNING: self.style.WARNING, FAILED: self.style.ERROR}
        # Padded before it is painted: colours count as characters.
        line = f"{paint[finding.level](f'{finding.level:<8}')} {title}: {finding.text}"
        return f"{line} Fix: {finding.fix}" if finding.fix else line


def _callback_url() -> str:
    try:
        return callback_url()
    # Whatever a site's URLs raise; the examination of the URLs says what.
    except Exception:  # noqa: BLE001 - of a site's URLs
        return "unknown, see below."
