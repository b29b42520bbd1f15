"""The list of mutants that are known to survive, each with the reason why it may."""

import tomllib
from collections import Counter
from pathlib import Path
from typing import NamedTuple

from mutmut.mutation.diff_apply import get_diff_for_mutant

LIST = Path(__file__).with_name("survivors.toml")


class Survivor(NamedTuple):
    """A mutant that no test kills: its function, and the lines that it takes away and adds."""

    function: str
    change: str


def describe(name: str, path: Path) -> Survivor:
    """Return a mutant by what it changes, as its number changes with every edit."""
    _, _, mangled = name.partition("__mutmut_")[0].rpartition(".")
    # x_function or xǁClassǁmethod
    function = mangled.split("ǁ")[1:] or [mangled.removeprefix("x_")]
    lines = get_diff_for_mutant(name, path=path).split("\n")[2:]
    changed = [line for line in lines if line.startswith(("-", "+"))]
    return Survivor(".".join([path.stem, *function]), "\n".join(changed))


def read_list() -> "Counter[Survivor]":
    """Return the mutants that are listed."""
    with LIST.open("rb") as stream:
        entries = tomllib.load(stream).get("survivor", [])
    return Counter(
        Survivor(entry["function"], change.strip("\n"))
        for entry in entries
        for change in entry["changes"]
    )
