"""PKCE for any verifier, compared with RFC 7636 as it is written."""

import hashlib
import re
from base64 import b64encode

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from django_openrouter_auth.pkce import make_code_challenge, make_code_verifier

from .strategies import UNRESERVED, verifiers
from .trying import examples


def challenge_by_the_book(verifier):
    """BASE64URL-ENCODE(SHA256(ASCII(code_verifier))), appendix A of RFC 7636."""
    encoded = b64encode(hashlib.sha256(verifier.encode("ascii")).digest()).decode("ascii")
    return encoded.split("=")[0].replace("+", "-").replace("/", "_")


def test_the_book():
    """The comparison itself is right: it gives the example of RFC 7636, appendix B."""
    verifier = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"
    assert challenge_by_the_book(verifier) == "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"


@examples(300)
@given(verifiers)
def test_s256(verifier):
    """The challenge of any verifier is that of the RFC."""
    assert make_code_challenge(verifier, "S256") == challenge_by_the_book(verifier)


@examples(100)
@given(verifiers)
def test_plain(verifier):
    """The plain challenge of any verifier is the verifier."""
    assert make_code_challenge(verifier, "plain") == verifier


@examples(300)
@given(
    st.text(max_size=200) | st.text(UNRESERVED, max_size=42) | st.text(UNRESERVED, min_size=129),
    st.sampled_from(["S256", "plain"]),
)
def test_what_is_no_verifier(text, method):
    """Whatever the RFC does not allow is refused, in words that do not repeat it."""
    assume(not (43 <= len(text) <= 128 and set(text) <= set(UNRESERVED)))
    with pytest.raises(ValueError, match="A code verifier has 43 to 128 characters") as refused:
        make_code_challenge(text, method)
    assert len(text) < 10 or text not in str(refused.value)


@examples(100)
@given(verifiers, st.text(max_size=10) | st.sampled_from(["s256", "S256 ", "PLAIN", "", "S512"]))
def test_what_is_no_method(verifier, method):
    """No other method, or spelling of one, gives a challenge, and the verifier is not repeated."""
    assume(method not in {"S256", "plain"})
    with pytest.raises(ValueError, match="method") as refused:
        make_code_challenge(verifier, method)
    assert verifier not in str(refused.value)


def test_fresh_verifiers():
    """Verifiers are 43 unreserved characters of 256 bits, and no two are alike."""
    made = [make_code_verifier() for _ in range(200)]
    assert len(set(made)) == 200
    assert all(re.fullmatch(r"[A-Za-z0-9_-]{43}", verifier) for verifier in made)
