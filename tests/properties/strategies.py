"""What the properties are tried with: values as they should be, and values as they are not."""

import json
import string
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

UNRESERVED = string.ascii_letters + string.digits + "-._~"
VISIBLE = "".join(map(chr, range(0x21, 0x7F)))

verifiers = st.text(UNRESERVED, min_size=43, max_size=128)
codes = st.text(VISIBLE, min_size=1, max_size=512)

# What the site takes for a key, and the form that OpenRouter's keys have had so far.
any_keys = st.text(VISIBLE, min_size=20, max_size=512)
usual_keys = st.text("0123456789abcdef", min_size=11, max_size=80).map("sk-or-v1-".__add__)
api_keys = any_keys | usual_keys

encryption_keys = st.text(min_size=1, max_size=60) | st.binary(min_size=1, max_size=60)

# What parsers of addresses disagree about.
ADDRESS_PIECES = [
    *"/\\.:@?#%&=;[]|~ \t\n\r\0\x0b\x1f\x7f\x85\xa0",
    *["//", "/\\", "..", "/../", "/./", "%2f", "%5c", "%2e", "%09", "%0a", "%00", "%25", "%252f"],
    *["\u2028", "\u3000", "\u2024", "\u3002", "\uff0f", "\uff3c", "\ufeff", "\ud800", "ﬀ", "世"],
    *["http:", "HTTPS:", "https://", "javascript:", "data:", "mailto:", "blob:", "file:///"],
    *["evil.example", "app.example", "testserver", "user:pw@", ":80", "[::1]", "0x7f.1", "xn--"],
    *["openrouter", "connect", "callback", "disconnect", "check", "c%6fnnect", "next=", "a"],
]
addresses = (
    st.lists(st.sampled_from(ADDRESS_PIECES), max_size=12).map("".join)
    | st.lists(st.sampled_from(ADDRESS_PIECES), max_size=12).map("".join).map("/".__add__)
    | st.text(max_size=60).map("/".__add__)
    | st.text(max_size=60)
)

# Strings with surrogates too: JSON may escape half a character.
any_text = st.text(st.characters(), max_size=200)
numbers = (
    st.integers()
    | st.integers(min_value=-(10**40), max_value=10**40)
    | st.floats()
    | st.decimals(allow_nan=True).map(str)
    | st.sampled_from([10**9, 999_999_999.9999999999, "1e-400", "1e999999", "0x1f", "１２", "-0"])
)
zones = st.timedeltas(timedelta(hours=-23, minutes=-59), timedelta(hours=23, minutes=59))
moments = st.datetimes(min_value=datetime(1, 1, 1), max_value=datetime(9999, 12, 31))  # noqa: DTZ001 - zones follow
timestamps = (
    st.builds(lambda moment, zone: moment.replace(tzinfo=timezone(zone)), moments, zones)
    | moments.map(lambda moment: moment.replace(tzinfo=UTC))
    | moments
).map(datetime.isoformat)
json_values: SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | numbers | any_text | timestamps,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(any_text, inner, max_size=4),
    max_leaves=20,
)

FACTS = (
    *("label", "usage", "limit", "limit_remaining", "limit_reset", "is_free_tier", "expires_at"),
    *("is_management_key", "is_provisioning_key", "rate_limit", "user_id", "key", "error"),
)
key_facts: SearchStrategy[dict[str, Any]] = st.dictionaries(
    st.sampled_from(FACTS) | any_text, json_values, max_size=12
)


UNUSUAL_BODIES = [
    *[f'{{"data": {{"usage": {number}}}}}' for number in ("NaN", "1e999", "1" * 5000, "-0")],
    '{"data": {"label": "\\ud800", "limit": [[[]]]}}',
    '{"data": {"usage": 1}, "data": {"usage": 2}}',
    f'{{"data": {"[" * 30_000}{"]" * 30_000}}}',
    f'{{"data": {{"usage": {"[" * 900}{"]" * 900}}}}}',
]
_telling = st.builds(lambda name, facts: {name: facts}, st.sampled_from(["data", "key"]), key_facts)
json_bodies: SearchStrategy[bytes] = st.binary(max_size=300) | (
    st.one_of(json_values, _telling).map(json.dumps) | st.sampled_from(UNUSUAL_BODIES)
).map(str.encode)
exchange_bodies: SearchStrategy[bytes] = json_bodies | st.builds(
    lambda facts, key: json.dumps(facts | {"key": key, "error": None}).encode(),
    key_facts,
    api_keys,
)
