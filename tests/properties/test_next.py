"""``next`` never leads to another site, nor back into the flow, whatever it is."""

from urllib.parse import parse_qs, urljoin, urlsplit

import pytest
from django.contrib.auth.models import User
from django.test import Client, override_settings
from django.urls import Resolver404, resolve
from hypothesis import example, given
from hypothesis import strategies as st

from django_openrouter_auth.redirects import SeeOther, safe_next
from django_openrouter_auth.testing import approve, connect, deny, openrouter

from ..test_redirects import FOREIGN
from .browsing import BASE, host_reached, path_reached
from .strategies import addresses
from .trying import examples, untouched_database

HOST = urlsplit(BASE).hostname
FLOW = {"connect", "callback", "disconnect", "check"}


@pytest.mark.parametrize(
    ("location", "host"),
    [
        *[("/ok/", HOST), ("ok", HOST), ("https:ok", HOST), ("/%5c/e", HOST), ("?//e", HOST)],
        *[("//e", "e"), ("/\\e", "e"), ("/\t/e", "e"), (" //e", "e"), ("\x00//e", "e")],
        *[("http:e", "e"), ("https:///e", "e"), ("//app.example@e:80/x", "e")],
        *[("javascript:alert(1)", None), ("java\tscript:x", None)],
    ],
)
def test_browser(location, host):
    """The comparison itself is right: it goes where browsers are known to go."""
    assert host_reached(location) == host


def stays_here(location):
    """Return whether an address leads to this site for browsers and for Python alike."""
    joined = urlsplit(urljoin(BASE, location))
    return host_reached(location) == HOST and (joined.scheme, joined.netloc) == ("https", HOST)


def view_reached(location):
    """Return the name of our view to which an address leads, or nothing."""
    for slash in ("", "/"):
        try:
            match = resolve(path_reached(location) + slash)
        except Resolver404:
            continue
        return match.url_name if "openrouter_auth" in match.app_names else None
    return None


@examples(1000)
@given(addresses)
@example("/openrouter/connect")
@example("/x/%2E./openrouter/%63heck/")
def test_any_text(text):
    """Any text is taken as it is or not at all; what is taken stays here and out of the flow."""
    taken = safe_next(text)
    assert taken in {text, ""}
    if taken:
        location = SeeOther(taken)["Location"]
        assert stays_here(location)
        assert location.isascii()
        assert location.isprintable()
        assert view_reached(location) not in FLOW


@examples(300)
@given(st.sampled_from(FOREIGN), addresses, st.sampled_from(["/", "/ok/", ""]))
def test_known_attacks_in_company(attack, text, before):
    """What is known to lead away does not with something before or behind it, either."""
    for wish in (before + attack, attack + text, before + attack + text):
        assert safe_next(wish) == "" or stays_here(SeeOther(wish)["Location"])


def go_on(browser, post, way):
    """Use one of the pages that take ``next``, and return where that leads."""
    if way == "approve":
        return approve(browser, **post)["Location"]
    if way == "deny":
        return deny(browser, **post)["Location"]
    if way == "paste":
        fields = post | {"api_key": "sk-or-v1-" + "0" * 64}
        return browser.post("/openrouter/key/", fields, secure=True)["Location"]
    if way == "insecure":
        with override_settings(OPENROUTER_AUTH_SITE_URL="http://app.example"):
            return browser.post("/openrouter/connect/", post, secure=True)["Location"]
    if way == "stranger":
        browser.logout()
        return browser.post("/openrouter/connect/", post, secure=True)["Location"]
    page, _, kind = way.partition(" ")
    if kind == "json":
        answer = browser.post(
            f"/openrouter/{page}/", post, content_type="application/json", secure=True
        )
        assert answer["Content-Type"].endswith("json")
        return "/"
    if kind == "query":
        return browser.post(f"/openrouter/{page}/", secure=True, query_params=post)["Location"]
    return browser.post(f"/openrouter/{page}/", post, secure=True)["Location"]


WAYS = [
    *["approve", "deny", "paste", "insecure", "stranger", "connect"],
    *["check", "check query", "check json", "disconnect", "disconnect query", "disconnect json"],
]


@pytest.mark.django_db
@examples(150)
@given(addresses.filter(lambda text: text.isprintable()) | addresses, st.sampled_from(WAYS))
@override_settings(OPENROUTER_AUTH_SITE_URL="https://app.example", ALLOWED_HOSTS=["testserver"])
def test_every_page_that_takes_it(text, way):
    """Whatever is sent as ``next`` to any page, its answer leads to this site."""
    # No form can send half a character.
    wish = text.encode("utf-8", "replace").decode()
    with untouched_database(), openrouter():
        user = User.objects.create(username="ann")
        connect(user)
        browser = Client(headers={"host": "testserver"})
        browser.force_login(user)
        location = go_on(browser, {"next": wish}, way)
        if way == "connect":
            assert location.startswith("https://openrouter.ai/auth?")
            # OpenRouter is told nothing of where the user was.
            assert parse_qs(urlsplit(location).query).keys().isdisjoint({"next"})
            return
        assert stays_here(location)
        for inner in parse_qs(urlsplit(location).query).get("next", []):
            assert stays_here(SeeOther(inner)["Location"])
