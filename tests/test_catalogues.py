"""The catalogues as translators write them: complete, true to their placeholders, compiled."""

import os
import re
import shutil
import subprocess
import sys
from collections import Counter
from functools import cache
from pathlib import Path

import django
import pytest
from babel.messages.catalog import Catalog, Message
from babel.messages.pofile import read_po

from .test_translations import LANGUAGES, originals, read_compiled, texts, translations

pytestmark = pytest.mark.translations

# The tree, not what is installed: a wheel has the compiled catalogues only.
PACKAGE = Path(__file__).resolve().parent.parent / "django_openrouter_auth"
LOCALE = PACKAGE / "locale"
PLACEHOLDER = re.compile(r"%\((\w+)\)[sd]")
ELEMENT = re.compile(r"</?\w+[^>]*>")


@cache
def catalogue(language: str) -> Catalog:
    """The texts of a language, as its translators wrote them."""
    with (LOCALE / language / "LC_MESSAGES" / "django.po").open("rb") as file:
        return read_po(file, locale=language, abort_invalid=True)


def names(found: Catalog) -> set[tuple[object, ...]]:
    """What identifies each text: context, singular, plural."""
    return {(message.context, *originals(message)) for message in texts(found)}


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    """All texts that the code and the templates have now."""
    if not shutil.which("xgettext"):
        reason = "no gettext: xgettext is not on the PATH"
        # On CI a text that nobody translated would go unseen.
        (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)(reason)
    copy = tmp_path_factory.mktemp("source") / "package"
    shutil.copytree(PACKAGE, copy, ignore=shutil.ignore_patterns("__pycache__", "locale"))
    (copy / "locale").mkdir()
    command = ["-m", "django", "makemessages", "--locale", "de", "--ignore", "sandbox"]
    # It needs no settings, and those of the tests are not in that folder.
    outside = {name: value for name, value in os.environ.items() if "DJANGO" not in name}
    subprocess.run([sys.executable, *command], cwd=copy, env=outside, check=True)
    with (copy / "locale" / "de" / "LC_MESSAGES" / "django.po").open("rb") as file:
        return read_po(file)


@pytest.mark.parametrize("language", LANGUAGES)
def test_catalogue_is_complete(source, language):
    """A catalogue has every text of code and templates, and no other."""
    assert names(catalogue(language)) == names(source)
    assert not catalogue(language).obsolete


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_text_is_translated(language):
    """Each text has a translation in every plural form, and nobody has doubts about it."""
    assert [
        message
        for message in texts(catalogue(language))
        if message.fuzzy or not all(translations(message))
    ] == []


def is_true_to_its_original(message: Message) -> bool:
    """Return whether a translation has the placeholders and elements of its original.

    A plural form that stands for one number only may say it in words.
    """
    original = originals(message)[-1]
    expected = set(PLACEHOLDER.findall(original))
    for text in translations(message):
        found = set(PLACEHOLDER.findall(text))
        if found != expected and (not found < expected or not message.pluralizable):
            return False
        if Counter(ELEMENT.findall(text)) != Counter(ELEMENT.findall(original)):
            return False
        # A percent sign of its own would break the text when it is filled in.
        if expected and "%" in PLACEHOLDER.sub("", text).replace("%%", ""):
            return False
    return True


@pytest.mark.parametrize("language", LANGUAGES)
def test_placeholders_are_kept(language):
    """Each translation has the placeholders and elements of its original."""
    assert [m for m in texts(catalogue(language)) if not is_true_to_its_original(m)] == []


@pytest.mark.parametrize("language", LANGUAGES)
def test_plural_forms(language):
    """A catalogue counts as Django's own does."""
    folder = Path(django.__file__).parent / "conf" / "locale" / language
    djangos = read_compiled(folder / "LC_MESSAGES" / "django.mo")
    assert catalogue(language).plural_forms == djangos.plural_forms


@pytest.mark.parametrize("language", LANGUAGES)
def test_catalogue_is_compiled(language):
    """The compiled catalogue, which is what a site reads, has the texts of the written one."""
    found = read_compiled(LOCALE / language / "LC_MESSAGES" / "django.mo")
    assert by_name(found) == by_name(catalogue(language))


def by_name(found: Catalog) -> dict[tuple[object, ...], tuple[str, ...]]:
    """The translations of a catalogue by what identifies each."""
    return {(m.context, *originals(m)): translations(m) for m in texts(found)}
