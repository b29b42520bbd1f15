"""The whole life of a connection, in any order, beside a reference that says what should be."""

import io
from datetime import timedelta
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    initialize,
    invariant,
    multiple,
    precondition,
    rule,
    run_state_machine_as_test,
)

from django_openrouter_auth.exceptions import OpenRouterAuthError
from django_openrouter_auth.fields import mask
from django_openrouter_auth.shortcuts import get_api_key

from .provider import TROUBLES, WELL
from .trying import examples
from .world import BROWSERS, USERS, World

MINUTE = timedelta(minutes=1)

browsers = st.sampled_from(range(len(BROWSERS)))
users = st.sampled_from(USERS)
numbers = st.integers(0, 9)
# What belongs to a trip: its browser, its user, a code for it. Otherwise any other is drawn.
OWN = st.none()
at_exchange = st.sampled_from([*[WELL] * 6, *TROUBLES, "dead", "management"])
at_check = st.sampled_from([*[WELL] * 6, *TROUBLES])
interruptions = st.sampled_from(
    [*[""] * 8, "again", "connect", "paste", "disconnect", "check", "log out", "rotate", "lose"]
)
network: dict[str, Any] = {
    "at_exchange": at_exchange,
    "at_check": at_check,
    "meanwhile": interruptions,
}
# Answers of OpenRouter other than a code, and the codes by which the site calls them.
ANSWERS = {
    "error=access_denied": "access_denied",
    "error=server_error": "provider_error_param",
    "": "code_missing",
    "code=a%20b": "code_malformed",
    "code=a&code=b": "code_malformed",
    f"code=a&state={'A' * 43}": "state_unknown",
}
# What is entered and is no code, or no key.
ENTRIES = {" ": "code_missing", "sk-or-v1-0": "code_malformed", "a b": "code_malformed"}
entries = OWN | st.sampled_from(["wrong", *ENTRIES])


def is_usable(stored):
    """Return whether a key can be used, as far as the site knows."""
    return stored is not None and stored.status == "active"


encryption_steps = st.sampled_from(["lose", "use", "bring back", "rotate", "add"])
# Most of the time, so that steps are not spent on users who have nothing.
somebody_is_connected = precondition(lambda life: life.reference.stored)


class Life(RuleBasedStateMachine):
    """Steps that users, OpenRouter, time and the administrator may take."""

    trips, code_trips, codes = Bundle("trips"), Bundle("code_trips"), Bundle("codes")

    def __init__(self):
        super().__init__()
        self.world = World()
        self.reference, self.provider = self.world.reference, self.world.provider

    @initialize(connected=st.sets(st.sampled_from([0, 2])))
    def begin(self, connected):
        for browser in sorted(connected):
            self.finish_connect(browser, self.start_connect(browser))

    def teardown(self):
        self.world.close()

    def while_asked(self, browser, meanwhile, again):
        """Let something happen in the same browser while OpenRouter is asked next."""
        steps = {
            "again": again,
            "connect": lambda: self.finish_connect(browser, self.start_connect(browser)),
            "paste": lambda: self.paste_now(browser, 0),
            "disconnect": lambda: self.disconnect(browser),
            "check": lambda: self.check_now(browser),
            "log out": lambda: self.world.log_out(browser),
            "rotate": self.rotate,
            "lose": lambda: self.reference.lose(0),
        }
        self.provider.meanwhile = steps.get(meanwhile)

    def is_stranger(self, visitor, response):
        """Return whether somebody who asked was not signed in, and then check the answer."""
        if visitor.user:
            return False
        assert response["Location"].startswith("/accounts/login/?next=/openrouter/")
        return True

    # To OpenRouter and back

    def start_connect(self, browser):
        visitor = self.world.visitors[browser]
        response = self.world.send(browser, "post", "/openrouter/connect/", next="/ok/")
        if self.is_stranger(visitor, response):
            return None
        attempt = self.reference.begin(visitor)
        return self.world.begun(attempt, response["Location"])

    def come_back_now(self, browser, trip, query, answer="", meanwhile=""):
        visitor, before = self.world.visitors[browser], len(self.provider.exchanges)
        address = f"{trip.path}?{query}"
        expected = "not_authenticated"
        if visitor.user:
            expected = self.reference.claim(visitor, trip.attempt, answer)
            self.while_asked(
                browser, meanwhile, lambda: self.come_back_now(browser, trip, query, answer)
            )
        response = self.world.send(browser, "get", address)
        if response.status_code == 200:
            response = self.world.send(browser, "get", f"{address}&bounced=1")
        self.world.tells(response, expected or self.world.finish(trip.attempt, before))

    def finish_connect(self, browser, trip, meanwhile=""):
        if trip:
            self.come_back_now(browser, trip, f"code={self.world.approve(trip)}", "", meanwhile)

    @rule(target=trips, browser=browsers)
    def start(self, browser):
        trip = self.start_connect(browser)
        return trip or multiple()

    @rule(target=trips, browser=browsers, **network)
    def connect(self, browser, at_exchange, at_check, meanwhile):
        self.provider.weather = (at_exchange, at_check)
        trip = self.start_connect(browser)
        self.finish_connect(browser, trip, meanwhile)
        return trip or multiple()

    @rule(target=codes, trip=st.one_of(trips, code_trips))
    def approve(self, trip):
        return self.world.approve(trip)

    @rule(trip=trips, browser=OWN | OWN | browsers, user=OWN | users, code=OWN | codes, **network)
    def come_back(self, trip, browser, user, code, at_exchange, at_check, meanwhile):
        self.provider.weather = (at_exchange, at_check)
        browser = self.world.browser_of(trip) if browser is None else browser
        if user:
            self.world.take_over(browser, user)
        code = code or self.world.approve(trip)
        self.come_back_now(browser, trip, f"code={code}", meanwhile=meanwhile)

    @rule(trip=trips, query=st.sampled_from(sorted(ANSWERS)))
    def come_back_without_a_code(self, trip, query):
        self.come_back_now(self.world.browser_of(trip), trip, query, ANSWERS[query])

    # A code or a key that is entered

    @rule(target=code_trips, browser=browsers)
    def show_code_page(self, browser):
        visitor = self.world.visitors[browser]
        response = self.world.send(browser, "get", "/openrouter/code/")
        if self.is_stranger(visitor, response):
            return multiple()
        attempt = self.reference.code_page(visitor)
        return self.world.begun(attempt, response.context["authorization_url"])

    @rule(trip=code_trips, browser=OWN | OWN | browsers, code=entries | codes, **network)
    def enter_code(self, trip, browser, code, at_exchange, at_check, meanwhile):
        self.provider.weather = (at_exchange, at_check)
        browser = self.world.browser_of(trip) if browser is None else browser
        self.enter_code_now(browser, code or self.world.approve(trip), meanwhile)

    def enter_code_now(self, browser, code, meanwhile=""):
        visitor, before = self.world.visitors[browser], len(self.provider.exchanges)
        attempt, expected = self.reference.awaited(visitor), ENTRIES.get(code)
        if visitor.user and expected is None:
            expected = self.reference.claim(visitor, attempt)
            self.while_asked(browser, meanwhile, lambda: self.enter_code_now(browser, code))
        response = self.world.send(browser, "post", "/openrouter/code/", code=code)
        if not self.is_stranger(visitor, response):
            self.world.tells(response, expected or self.world.finish(attempt, before))

    @rule(browser=browsers, number=numbers, **network)
    def paste(self, browser, number, at_exchange, at_check, meanwhile):
        self.provider.weather = (at_exchange, at_check)
        self.paste_now(browser, number, meanwhile)

    def paste_now(self, browser, number, meanwhile=""):
        visitor = self.world.visitors[browser]
        mine = [key for key, owner in self.provider.owners.items() if owner == visitor.user]
        key = mine[-1 - number % len(mine)] if mine else ""
        attempt = self.reference.begin(visitor, "pasted") if key else None
        self.while_asked(browser, meanwhile, lambda: self.paste_now(browser, number))
        response = self.world.send(browser, "post", "/openrouter/key/", api_key=key)
        if not self.is_stranger(visitor, response):
            expected = "key_malformed"
            if attempt:
                expected = self.reference.adopt(attempt, key, self.world.verdict)
            self.world.tells(response, expected)

    # What a user does with a connection

    @somebody_is_connected
    @rule(browser=browsers)
    def disconnect(self, browser):
        visitor = self.world.visitors[browser]
        response = self.world.send(browser, "post", "/openrouter/disconnect/", next="/ok/")
        if not self.is_stranger(visitor, response):
            self.world.tells(response, self.reference.disconnect(visitor.user))

    @somebody_is_connected
    @rule(browser=browsers, **network)
    def check(self, browser, at_exchange, at_check, meanwhile):
        self.provider.weather = (at_exchange, at_check)
        self.check_now(browser, meanwhile)

    def check_now(self, browser, meanwhile=""):
        visitor = self.world.visitors[browser]
        user, stored = visitor.user, self.reference.stored.get(visitor.user)
        expected = self.reference.begin_check(stored) if user else ""
        self.while_asked(browser, meanwhile, lambda: self.check_now(browser))
        response = self.world.send(browser, "post", "/openrouter/check/")
        if not self.is_stranger(visitor, response):
            self.world.tells(
                response, expected or self.reference.end_check(user, stored, self.world.verdict)
            )

    @somebody_is_connected
    @rule(browser=browsers, at_check=at_check)
    def look(self, browser, at_check):
        self.provider.weather = (WELL, at_check)
        visitor, asked = self.world.visitors[browser], len(self.provider.verdicts)
        stored = self.reference.stored.get(visitor.user)
        is_asked = self.reference.wants_check(stored) and not self.reference.begin_check(stored)
        response = self.world.send(browser, "get", "/openrouter/")
        if is_asked:
            self.reference.end_check(visitor.user, stored, self.world.verdict)
        assert len(self.provider.verdicts) == asked + is_asked
        if not self.is_stranger(visitor, response) and stored:
            assert mask(stored.key) in response.content.decode()

    @somebody_is_connected
    @rule(browser=browsers, page=st.sampled_from(["connect", "disconnect", "key"]))
    def look_elsewhere(self, browser, page):
        visitor = self.world.visitors[browser]
        response = self.world.send(browser, "get", f"/openrouter/{page}/")
        assert self.is_stranger(visitor, response) or response.status_code == 200
        stored = self.reference.stored.get(visitor.user)
        told = self.world.send(browser, "get", "/openrouter/status/").json()
        assert told.get("connected") == (is_usable(stored) if visitor.user else None)
        assert told.get("hint") == (mask(stored.key) if stored else None)

    @somebody_is_connected
    @rule(user=users)
    def use(self, user):
        expected = self.reference.use(user)
        try:
            found = get_api_key(self.world.users[user])
        except OpenRouterAuthError as error:
            found = error.code
        assert found == expected

    # What others do

    @rule(browser=browsers, user=users, how=st.sampled_from(["log_in", "log_out", "take_over"]))
    def change_user(self, browser, user, how):
        if how == "log_out":
            self.world.log_out(browser)
        else:
            getattr(self.world, how)(browser, user)

    @rule(duration=st.sampled_from([1 / 30, 1 / 2, 1, 4, 6, 26, 29, 31, 120]))
    def wait(self, duration):
        self.reference.now += duration * MINUTE

    @somebody_is_connected
    @rule(user=users, step=st.sampled_from(["switch", "make", "make for management"]))
    def go_to_openrouter(self, user, step):
        stored = self.reference.stored.get(user)
        if step != "switch":
            self.provider.make_key(user, is_management=step != "make")
        elif stored:
            # The key's owner switches it off, or on again.
            self.provider.dead ^= {stored.key}

    @rule(steps=st.lists(encryption_steps, min_size=1, max_size=5), number=numbers)
    def change_encryption_keys(self, steps, number):
        change = {
            "lose": lambda: self.reference.lose(number),
            "use": lambda: [self.use(user) for user in USERS],
            "rotate": self.rotate,
            "bring back": self.reference.bring_back,
            "add": self.reference.add,
        }
        for step in steps:
            change[step]()

    def rotate(self):
        unreadable = self.reference.rotate()
        try:
            call_command("openrouter_auth_rotate_keys", verbosity=0, stderr=io.StringIO())
        except CommandError:
            assert unreadable
        else:
            assert not unreadable

    # What holds after every step

    @invariant()
    def everything_is_as_it_should_be(self):
        self.world.check_rows()
        self.world.check_exchanges()
        self.world.check_tables()


@pytest.mark.django_db
def test_life():
    """No 50 steps end in an error, a second exchange, a foreign or a lost key, a leak or a lie."""
    run_state_machine_as_test(Life, settings=settings(examples(40), stateful_step_count=50))
