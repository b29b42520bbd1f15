"""OpenRouter for the length of a block or of a test."""

from typing import TYPE_CHECKING, Any

from django.test import SimpleTestCase

from .facts import KEY
from .leaks import LeakScan, watch_leaks

if TYPE_CHECKING:
    from .provider import OpenRouter

    Case = SimpleTestCase
else:
    Case = object


def openrouter(api_key: str = KEY, **facts: Any) -> "OpenRouter":
    """Return an OpenRouter that answers in a ``with`` block, in place of the network.

    It hands out a key for every code and knows it, until it is told otherwise. Any other call by
    ``requests`` or httpx is refused, and fails the block at its end even where that was caught.

    Args:
        api_key: the key that it hands out.
        **facts: what ``GET /key`` says about it, such as ``usage=1.25`` or ``limit=10``.
    """
    # Needs an optional library, which tests that only store keys go without.
    from .provider import OpenRouter  # noqa: PLC0415 - an optional extra

    provider = OpenRouter()
    provider.grants(api_key, **facts)
    return provider


class OpenRouterTestMixin(Case):
    """For a ``TestCase``: OpenRouter answers, and a test during which a key leaks fails.

    Attributes:
        openrouter: what answers, see :func:`openrouter`.
        openrouter_leaks: the search, see :func:`watch_leaks`.
    """

    openrouter: "OpenRouter"
    openrouter_leaks: LeakScan

    def setUp(self) -> None:
        super().setUp()
        self.openrouter_leaks = self.enterContext(watch_leaks(databases=self.databases))
        self.openrouter = self.enterContext(openrouter())
