"""A visitor's request with a fault in it, and all that is looked at afterwards."""

import secrets

from django_openrouter_auth.testing import CODE, KEY

from .outcomes import Case
from .visitor import NO_ANSWER


def callback(person):
    """Come back from OpenRouter."""
    path = person.start()
    return lambda fault="": person.ask("GET", path, fault, params={"code": CODE})


def begin(person):
    """Press the button."""
    return lambda fault="": person.ask("POST", "/openrouter/connect/", fault)


def code_page(person):
    """Open the page with the link to a code."""
    return lambda fault="": person.ask("GET", "/openrouter/code/", fault)


def entered_code(person):
    """Enter a code."""
    code_page(person)()
    return lambda fault="": person.ask("POST", "/openrouter/code/", fault, data={"code": CODE})


def pasted_key(person):
    """Paste a key."""
    api_key = f"sk-or-v1-{secrets.token_hex(32)}"

    def paste(fault=""):
        # It is known to OpenRouter: as one that was handed out before.
        person.openrouter.minted.append(api_key)
        return person.ask("POST", "/openrouter/key/", fault, data={"api_key": api_key})

    return paste


def disconnect(person):
    """Disconnect, with an attempt open."""
    person.start()
    return lambda fault="": person.ask("POST", "/openrouter/disconnect/", fault)


REQUESTS = {
    "start": (begin, KEY),
    "callback, first connection": (callback, ""),
    "callback, connected before": (callback, KEY),
    "link for a code": (code_page, KEY),
    "entered code": (entered_code, KEY),
    "pasted key": (pasted_key, KEY),
    "disconnect": (disconnect, KEY),
}


# These say nothing about what is stored.
LEFT_OPEN = NO_ANSWER.what, "error page", "OpenRouterAuthError"


class Walk:
    """One request of a new visitor, with what was stored before it.

    Args:
        site: the site.
        name: which request.
    """

    def __init__(self, site, name):
        prepare, old_key = REQUESTS[name]
        self.name, self.openrouter = name, site.openrouter
        self.person = site.visitor(old_key)
        self.ask = prepare(self.person)
        self.before = self.person.facts()
        self.sent = len(self.openrouter.exchanges)
        self.is_warned = False

    @property
    def exchanges(self):
        return len(self.openrouter.exchanges) - self.sent

    def judge(self, told):
        """Check that what was told is true, and that what is stored is whole; return what it is."""
        facts = self.person.facts()
        is_new = facts["key"] in self.openrouter.minted[-1:]
        assert self.exchanges <= 1
        is_page = told.what == "error page"
        assert not is_page or (not self.name.startswith("callback") and self.exchanges == 0)
        if told.is_connected:
            assert is_new
        elif told.what in {"disconnected", "nothing to disconnect"}:
            assert facts["rows"] == []
        elif told.what not in LEFT_OPEN:
            assert facts == self.before
        if is_new:
            return "new key"
        if facts["rows"]:
            assert facts == self.before
        # Whoever is not told of a key that OpenRouter made and nobody holds cannot delete it.
        self.is_warned = self.is_warned or told.left_over
        is_lost = self.exchanges == 1 and self.name != "disconnect"
        assert not is_lost or self.is_warned or told.what in {"no answer", "AttemptInProgress"}
        return "old key" if facts["rows"] else "no key"

    def go_on(self):
        """Make the same request again, at once and an hour later; return what was told."""
        seen = []
        for wait in (lambda: None, self.person.an_hour_later):
            wait()
            self.before = self.person.facts()
            seen.append(self.ask().told)
            self.judge(seen[-1])
        at_once, later = map(str, seen)
        assert not later.startswith("``AttemptInProgress")
        return at_once if at_once == later else f"{at_once}; later {later}"

    def connect_anew(self):
        """Connect from the start."""
        assert str(callback(self.person)().told) == "connected"
        assert self.person.facts()["key"] == self.openrouter.minted[-1]

    def end(self, test, table, place, fault, told):
        """Look at everything that a fault left behind, and record it."""
        stored, exchanges = self.judge(told), self.exchanges
        again = self.go_on()
        case = Case(table, self.name, place, fault, str(told), stored, exchanges, again)
        case.record(test)
        self.connect_anew()
