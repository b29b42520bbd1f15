"""The guide to languages."""

from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po
from django.conf import settings as site_settings
from django.template import engines

from tests.documented import Page
from tests.test_translations import LANGUAGES, compiled

PAGE = Page("howto/languages")
ONE = PAGE.take("# settings.py")
SEVERAL = PAGE.take("# settings.py, for several languages")
BASE = PAGE.take("{# templates/base.html #}")
OWN = PAGE.take("# locale/de/LC_MESSAGES/django.po")

TITLE = "Your OpenRouter connection"


def title(language):
    """The title of the connection page in a language."""
    return compiled(language).get(TITLE).string


def test_one_language(browser, settings):
    """One setting is enough for a language for everybody."""
    settings.LANGUAGE_CODE = ONE.run()["LANGUAGE_CODE"]
    assert title("de") in browser.get("/openrouter/").content.decode()


def test_language_of_each_visitor(browser, settings):
    """With the middleware visitors get what their browsers ask for, if the site offers it."""
    names = SEVERAL.run(MIDDLEWARE=list(site_settings.MIDDLEWARE))
    settings.MIDDLEWARE, settings.LANGUAGES = names["MIDDLEWARE"], names["LANGUAGES"]
    for asked, expected in (("ja", title("ja")), ("ar", title("ar")), ("de", TITLE)):
        page = browser.get("/openrouter/", headers={"Accept-Language": asked})
        assert expected in page.content.decode()


def test_base_template(settings):
    """The attributes of the base template follow the language."""
    template = engines["django"].from_string(BASE.text)
    settings.LANGUAGE_CODE = "ar"
    assert '<html lang="ar" dir="rtl">' in template.render()
    settings.LANGUAGE_CODE = "ja"
    assert '<html lang="ja">' in template.render()


def test_own_words(browser, settings, tmp_path):
    """A catalogue of the site wins over that of the package."""
    folder = tmp_path / "de" / "LC_MESSAGES"
    folder.mkdir(parents=True)
    with (folder / "django.mo").open("wb") as file:
        write_mo(file, read_po(OWN.text.splitlines(keepends=True), locale="de"))
    settings.LOCALE_PATHS, settings.LANGUAGE_CODE = [tmp_path], "de"
    page = browser.get("/openrouter/").content.decode()
    assert "Ihr KI-Konto" in page
    assert title("de") not in page


def test_every_language_is_named():
    """The page and the catalogues name the same languages."""
    names = ("Arabic", "German", "Spanish", "French", "Italian", "Japanese", "Portuguese (Brazil)")
    text = PAGE.text()
    assert all(name in text for name in (*names, "Chinese (simplified)"))
    assert len(names) + 1 == len(LANGUAGES)
    assert "English and eight other languages" in text
