"""The translations in use: every visible word of every page comes from a catalogue."""

import re
from functools import cache
from html.parser import HTMLParser
from pathlib import Path

import django
import pytest
from babel.messages.catalog import Catalog, Message
from babel.messages.mofile import read_mo, write_mo
from django.conf import settings as site_settings
from django.utils.translation import to_language

import django_openrouter_auth
from django_openrouter_auth.models import ConnectAttempt, OpenRouterKey

from .connecting import CODE, start
from .staff import ATTEMPTS, KEYS

LOCALE = Path(django_openrouter_auth.__file__).resolve().parent / "locale"
LANGUAGES = ("ar", "de", "es", "fr", "it", "ja", "pt_BR", "zh_Hans")


@cache
def compiled(language: str) -> Catalog:
    """The texts of a language, as a site reads them."""
    return read_compiled(LOCALE / language / "LC_MESSAGES" / "django.mo")


def read_compiled(path: Path) -> Catalog:
    """The texts of a compiled catalogue."""
    with path.open("rb") as file:
        found = read_mo(file)
    for message in found:
        # Babel 2.18 decodes the texts, and not their contexts.
        if isinstance(message.context, bytes):
            message.context = message.context.decode()
    return found


def texts(found: Catalog) -> list[Message]:
    """The texts of a catalogue, without its header."""
    return [message for message in found if message.id]


def originals(message: Message) -> tuple[str, ...]:
    """The English text, or its singular and its plural."""
    return (message.id,) if isinstance(message.id, str) else tuple(message.id)


def translations(message: Message) -> tuple[str, ...]:
    """The translation, or that of each plural form."""
    text = message.string or ""
    return (text,) if isinstance(text, str) else tuple(text)


def test_languages():
    """The languages are those that are promised."""
    assert {path.name for path in LOCALE.iterdir() if path.is_dir()} == set(LANGUAGES)


class VisibleText(HTMLParser):
    """Collects what people see or hear of a page, without what is data or a name."""

    DATA = ("code", "time", "style", "script", "bdi")
    SPOKEN = ("aria-label", "title", "alt", "placeholder")

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []
        self._open: list[str] = []

    def handle_starttag(self, tag, attrs):
        if tag not in {"meta", "link", "input", "br", "path", "hr", "img"}:
            self._open.append(tag)
        self.found += [value for name, value in attrs if name in self.SPOKEN and value]

    def handle_endtag(self, tag):
        while self._open and self._open.pop() != tag:
            pass

    def handle_data(self, data):
        if data.strip() and not set(self._open) & set(self.DATA):
            self.found.append(data.strip())


@pytest.fixture
def marked(settings, tmp_path):
    """German with a mark around every text of ours; Django's own are German."""
    folder = tmp_path / "de" / "LC_MESSAGES"
    folder.mkdir(parents=True)
    marked = Catalog(locale="de")
    for message in texts(compiled("de")):
        strings = [f"⟦{text}⟧" for text in originals(message)]
        string = tuple(strings) if len(strings) > 1 else strings[0]
        marked.add(message.id, string, context=message.context)
    with (folder / "django.mo").open("wb") as file:
        write_mo(file, marked)
    settings.LOCALE_PATHS = [tmp_path]
    settings.LANGUAGE_CODE = "de"


def untranslated(page: bytes) -> list[str]:
    """The visible texts of a page, or parts of them, that have letters and no mark."""
    reader = VisibleText()
    reader.feed(page.decode())
    # Elements inside of a text split it: marks are matched over all of them.
    everything = re.sub(r"sk-or-v1-\S+", "", " ".join(reader.found))
    while "⟦" in everything:
        everything = re.sub(r"⟦[^⟦⟧]*⟧", "", everything)
    return [word for word in re.findall(r"[^\W\d_]+", everything) if word != "OpenRouter"]


def visible_pages(browser) -> dict[str, list[str]]:
    """What is not translated on each page of the user, by path."""
    paths = ("", "connect/", "code/", "key/", "disconnect/")
    pages = {path: browser.get(f"/openrouter/{path}").content for path in paths}
    return {path: found for path, page in pages.items() if (found := untranslated(page))}


STATES = {
    "connected": {},
    "rejected": {"status": "rejected"},
    "unreadable": {"status": "unreadable"},
    "limited": {"limit": 10, "limit_remaining": 4, "is_limited": True, "limit_reset": "monthly"},
    "used up": {"limit": 10, "limit_remaining": 0, "is_limited": True},
    "in doubt": {"check_error": "provider_unavailable", "is_free_tier": True},
    "requested": {"requested": {"limit": "5", "key_label": "⟦x⟧", "usage_limit_type": "daily"}},
}


@pytest.mark.usefixtures("marked")
@pytest.mark.parametrize("state", STATES)
def test_pages_are_translated(state, browser, connected):
    """Every word of every page comes from the catalogue, in every state of the key."""
    OpenRouterKey.objects.update(**STATES[state])
    assert visible_pages(browser) == {}


@pytest.mark.usefixtures("marked")
def test_pages_without_a_key_are_translated(browser):
    """Every word of every page comes from the catalogue while nobody is connected."""
    assert visible_pages(browser) == {}


@pytest.mark.usefixtures("marked")
def test_messages_are_translated(browser, openrouter):
    """Every word of an outcome comes from the catalogue."""
    ways = [
        lambda: browser.get(start(browser).path, {"error": "access_denied"}),
        lambda: browser.get(start(browser).path, {"code": CODE}),
        lambda: browser.post("/openrouter/check/"),
        lambda: browser.post("/openrouter/key/", {"api_key": "x"}),
        lambda: browser.get(start(browser).path, {"code": CODE}),
        lambda: browser.post("/openrouter/disconnect/"),
    ]
    for way in ways:
        way()
        assert untranslated(browser.get("/openrouter/").content) == []


@pytest.mark.usefixtures("marked")
def test_message_about_a_lost_key_is_translated(browser, openrouter):
    """Every word comes from the catalogue where a key may be left over at OpenRouter."""
    openrouter.times_out(at="auth/keys")
    browser.get(start(browser).path, {"code": CODE})
    page = browser.get("/openrouter/").content
    assert b"https://openrouter.ai/settings/keys" in page
    assert untranslated(page) == []


def djangos_words(*apps: str) -> set[str]:
    """The German words of Django and of some of its apps."""
    root = Path(django.__file__).parent
    folders = [root / "conf", *(root / "contrib" / app for app in apps)]
    paths = [folder / "locale" / "de" / "LC_MESSAGES" / "django.mo" for folder in folders]
    found = [
        text for path in paths for one in texts(read_compiled(path)) for text in translations(one)
    ]
    return {word for text in found for word in re.findall(r"[^\W\d_]+", text)}


@pytest.mark.usefixtures("marked")
def test_admin_is_translated(staff, browser, connected):
    """Every word of the admin's pages is a datum, Django's own or from the catalogue."""
    attempt = ConnectAttempt.objects.get()
    data = {"ann", "root", "connected", "example", "org", "S", "UTC"}
    data |= {"Filter", "by"}  # of Django 6.1, above the dates, and not yet translated there
    pages = [
        KEYS,
        f"{KEYS}?_facets=True",
        f"{KEYS}{connected.pk}/change/",
        f"{KEYS}{connected.pk}/delete/",
        f"{KEYS}check/?pk={connected.pk}",
        f"{KEYS}disconnect/?pk={connected.pk}",
        f"{KEYS}set-key/",
        f"{KEYS}set-key/?user={connected.user_id}",
        ATTEMPTS,
        f"{ATTEMPTS}{attempt.pk}/change/",
    ]
    # Some of Django's newest texts have no German yet: those stand on its own pages as well.
    users = "/admin/auth/user/"
    own = [users, f"{users}?_facets=True", f"{users}{connected.user_id}/change/", "/admin/"]
    own.append(f"{users}{connected.user_id}/delete/")
    known = data | djangos_words("admin", "auth")
    known |= {word for page in own for word in untranslated(staff.get(page).content)}
    found = {page: set(untranslated(staff.get(page).content)) - known for page in pages}
    assert {page: words for page, words in found.items() if words} == {}


@pytest.mark.parametrize("language", LANGUAGES)
def test_pages_say_their_language(language, browser, settings):
    """A page is marked with its language and the direction of its script, and is translated."""
    settings.LANGUAGE_CODE = to_language(language)
    page = browser.get("/openrouter/").content.decode()
    assert f'<html lang="{to_language(language)}"' in page
    assert ('dir="rtl"' in page) == (language == "ar")
    (title,) = (
        translations(message)[0]
        for message in texts(compiled(language))
        if message.id == "Your OpenRouter connection"
    )
    assert title in page


def test_languages_are_djangos():
    """Django knows each language by the same name."""
    assert {to_language(language) for language in LANGUAGES} <= set(dict(site_settings.LANGUAGES))
