"""One run: what a new user's browser does, step by step, in either version."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from itertools import count
from typing import Any
from urllib.parse import parse_qs, urlsplit

from django.http import HttpResponse
from django.urls import reverse

from .browser import Browser, Timing
from .observe import Observation, observing
from .provider import Provider

PLAIN = "page without a button"
NOT_CONNECTED = "page, not connected"
FIRST_START = "start, first in a browser"
LATER_START = "start, later"
FIRST_CALLBACK = "callback, first key"
LATER_CALLBACK = "callback, key replaced"
CONNECTED = "page, connected"

_numbers = count()


class UnexpectedAnswerError(Exception):
    """A step did not do what is to be measured, so that its figures would mean nothing."""


@dataclass(frozen=True)
class Version:
    """One of the two that are compared: its name, and the names of its URLs."""

    name: str
    page: str
    connect: str


OURS = Version("ours", "ours_page", "openrouter_auth:connect")
HANDWRITTEN = Version("hand-written", "handwritten_page", "handwritten:connect")


@dataclass
class Run:
    """The figures of one run, by step; the provider's time is already taken away.

    Attributes:
        provider: by step, the seconds that were taken away, and the requests that took them.
        session_before: what the session held before the first start.
        session_after: what it held after the last callback.
    """

    timings: dict[str, Timing] = field(default_factory=dict)
    observations: dict[str, Observation] = field(default_factory=dict)
    provider: dict[str, tuple[float, int]] = field(default_factory=dict)
    session_before: dict[str, object] = field(default_factory=dict)
    session_after: dict[str, object] = field(default_factory=dict)


class Journey:
    """A new user of one version, who connects and then connects again.

    Args:
        observe: count statements and decryptions; slow, so such a run's timings are of no use.
    """

    def __init__(
        self,
        application: Callable[..., Any],
        version: Version,
        provider: Provider,
        *,
        observe: bool = False,
    ) -> None:
        self._browser = Browser(application, f"user{next(_numbers)}")
        self._version, self._provider, self._observe = version, provider, observe
        self.run = Run()

    def make(self) -> Run:
        """Go through all steps and return their figures."""
        page = reverse(self._version.page)
        # The first page sets the cookie of the CSRF token; nobody connects without having it.
        self._browser.get(page)
        self._get(PLAIN, reverse("plain_page"), 200)
        self._get(NOT_CONNECTED, page, 200)
        self.run.session_before = self._browser.session()
        self._connect(FIRST_START, FIRST_CALLBACK)
        self._browser.get(page)  # shows the message, so that it does not weigh on what follows
        self._get(CONNECTED, page, 200)
        self._connect(LATER_START, LATER_CALLBACK)
        self.run.session_after = self._browser.session()
        return self.run

    def _connect(self, start: str, callback: str) -> None:
        with self._watching(start):
            response, self.run.timings[start] = self._browser.post(reverse(self._version.connect))
        self._require(start, response, {302, 303})
        sent = parse_qs(urlsplit(response["Location"]).query)
        back = urlsplit(sent["callback_url"][0])
        query = "&".join(filter(None, [back.query, "code=auth_code_0123456789abcdef"]))

        busy, answers = self._provider.read(0), self._provider.answers
        wanted = 2 if self._version is OURS else 1
        with self._watching(callback):
            response, timing = self._browser.get(f"{back.path}?{query}")
        self._require(callback, response, {302, 303}, reverse(self._version.page))
        taken = self._provider.read(answers + wanted) - busy
        self.run.provider[callback] = taken, wanted
        self.run.timings[callback] = replace(timing, wall=timing.wall - taken)

    def _get(self, step: str, path: str, status: int) -> None:
        with self._watching(step):
            response, self.run.timings[step] = self._browser.get(path)
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
