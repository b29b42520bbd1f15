"""What is asked of OpenRouter, and what is read from an address, piece by piece."""

from urllib.parse import parse_qs, urlsplit

import pytest

from django_openrouter_auth.authorization import (
    LONGEST_ADDRESS,
    AuthorizationRequest,
    build_callback_url,
    read_entry,
)
from django_openrouter_auth.exceptions import EnteredCodeMalformed


def test_wishes(settings):
    """Wishes go out as they are written; true and false as OpenRouter spells them."""
    wishes = {"limit": 5, "name": "Chat Of Ann", "hidden": True, "shown": False, "none": None}
    settings.OPENROUTER_AUTH_AUTHORIZE_PARAMS = wishes
    request = AuthorizationRequest.make("S256", "")
    expected = {"limit": "5", "name": "Chat Of Ann", "hidden": "true", "shown": "false"}
    assert request.requested == expected
    assert "name=Chat%20Of%20Ann" in request.url()


def test_without_a_challenge():
    """Without a method there is no verifier, and no word of a challenge."""
    request = AuthorizationRequest.make(None, "")
    assert request.code_verifier is None
    assert request.url(state="s") == "https://openrouter.ai/auth?state=s"


@pytest.mark.parametrize(("verifier", "method"), [("v" * 43, None), (None, "S256")])
def test_half_a_challenge(verifier, method):
    """A challenge needs verifier and method."""
    sent = parse_qs(urlsplit(AuthorizationRequest(verifier, method, {}).url()).query)
    assert "code_challenge" not in sent


@pytest.mark.parametrize("origin", ["https://BOX", "https://BOX/"])
def test_callback(origin):
    """The callback is below the origin, to the letter."""
    assert build_callback_url(origin, "s" * 43) == f"https://BOX/openrouter/callback/{'s' * 43}/"


def test_longest_address():
    """An address of 8000 characters is read, and a longer one is none."""
    address = "https://app.example/?code=c&x=".ljust(LONGEST_ADDRESS, "x")
    assert read_entry(address).answer["code"] == "c"
    with pytest.raises(EnteredCodeMalformed):
        read_entry(address + "x")
