"""Which tests run which lines of the functions that have mutants."""

import ast
import gc
import sys
import textwrap
from collections.abc import Iterator
from itertools import zip_longest
from pathlib import Path
from types import CodeType, FunctionType
from typing import Any

from mutmut.mutation.data import MutantLineSpans
from mutmut.mutation.diff_apply import generated_function_names

# Since Python 3.12; checkers of types on 3.11 do not know it.
monitoring: Any = vars(sys)["monitoring"]
TOOL = 4  # of those that sys.monitoring leaves to anybody

Line = tuple[str, int]
"""File and name of a function, and the number of the line, counted from its ``def``."""


class Observer:
    """Note the lines that run in the unmutated copies of functions."""

    def __init__(self) -> None:
        self.lines: set[Line] = set()
        self.functions: dict[CodeType, tuple[str, int]] = {}
        monitoring.use_tool_id(TOOL, "mutants")
        monitoring.register_callback(TOOL, monitoring.events.LINE, self._note)
        for found in gc.get_objects():
            if isinstance(found, FunctionType) and "__mutmut_orig" in found.__name__:
                whole = found.__code__
                name = f"{Path(whole.co_filename).name} {found.__name__}"
                for code in _nested(whole):
                    self.functions[code] = (name, whole.co_firstlineno)
                    monitoring.set_local_events(TOOL, code, monitoring.events.LINE)

    def _note(self, code: CodeType, number: int) -> Any:
        name, first = self.functions[code]
        self.lines.add((name, number - first))
        return monitoring.DISABLE

    def begin(self) -> None:
        """Forget what was noted."""
        self.lines.clear()
        monitoring.restart_events()


def _nested(code: CodeType) -> Iterator[CodeType]:
    yield code
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _nested(constant)


class Lines:
    """The lines of one module's unmutated functions that have to run for a mutant to matter."""

    def __init__(self, path: Path) -> None:
        self.file = path.name
        self.spans = MutantLineSpans.load(path)
        self.text = (Path("mutants") / path).read_text("utf-8").splitlines()

    def of(self, name: str) -> list[Line]:
        """Return the lines of the statement that a mutant changes."""
        original, mutant = generated_function_names(name)
        before = self._source(original)
        after = [line.replace(mutant, original) for line in self._source(mutant)]
        pairs = enumerate(zip_longest(before, after), start=1)
        changed = next(number for number, (one, other) in pairs if one != other)
        [function] = ast.parse("\n".join(before)).body
        assert isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef)
        # What is in no statement, a default or an `else`, matters wherever the function is called.
        whole = range(function.lineno, len(before) + 1)
        around = next((lines for lines in _statements(function) if changed in lines), whole)
        # Where Python begins to count: static and class methods keep their decorator.
        [first, *_] = sorted([function.lineno, *(item.lineno for item in function.decorator_list)])
        return [(f"{self.file} {original}", number - first) for number in around]

    def _source(self, name: str) -> list[str]:
        assert self.spans is not None
        span = self.spans.span_by_function_name[name]
        return textwrap.dedent("\n".join(self.text[span.start - 1 : span.end])).split("\n")


def _statements(function: ast.stmt) -> Iterator[range]:
    """Yield the lines of each statement inside a function, without those of its blocks."""
    for node in ast.walk(function):
        if isinstance(node, (ast.stmt, ast.ExceptHandler)) and node is not function:
            block = getattr(node, "body", None)
            end = block[0].lineno - 1 if block else node.end_lineno or node.lineno
            yield range(node.lineno, max(end, node.lineno) + 1)
