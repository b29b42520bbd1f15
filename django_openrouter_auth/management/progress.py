"""How far a long command is."""

import sys
import time
from contextlib import suppress
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, TextIO

if TYPE_CHECKING:
    from tqdm import tqdm

INTERVAL = 10.0


class Progress:
    """Show progress: a bar on a terminal where tqdm is installed, else a line now and then.

    Args:
        total: how many steps there are, as far as is known.
        unit: what a step is, in the plural.
        verbosity: the option of the command; 0 shows nothing.
        stream: where to show it; ``None`` means stderr, as it is on entering.
    """

    def __init__(
        self,
        total: int,
        *,
        unit: str = "keys",
        verbosity: int = 1,
        stream: TextIO | None = None,
    ) -> None:
        self.total, self.unit, self.verbosity = total, unit, verbosity
        self.done = 0
        self._stream = stream
        self._bar: tqdm[Any] | None = None
        self._next_line_at = 0.0

    def __enter__(self) -> Self:
        if self.verbosity:
            self._stream = self._stream or sys.stderr
            self._bar = self._make_bar()
        else:
            self._stream = None
        self._next_line_at = time.monotonic() + INTERVAL
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._bar is not None:
            self._bar.close()

    def advance(self, count: int = 1) -> None:
        """Count steps that are done."""
        self.done += count
        if self._bar is not None:
            self._bar.update(count)
        elif self._stream is not None and time.monotonic() >= self._next_line_at:
            self._next_line_at = time.monotonic() + INTERVAL
            # Work goes on when nobody reads about it any more.
            with suppress(OSError):
                print(f"{self.done:,} of {self.total:,} {self.unit}", file=self._stream, flush=True)

    def _make_bar(self) -> "tqdm[Any] | None":
        if self._stream is None or not self._stream.isatty():
            return None
        try:
            from tqdm import tqdm  # noqa: PLC0415 - the optional extra "progress"
        except ImportError:
            return None
        return tqdm(total=self.total, unit=f" {self.unit}", file=self._stream, dynamic_ncols=True)
