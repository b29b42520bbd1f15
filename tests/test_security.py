"""The page on security: each threat of the catalogue, with tests that exist and are run."""

import ast
import re
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PAGE = (ROOT / "docs" / "security.rst").read_text()
NUMBERS = [f"T{number:02}" for number in range(1, 31)]
FIELDS = ["By", "Guards", "Remains", "Tests"]
ATTACKERS = re.findall(
    r"^(\w.*)\n   \w",
    PAGE.partition("Against whom\n")[2].partition(".. _threats:")[0],
    re.MULTILINE,
)


def sections():
    """Yield number, title and text of each threat, as the page has them."""
    heading = re.compile(r"^(T\d\d) (.+)\n\^+\n", re.MULTILINE)
    threats = PAGE.partition("\nThreats\n")[2].partition("\nWho cannot get at a key\n")[0]
    _, *parts = heading.split(threats)
    return list(zip(parts[::3], parts[1::3], parts[2::3], strict=True))


every_threat = pytest.mark.parametrize(
    "text", [text for _, _, text in sections()], ids=[number for number, _, _ in sections()]
)


def named_tests(text):
    """Return the tests that a text names, as ``(file, name)``."""
    return re.findall(r"``(tests/[\w/]+\.py)::([\w:]+)``", text)


@cache
def names_in(path):
    """The names of the tests that a file has, those in classes as ``TestClass::test_name``."""
    names = set()
    for node in ast.parse((ROOT / path).read_text()).body:
        if isinstance(node, ast.ClassDef):
            names |= {f"{node.name}::{one.name}" for one in node.body if is_test(one)}
        elif is_test(node):
            names.add(node.name)
    return names


def is_test(node):
    """Return whether pytest takes a statement for a test."""
    return isinstance(node, ast.FunctionDef) and node.name.startswith("test_")


def test_every_threat_is_there():
    """The page has the threats from T01 to T30, each once and in order, and each with a title."""
    assert [number for number, _, _ in sections()] == NUMBERS
    assert len({title for _, title, _ in sections()}) == len(NUMBERS)


@every_threat
def test_threat_is_told_whole(text):
    """A threat says what happens, by whom, what guards, what remains, and what tests it."""
    what, *fields = re.split(r"^:(\w+):", text, flags=re.MULTILINE)
    assert what.strip()
    assert fields[::2] == FIELDS
    assert all(value.strip() for value in fields[1::2])
    attackers = {name.lower() for name in ATTACKERS}
    assert {name.strip().lower() for name in fields[1].split(",")} <= attackers


@every_threat
def test_threat_has_tests(text):
    """Each threat names at least one test, each once, and every one exists."""
    named = named_tests(text)
    assert named
    assert len(named) == len(set(named)) == text.count("tests/")
    assert [(path, name) for path, name in named if name not in names_in(path)] == []


def test_no_test_is_named_elsewhere_in_vain():
    """Whatever test the page names, in a threat or not, exists."""
    assert [name for path, name in named_tests(PAGE) if name not in names_in(path)] == []


def test_threats_that_are_referred_to_exist():
    """A number in a text, of the page or of a test's docstring, is that of a threat."""
    told = [PAGE, *(path.read_text() for path in (ROOT / "tests").rglob("test_*.py"))]
    numbers = {number for text in told for number in re.findall(r"\bT\d\d\b", text)}
    assert numbers <= set(NUMBERS)


def test_every_attacker_has_a_threat():
    """Whoever is listed as an attacker does something on the page."""
    by = " ".join(re.findall(r"^:By: (.+)$", PAGE, re.MULTILINE)).lower()
    assert len(ATTACKERS) == 9
    assert [name for name in ATTACKERS if name.lower() not in by] == []
