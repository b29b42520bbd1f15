"""Mutants by mutmut 3.8.1, with what it leaves out by itself: decorated functions.

mutmut copies a function once for each mutant, decorators included: a property in place of a
function, a second registration. So it passes decorated functions over, and most of ours that matter
are decorated (``@sensitive_variables()``). Here only the function that chooses a mutant gets the
decorators. What is replaced is internal to mutmut, hence the exact version.
"""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import libcst as cst
from mutmut.mutation import file_mutation

# What these are given is prose: the catalogues' own tests compare the first six, and people read
# the others. Tests that repeat a sentence would only have to be changed together with it.
TRANSLATED = {"_", "gettext", "gettext_lazy", "ngettext", "pgettext", "npgettext", "pgettext_lazy"}
LOGGED = {"debug", "info", "warning", "error", "log"}
RAISED = ("Error", "Configured", "InvalidURL", "stopped")
REPORTED = {"Error", "Warning", "Info"}  # of Django's system checks
SPOKEN = {"help", "hint", "metavar"}  # keyword arguments, of whatever call

Arrangement = tuple[Sequence[Any], Sequence[Any], Sequence[Any], Sequence[str]]

upstream_skip = file_mutation.MutationVisitor._skip_node_and_children
upstream_create = file_mutation.MutationVisitor._create_mutations
upstream_arrangement = file_mutation.function_trampoline_arrangement


def patch() -> None:
    """Change mutmut where it leaves out too much, or too little."""
    visitor: Any = file_mutation.MutationVisitor
    visitor._skip_node_and_children = skip
    visitor._create_mutations = create_mutations
    changed: Any = file_mutation
    changed.function_trampoline_arrangement = arrange


def skip(visitor: Any, node: cst.CSTNode) -> bool:
    """Look into decorated functions, yet never into their decorators."""
    if isinstance(node, cst.FunctionDef):
        node = node.with_changes(decorators=())
    skipped: bool = upstream_skip(visitor, node)
    return skipped


def arrange(
    function: cst.FunctionDef, mutants: Iterable[Any], class_name: str | None
) -> Arrangement:
    """Give decorators to the function that chooses a mutant, and to none of the mutants."""
    if _is_bound_to_class(function):
        arranged: Arrangement = upstream_arrangement(function, mutants, class_name)
        return arranged
    bare = function.with_changes(decorators=())
    chooser: Any
    declared, [chooser, *copies], assigned, names = upstream_arrangement(bare, mutants, class_name)
    decorated = chooser.with_changes(decorators=[*function.decorators, *chooser.decorators])
    return declared, [decorated, *copies], assigned, names


def _is_bound_to_class(function: cst.FunctionDef) -> bool:
    names = [getattr(item.decorator, "value", None) for item in function.decorators]
    return "staticmethod" in names or "classmethod" in names


def create_mutations(visitor: Any, node: cst.CSTNode) -> None:
    """Leave out mutations of prose."""
    prose = visitor.__dict__.setdefault("prose", set())
    if isinstance(node, cst.Call):
        prose.update(find_prose(node))
    before = len(visitor.mutations)
    upstream_create(visitor, node)
    made = visitor.mutations[before:]
    visitor.mutations[before:] = [one for one in made if not changes_prose(one, prose)]


def find_prose(call: cst.Call) -> Iterator[cst.CSTNode]:
    """Yield the texts among the arguments of a call that are prose."""
    name = call.func.attr if isinstance(call.func, cst.Attribute) else call.func
    called = name.value if isinstance(name, cst.Name) else ""
    is_logger = isinstance(call.func, cst.Attribute) and call.func.deep_equals(
        cst.Attribute(cst.Name("logger"), cst.Name(called))
    )
    for argument in call.args:
        keyword = argument.keyword.value if argument.keyword else ""
        if (
            called in TRANSLATED
            or (is_logger and called in LOGGED)
            or (called.endswith(RAISED) and not keyword)
            or (called in REPORTED and keyword != "id")
            or keyword in SPOKEN
        ):
            yield from _texts(argument.value)


def _texts(node: cst.CSTNode) -> Iterator[cst.CSTNode]:
    if isinstance(node, (cst.SimpleString, cst.FormattedString)):
        yield node
    elif isinstance(node, cst.ConcatenatedString):
        yield node
        yield from _texts(node.left)
        yield from _texts(node.right)


def changes_prose(mutation: Any, prose: set[cst.CSTNode]) -> bool:
    """Return whether a mutation changes a text that is prose, or takes it away from its call."""
    if mutation.original_node in prose:
        return True
    if not isinstance(mutation.original_node, cst.Call):
        return False
    kept = getattr(mutation.mutated_node, "args", ())
    gone = [argument.value for argument in mutation.original_node.args if argument not in kept]
    return any(value in prose for value in gone)


def count_prose(path: Path) -> int:
    """Return how many mutations of a module were left out."""
    visitor: Any = file_mutation.MutationVisitor
    counts = []
    for way in (upstream_create, create_mutations):
        visitor._create_mutations = way
        _, made, _, _ = file_mutation.create_mutations(str(path), path.read_text("utf-8"))
        counts.append(sum(one.contained_by_top_level_function is not None for one in made))
    everything, kept = counts
    return everything - kept
