"""Amounts of money as people read them."""

from decimal import ROUND_HALF_UP, Decimal

from django.utils.formats import number_format
from django.utils.translation import pgettext

CENT = Decimal("0.01")
SMALLEST = Decimal("0.0001")


def as_money(amount: Decimal) -> str:
    """Return an amount in words of the current language.

    A call often costs less than a cent: amounts below a dollar keep up to four decimal places.
    No line ends between a number and its currency.

    Args:
        amount: in US dollars.
    """
    if 0 < amount < SMALLEST:
        smallest = {"amount": number_format(SMALLEST)}
        return _unbroken(pgettext("money", "less than US$ %(amount)s") % smallest)
    step = CENT if abs(amount) >= 1 else SMALLEST
    # Adding zero: a little less than nothing is not "-0".
    rounded = amount.quantize(step, ROUND_HALF_UP) + 0
    places = 2 if rounded == rounded.quantize(CENT) else 4
    number = number_format(rounded, places, force_grouping=True)
    return _unbroken(pgettext("money", "US$ %(amount)s") % {"amount": number})


def _unbroken(text: str) -> str:
    return text.replace(" ", "\N{NO-BREAK SPACE}")
