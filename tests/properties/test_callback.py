"""The callback takes any parameters in any number and order, and does the one right thing."""

from contextlib import contextmanager
from urllib.parse import quote, urlencode

import pytest
from django.contrib.auth.models import User
from django.contrib.messages import get_messages
from django.test import Client, override_settings
from hypothesis import given
from hypothesis import strategies as st

from django_openrouter_auth.models import ConnectAttempt, OpenRouterKey
from django_openrouter_auth.testing import LeakScan, openrouter

from ..connecting import KEY, SITE, is_clean, start
from .strategies import VISIBLE, codes
from .trying import examples, untouched_database

pytestmark = pytest.mark.django_db

CODE = "auth_code_of_the_properties_0123456789"
OWN, FOREIGN, UNKNOWN = "(own)", "(foreign)", "A" * 43
SECRETS = {"key": KEY, "code": CODE}

odd = st.text(max_size=20) | st.text("\0\r\n\t &=;%+#?/\\\u2028\x85<>\"'", max_size=10)
answers = st.tuples(st.just("code"), st.sampled_from([CODE, CODE, "", "a" * 513]) | codes | odd)
errors = st.tuples(st.just("error"), st.sampled_from(["access_denied", "server_error", ""]) | odd)
states = st.tuples(st.just("state"), st.sampled_from([OWN, OWN, OWN, FOREIGN, UNKNOWN, ""]) | odd)
others = st.tuples(st.sampled_from(["bounced", "scope", "next", "Code", "code[]", ""]) | odd, odd)
parameters = st.lists(answers | states | others, max_size=12) | st.lists(
    answers | errors | states | others, max_size=40
)


def expected(sent, own):
    """What these parameters mean, by the design: state, then error, then code."""
    values = {name: [value for other, value in sent if other == name] for name, _ in sent}
    if any(state != own for state in values.get("state", [])):
        return "state_unknown"
    if "error" in values:
        return "access_denied" if values["error"] == ["access_denied"] else "provider_error_param"
    given_codes = values.get("code", [])
    if not any(given_codes):
        return "code_missing"
    is_one = len(given_codes) == 1 and len(given_codes[0]) <= 512
    return "connected" if is_one and set(given_codes[0]) <= set(VISIBLE) else "code_malformed"


class Return:
    """One attempt that was started, and what comes of returning from it with some parameters."""

    def __init__(self, provider):
        self.provider = provider
        self.browser, self.stranger = Client(), Client()
        for name, client in {"ann": self.browser, "bob": self.stranger}.items():
            client.force_login(User.objects.create(username=name))
        self.started, foreign = start(self.browser), start(self.stranger)
        self.names = {OWN: self.started.state, FOREIGN: foreign.state}
        self.scan = LeakScan()
        self.scan.plant(**SECRETS)

    def come_back(self, query):
        """Follow OpenRouter's redirect; check what holds for each; return outcome and target."""
        response = self.browser.get(f"{self.started.path}?{query}")
        assert is_clean(response)
        assert self.started.state not in response["Location"]
        self.scan.search_response("the callback", response)
        self.scan.search_browser("of the user", self.browser)
        self.scan.search("attempts", list(ConnectAttempt.objects.values()))
        self.scan.require_none()
        told = [message.extra_tags for message in get_messages(response.wsgi_request)]
        return told[-1], response["Location"]

    def query(self, sent):
        """Return a query string, with the states of this return."""
        return urlencode([(name, self.names.get(value, value)) for name, value in sent])


@contextmanager
def returning():
    """An attempt of a user, while OpenRouter grants a key for every code."""
    site = override_settings(OPENROUTER_AUTH_SITE_URL=SITE)
    with untouched_database(), openrouter() as provider, site:
        yield Return(provider)


@examples(80)
@given(parameters)
def test_any_parameters(sent):
    """Any parameters end as the design says: at a clean address, and with one exchange at most."""
    with returning() as back:
        outcome, _ = back.come_back(back.query(sent))
        assert outcome == expected(sent, OWN)
        exchanged = [value for name, value in sent if name == "code"][: outcome == "connected"]
        assert [body["code"] for body in back.provider.exchanges] == exchanged
        assert OpenRouterKey.objects.count() == len(exchanged)
        # An answer that is not for this attempt leaves it for the right one.
        claimed = ConnectAttempt.objects.exclude(claimed_at=None).count()
        assert claimed == (outcome != "state_unknown")


@examples(30)
@given(parameters, parameters)
def test_again(sent, later):
    """Whatever comes back later, a code that was exchanged stays the only one."""
    with returning() as back:
        back.come_back(back.query(sent))
        first = len(back.provider.exchanges)
        back.come_back(back.query(sent))
        assert len(back.provider.exchanges) == first
        back.come_back(back.query(later))
        assert len(back.provider.exchanges) <= 1


@examples(20)
@given(
    st.permutations([("code", CODE), ("state", OWN), ("bounced", "1"), ("scope", "x"), ("", "")]),
    st.sets(st.sampled_from(["code", "state", "bounced", "scope", ""])),
    errors | st.none(),
)
def test_any_order(shuffled, left_out, error):
    """Where each parameter is given once, their order does not matter."""
    sent = [*filter(None, [error]), *(pair for pair in shuffled if pair[0] not in left_out)]
    results = set()
    for order in (sent, sent[::-1], sorted(sent)):
        with returning() as back:
            results.add((*back.come_back(back.query(order)), len(back.provider.exchanges)))
    assert len(results) == 1


@examples(60)
@given(st.text(VISIBLE.replace("#", ""), max_size=80) | st.binary(max_size=60).map(quote))
def test_any_query(query):
    """What is no query of a form at all is no error, either."""
    with returning() as back:
        outcome, _ = back.come_back(query)
        assert outcome != "internal"
        assert (outcome == "connected") == (len(back.provider.exchanges) == 1)


@examples(3)
@given(st.integers(1001, 1500), st.sampled_from(["code", "state", "error", "a"]))
def test_too_many_parameters(number, name):
    """More parameters than Django takes end at a clean address as well, and change nothing."""
    with returning() as back:
        outcome, _ = back.come_back("&".join([f"{name}={CODE}"] * number))
        assert outcome == "internal"
        assert back.provider.exchanges == []


@examples(40)
@given(st.text(max_size=60) | st.text("A-_%.\\\r\n\0", max_size=50), parameters)
def test_any_state_in_the_path(state, sent):
    """A path that no attempt has is answered like any other, and changes nothing."""
    path = quote(state.encode("utf-8", "replace"), safe="")
    with returning() as back:
        response = back.browser.get(f"/openrouter/callback/{path}/?{back.query(sent)}")
        assert is_clean(response)
        assert CODE not in response["Location"]
        assert back.provider.exchanges == []
        assert not ConnectAttempt.objects.exclude(claimed_at=None).exists()


@examples(30)
@given(parameters)
def test_without_a_session(sent):
    """A browser that holds its cookie back reloads once and is then asked to sign in."""
    with returning() as back:
        stranger = Client()
        query = back.query(sent)
        if "bounced" not in {name for name, _ in sent}:
            page = stranger.get(f"{back.started.path}?{query}")
            assert (page.status_code, page["Cache-Control"]) == (200, "no-store")
            query += "&bounced=1"
        response = stranger.get(f"{back.started.path}?{query}")
        assert response.status_code == 303
        assert response["Location"].endswith("/accounts/login/?next=/openrouter/connect/")
        assert back.provider.exchanges == []
