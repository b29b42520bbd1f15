"""The mask never shows more of a key than its prefix, three characters, and its last three."""

import pickle

import pytest
from django.contrib.auth.models import User
from hypothesis import given
from hypothesis import strategies as st

from django_openrouter_auth.fields import mask
from django_openrouter_auth.models import OpenRouterKey

from .strategies import any_keys, api_keys, usual_keys
from .trying import examples


def shown(masked):
    """What a mask may consist of: a beginning, the dots, an end."""
    beginning, dots, end = masked[:-6], masked[-6:-3], masked[-3:]
    assert dots == "..."
    return beginning, end


@examples(300)
@given(api_keys)
def test_beginning_and_end(key):
    """Of any key at most its last three characters are shown, and twelve at its beginning."""
    beginning, end = shown(mask(key))
    assert key.endswith(end)
    assert beginning in {"", key[:12]}
    assert len(key) - len(beginning) - len(end) >= 17


@examples(200)
@given(st.text(min_size=20, max_size=39) | usual_keys.map(lambda key: key[:39]))
def test_short_keys(key):
    """Of a short key, whatever it begins with, nothing but its last three characters is shown."""
    assert shown(mask(key))[0] == ""


@examples(200)
@given(any_keys.filter(lambda key: not key.startswith("sk-or-v1-")))
def test_unknown_prefix(key):
    """Of a key of another kind the beginning is secret too."""
    assert shown(mask(key))[0] == ""


@examples(200)
@given(usual_keys, st.text("ghijklmnopqrstuvwxyz", min_size=26, max_size=60))
def test_the_middle(key, middle):
    """Two keys that differ only in the middle look the same."""
    left, right = key[:12], key[-3:]
    assert mask(f"{left}{middle}{right}") == mask(f"{left}{middle[::-1]}{right}")


@examples(100)
@given(api_keys)
def test_everything_that_a_sealed_key_says(key):
    """Text, ``repr``, format and pickle of a stored key hold the mask, and fit into its column."""
    row = OpenRouterKey(user=User(pk=1), **OpenRouterKey.derive(1, key))
    assert len(row.hint) <= OpenRouterKey._meta.get_field("hint").max_length
    for text in (str(row.secret), f"{row.secret}", f"{row.secret!r}"):
        assert mask(key) in text
    for text in (str(row.secret), repr(row.secret), str(vars(row)), str(pickle.dumps(row))):
        assert key not in text


@examples(100)
@given(st.text(max_size=600).filter(lambda text: not (text.isascii() and 20 <= len(text) <= 512)))
def test_what_is_no_key(text):
    """What no request could carry is never stored, so that no mask of it exists."""
    with pytest.raises(ValueError, match="This cannot be an API key"):
        OpenRouterKey.derive(1, text)
