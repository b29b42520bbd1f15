"""The code blocks of the documentation, for the tests that run them.

A test module of a guide takes each block of its page while it is imported, and its tests run what
was taken. A block that cannot run says why, in a comment before it::

    .. not run: it needs a build of React.

    .. code-block:: jsx
"""

import re
import textwrap
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

DOCS = Path(__file__).resolve().parent.parent / "docs"
BLOCK = re.compile(
    r"(?:^ *\.\. not run: (?P<reason>.+(?:\n   +\S.*)*)\n\n)?"
    r"^(?P<indent> *)\.\. code-block:: (?P<language>\S+)\n(?:(?P=indent)   :.*\n)*\n"
    r"(?P<text>(?:(?P=indent)   .*\n|\n)+)",
    re.MULTILINE,
)


@dataclass
class Block:
    """A code block: its language, its text and, if it does not run, the reason."""

    language: str
    text: str
    reason: str = ""

    def run(self, **names: Any) -> dict[str, Any]:
        """Execute a block of Python below the names that its file already has."""
        names.setdefault("__name__", "docs")
        exec(compile(self.text, "docs", "exec"), names)
        return names


@dataclass
class Page:
    """A page of the documentation, by its path without suffix: ``howto/htmx``."""

    name: str
    taken: list[Block] = field(default_factory=list)

    def text(self) -> str:
        """Return the page as it was written."""
        return (DOCS / f"{self.name}.rst").read_text()

    def blocks(self) -> list[Block]:
        """Return the blocks in their order."""
        return [
            Block(
                match["language"],
                textwrap.dedent(match["text"]).strip() + "\n",
                " ".join((match["reason"] or "").split()),
            )
            for match in BLOCK.finditer(self.text())
        ]

    def take(self, first_line: str) -> Block:
        """Return the one block that begins with a line, such as ``# views.py``."""
        (found,) = (b for b in self.blocks() if b.text.splitlines()[0].strip() == first_line)
        assert not found.reason, "it says that it does not run"
        self.taken.append(found)
        return found

    def forgotten(self) -> list[Block]:
        """Return the blocks that nobody has taken and that give no reason."""
        return [block for block in self.blocks() if not block.reason and block not in self.taken]
