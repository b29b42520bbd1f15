"""The code verifier and its challenge."""

import re

import pytest

from django_openrouter_auth.pkce import make_code_challenge, make_code_verifier

# RFC 7636, appendix B
VERIFIER = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"
CHALLENGE = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"


def test_vector_of_the_rfc():
    """FI 3: the verifier of RFC 7636 has the challenge of RFC 7636."""
    assert make_code_challenge(VERIFIER, "S256") == CHALLENGE


def test_plain_challenge():
    """With ``plain`` the challenge is the verifier."""
    assert make_code_challenge(VERIFIER, "plain") == VERIFIER


def test_fresh_verifiers():
    """FI 2: verifiers have 43 unreserved characters, and none comes twice."""
    verifiers = {make_code_verifier() for _ in range(300)}
    assert len(verifiers) == 300
    assert all(re.fullmatch(r"[A-Za-z0-9._~-]{43}", verifier) for verifier in verifiers)


@pytest.mark.parametrize("verifier", ["", "x" * 42, "x" * 129, "x" * 43 + "\n", "ä" * 43, "=" * 43])
def test_verifiers_that_the_rfc_forbids(verifier):
    """M20: only 43 to 128 unreserved characters make a verifier; the error does not quote it."""
    with pytest.raises(ValueError, match="43 to 128") as caught:
        make_code_challenge(verifier, "S256")
    assert not verifier or verifier not in str(caught.value)


@pytest.mark.parametrize("verifier", ["x" * 43, "x" * 128, "~._-" * 11])
def test_verifiers_that_the_rfc_allows(verifier):
    """Every verifier of the allowed length and alphabet has a challenge."""
    assert len(make_code_challenge(verifier, "S256")) == 43


@pytest.mark.parametrize("method", ["s256", "PLAIN", "", "S512"])
def test_methods_that_do_not_exist(method):
    """The spelling of a method matters."""
    with pytest.raises(ValueError, match="S256"):
        make_code_challenge(VERIFIER, method)
