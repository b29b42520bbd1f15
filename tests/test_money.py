"""Amounts as people read them, in their language, whatever the size."""

from decimal import Decimal

import pytest
from django.template import Context, Template
from django.utils import translation

from django_openrouter_auth.money import as_money


@pytest.mark.parametrize(
    ("amount", "text"),
    [
        ("0", "US$\xa00.00"),
        ("1.5", "US$\xa01.50"),
        ("12", "US$\xa012.00"),
        ("1234.5", "US$\xa01,234.50"),
        ("999999999", "US$\xa0999,999,999.00"),
    ],
)
def test_dollars_and_cents(amount, text):
    """An amount has two decimal places, and its thousands are apart."""
    assert as_money(Decimal(amount)) == text


@pytest.mark.parametrize(
    ("amount", "text"),
    [
        ("0.5", "US$\xa00.50"),
        ("0.25", "US$\xa00.25"),
        ("0.0035", "US$\xa00.0035"),
        ("0.12344", "US$\xa00.1234"),
        ("0.0001", "US$\xa00.0001"),
        ("0.00009", "less\xa0than\xa0US$\xa00.0001"),
        ("0.000000001", "less\xa0than\xa0US$\xa00.0001"),
    ],
)
def test_less_than_a_dollar(amount, text):
    """Calls cost fractions of a cent: below a dollar four places are shown where two would lie."""
    assert as_money(Decimal(amount)) == text


@pytest.mark.parametrize(
    ("amount", "text"),
    [
        ("1.005", "US$\xa01.01"),
        ("1.004999", "US$\xa01.00"),
        ("0.00015", "US$\xa00.0002"),
        ("0.99999", "US$\xa01.00"),
        ("0.120000001", "US$\xa00.12"),
    ],
)
def test_rounding(amount, text):
    """Halves are rounded up, as with money, and rounding leaves no idle zeros behind."""
    assert as_money(Decimal(amount)) == text


@pytest.mark.parametrize(
    ("amount", "text"),
    [
        ("-1.5", "US$\xa0-1.50"),
        ("-1.23456", "US$\xa0-1.23"),
        ("-0.0035", "US$\xa0-0.0035"),
        ("-0.00001", "US$\xa00.00"),
    ],
)
def test_less_than_nothing(amount, text):
    """A negative amount keeps its sign, unless nothing of it is left to see."""
    assert as_money(Decimal(amount)) == text


@pytest.mark.parametrize(
    ("language", "number"), [("de", "1.234,50"), ("fr", "1 234,50"), ("en-gb", "1,234.50")]
)
@pytest.mark.parametrize("separates", [True, False])
def test_separators_of_the_language(settings, language, number, separates):
    """The separators are those of the language, also on sites that leave thousands together."""
    settings.USE_THOUSAND_SEPARATOR = separates
    with translation.override(language):
        text = as_money(Decimal("1234.5"))
    # Some languages have a narrow or unbreakable space.
    assert number in " ".join(text.split())


def test_place_of_the_currency(monkeypatch):
    """Where the currency stands is for each language to say."""
    said = {"US$ %(amount)s": "%(amount)s $ US"}
    monkeypatch.setattr(
        "django_openrouter_auth.money.pgettext", lambda context, text: said.get(text, text)
    )
    assert as_money(Decimal(2)) == "2.00\xa0$\xa0US"


def test_filter():
    """The filter writes amounts that are known, and nothing for others."""
    template = Template("{% load openrouter_auth %}[{{ amount|as_money }}]")
    assert template.render(Context({"amount": Decimal("0.5")})) == "[US$\xa00.50]"
    assert template.render(Context({"amount": None})) == "[]"
    assert template.render(Context()) == "[]"


@pytest.mark.parametrize("amount", ["2", "0.00001", "1234567"])
def test_no_line_ends_within(amount):
    """A number and its currency stay on one line."""
    assert " " not in as_money(Decimal(amount))
