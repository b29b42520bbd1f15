"""One run: what a new user's browser does, step by step, in any of the versions."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from itertools import count
from typing import Any
from urllib.parse import parse_qs, urlsplit

from django.conf import settings
from django.http import HttpResponse

from .authlib_site.views import oauth
from .browser import Browser, Timing
from .environment import UnexpectedAnswerError
from .observe import Observation, observing
from .provider import Provider, code
from .versions import Version

PLAIN = "page without a button"
NOT_CONNECTED = "page, not connected"
FIRST_START = "start, first in a browser"
LATER_START = "start, later"
FIRST_CALLBACK = "callback, first key"
LATER_CALLBACK = "callback, key replaced"
CONNECTED = "page, connected"

_numbers = count()


def use_provider(api_url: str) -> None:
    """Let all versions of this process ask the stand-in at an address."""
    # All but Authlib read settings on every use.
    settings.OPENROUTER_AUTH_API_URL = settings.PROVIDER_API_URL = api_url
    oauth.openrouter.access_token_url = f"{api_url}/auth/keys"


@dataclass
class Run:
    """The figures of one run, by step; the provider's time is already taken away.

    Attributes:
        provider: by step, the seconds that were taken away, and the requests that took them.
    """

    timings: dict[str, Timing] = field(default_factory=dict)
    observations: dict[str, Observation] = field(default_factory=dict)
    provider: dict[str, tuple[float, int]] = field(default_factory=dict)


class Journey:
    """A new user of one version, in a browser that has seen the page with the button.

    Args:
        observe: count statements and decryptions; slow, so such a run's timings are of no use.
    """

    def __init__(
        self, application: Callable[..., Any], version: Version, *, observe: bool = False
    ) -> None:
        number = next(_numbers)
        self.browser = Browser(application, f"user{number}")
        # The stand-in makes the user's id at OpenRouter of it: two people have two.
        self._code = f"code={code(number)}"
        self._version, self._observe = version, observe
        self.run = Run()
        # The first page sets the cookie of the CSRF token; nobody connects without having it.
        self.browser.get(version.page)

    def make(self, provider: Provider) -> Run:
        """Connect, look at the pages, connect again; return the figures of all steps."""
        page = self._version.page
        self._get(PLAIN, "/plain_page/", 200)
        self._get(NOT_CONNECTED, page, 200)
        self._return(FIRST_CALLBACK, self.start(FIRST_START), provider)
        self.browser.get(page)  # shows the message, so that it does not weigh on what follows
        self._get(CONNECTED, page, 200)
        self._return(LATER_CALLBACK, self.start(LATER_START), provider)
        return self.run

    def start(self, step: str = FIRST_START) -> str:
        """Post the form of the button, and return where the provider will send the browser."""
        with self._watching(step):
            response, self.run.timings[step] = self.browser.post(self._version.connect)
        self._require(step, response, {302, 303})
        sent = parse_qs(urlsplit(response["Location"]).query)
        back = urlsplit(sent["callback_url"][0])
        query = "&".join(filter(None, [back.query, self._code]))
        return f"{back.path}?{query}"

    def _return(self, step: str, path: str, provider: Provider) -> None:
        busy, answers = provider.read(0), provider.answers
        wanted = self._version.requests
        with self._watching(step):
            response, timing = self.browser.get(path)
        self._require(step, response, {302, 303}, self._version.page)
        taken = provider.read(answers + wanted) - busy
        self.run.provider[step] = taken, wanted
        self.run.timings[step] = replace(timing, wall=timing.wall - taken)

    def _get(self, step: str, path: str, status: int) -> None:
        with self._watching(step):
            response, self.run.timings[step] = self.browser.get(path)
        self._require(step, response, {status})
        connected = b"OpenRouter is connected" in response.content or b"sk-or-" in response.content
        if connected != (step == CONNECTED):
            raise UnexpectedAnswerError(f"{self._version.name}: wrong {step}")

    def _require(
        self, step: str, response: HttpResponse, statuses: set[int], location: str = ""
    ) -> None:
        arrived = not location or response["Location"] == location
        if response.status_code not in statuses or not arrived:
            raise UnexpectedAnswerError(
                f"{self._version.name}: {step} answered {response.status_code}"
                f" {response.get('Location', '')[:80]}"
            )

    @contextmanager
    def _watching(self, step: str) -> Iterator[None]:
        with observing() if self._observe else nullcontext() as observation:
            yield
        if observation is not None:
            self.run.observations[step] = observation
