"""A person at a browser, who may ask for a fault with a request."""

import json
from dataclasses import dataclass
from urllib.parse import parse_qs, urljoin, urlsplit

import requests

from .outcomes import Told, told

PATIENCE = 60
NO_ANSWER = Told("no answer")


@dataclass
class Answer:
    """What a visitor got to see, and how far the request came.

    Attributes:
        told: what the message said.
        steps: the steps of the request; empty where no answer came.
        location: where it led.
    """

    told: Told
    steps: tuple[str, ...] = ()
    location: str = ""


class Visitor:
    """Somebody who is signed in.

    Args:
        url: where the site is served.
        openrouter: what the site takes for OpenRouter.
        name: what to be called.
        api_key: a key that is stored already, if any.
    """

    def __init__(self, url, openrouter, name, api_key=""):
        self.url, self.openrouter = url, openrouter
        self.http = requests.Session()
        self.http.trust_env = False
        # A dead worker takes its connections along; a request on one would tell nothing.
        self.http.headers["Connection"] = "close"
        entered = self._open("GET", f"/enter/{name}/{api_key and api_key + '/'}")
        assert entered.status_code == 200, entered.text
        self.http.headers["X-CSRFToken"] = entered.text

    def _open(self, method, path, fault="", **options):
        headers = {"X-Fault": fault} if fault else {}
        url = urljoin(self.url, path)
        return self.http.request(
            method, url, headers=headers, allow_redirects=False, timeout=PATIENCE, **options
        )

    @property
    def worker(self):
        """The process that answers."""
        return int(self._open("GET", "/messages/").headers["X-Process"])

    def facts(self):
        """Return what is stored: the key, or why there is none, and the rows."""
        answer = self._open("GET", "/facts/")
        assert answer.status_code == 200, answer.text
        return answer.json()

    def an_hour_later(self):
        """Come back an hour later."""
        assert self._open("GET", "/an-hour-later/").status_code == 200

    def ask(self, method, path, fault="", **options):
        """Make a request of the flow; return what came of it."""
        try:
            answer = self._open(method, path, fault, **options)
        except requests.ConnectionError:
            return Answer(NO_ANSWER)
        steps = tuple(json.loads(answer.headers.get("X-Steps", "[]")))
        location = answer.headers.get("Location", "")
        if answer.status_code >= 400:
            return Answer(Told("error page"), steps)
        if answer.status_code == 200 or location.startswith("https://openrouter.ai/"):
            return Answer(Told("the way to OpenRouter"), steps, location or answer.text)
        assert answer.status_code == 303, answer.text
        assert "code=" not in location
        (text,) = self._open("GET", "/messages/").json()
        return Answer(told(text), steps, location)

    def start(self, fault=""):
        """Press the button; return where OpenRouter sends the browser afterwards."""
        begun = self.ask("POST", "/openrouter/connect/", fault)
        return urlsplit(parse_qs(urlsplit(begun.location).query)["callback_url"][0]).path
