"""A stored key comes back as it was, whatever it is and however often encryption keys change."""

import pickle
from base64 import urlsafe_b64encode

import pytest
from django.contrib.auth.models import User
from django.core import serializers
from django.db import connection
from django.test import override_settings
from hypothesis import assume, given
from hypothesis import strategies as st

from django_openrouter_auth.exceptions import KeyUnreadable
from django_openrouter_auth.fields import SealedKey
from django_openrouter_auth.models import ConnectAttempt, OpenRouterKey
from django_openrouter_auth.rotation import rotate_keys

from .strategies import api_keys, encryption_keys
from .trying import examples, untouched_database

pytestmark = pytest.mark.django_db


def store(username, api_key):
    """Store a key for a new user and return its row."""
    user = User.objects.create(username=username)
    fields = OpenRouterKey.derive(user.pk, api_key)
    return OpenRouterKey.objects.create(user=user, source="oauth", **fields)


def read(row):
    """Return the key in a row that is read anew, or ``None`` where it cannot be revealed."""
    try:
        return OpenRouterKey.objects.get(pk=row.pk).secret.reveal()
    except KeyUnreadable:
        return None


def rotate(rows):
    """Run the rotation, two rows at a time."""
    list(rotate_keys("default", batch_size=2))


def save(rows):
    """Write whole rows back."""
    for row in OpenRouterKey.objects.all():
        row.save()


def bulk_update(rows):
    """Write all rows back in one statement."""
    OpenRouterKey.objects.bulk_update(OpenRouterKey.objects.all(), ["secret", "hint"])


def dump_and_load(rows):
    """Carry the rows out and in again, as a backup does."""
    dump = serializers.serialize("json", OpenRouterKey.objects.all())
    OpenRouterKey.objects.all().delete()
    for entry in serializers.deserialize("json", dump):
        entry.save()


def pickle_and_save(rows):
    """Keep the rows in a cache, and write them back from there."""
    for row in pickle.loads(pickle.dumps(list(OpenRouterKey.objects.all()))):
        row.save()


REWRITES = [rotate, save, bulk_update, dump_and_load, pickle_and_save]
steps = st.lists(
    st.tuples(st.just("add"), encryption_keys)
    | st.tuples(st.sampled_from(["drop", "bring back", "turn"]), st.integers(0, 10))
    | st.tuples(st.just("rewrite"), st.sampled_from([rotate, *REWRITES])),
    max_size=15,
)


def turn(ring, lost, step, value):
    """Change the encryption keys of the site by one step; ``lost`` are those that it had."""
    if step == "add":
        ring.insert(0, value)
    elif step == "drop" and len(ring) > 1:
        lost.append(ring.pop(value % len(ring)))
    elif step == "bring back" and lost:
        ring.append(lost.pop(value % len(lost)))
    elif step == "turn":
        ring.append(ring.pop(0))


@examples(60)
@given(st.lists(api_keys, min_size=1, max_size=4), encryption_keys, steps)
def test_any_key_and_any_rotations(keys, first, steps):
    """While its encryption key is there, or there again, a key is what it was; else nothing."""
    ring, lost = [first], []
    with untouched_database(), override_settings(FERNET_KEYS=ring):
        rows = [store(f"user {number}", key) for number, key in enumerate(keys)]
        sealed_with = as_bytes(first)
        for step, value in steps:
            if step == "rewrite":
                value(rows)
            turn(ring, lost, step, value)
            if value is rotate and sealed_with in map(as_bytes, ring):
                sealed_with = as_bytes(ring[0])
            is_readable = sealed_with in map(as_bytes, ring)
            assert [read(row) for row in rows] == [key if is_readable else None for key in keys]


def as_bytes(key):
    """Return an encryption key as it is used: text and its bytes are the same key."""
    return key.encode() if isinstance(key, str) else key


@examples(60)
@given(api_keys, st.lists(st.binary(min_size=32, max_size=32), min_size=1, max_size=5))
def test_keys_that_are_not_derived(api_key, raw):
    """A site that gives Fernet keys themselves reads its keys through any number of rotations."""
    ring = []
    with untouched_database(), override_settings(FERNET_KEYS=ring, FERNET_USE_HKDF=False):
        ring.append(urlsafe_b64encode(raw[0]).decode())
        row = store("ann", api_key)
        for one in raw[1:]:
            ring.insert(0, urlsafe_b64encode(one).decode())
            rotate([row])
            del ring[1:]
            assert read(row) == api_key


@examples(150)
@given(st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=300))
def test_any_text(text):
    """Any text that a model with this field may hold comes back as it was."""
    with untouched_database():
        user = User.objects.create(username="ann")
        attempt = ConnectAttempt(user=user, state_hash="0", created_at=user.date_joined)
        attempt.code_verifier = text
        attempt.save()
        assert ConnectAttempt.objects.get().code_verifier.reveal() == text


@examples(100)
@given(api_keys, st.data())
def test_any_damage(api_key, data):
    """A damaged key is unreadable: it is never another key, an empty one or ciphertext."""
    with untouched_database():
        row = store("ann", api_key)
        token = bytearray(row.secret.token)
        for place in data.draw(st.lists(st.integers(0, len(token) - 1), min_size=1, max_size=4)):
            token[place] = data.draw(st.integers(0, 255))
        damaged = bytes(token[: data.draw(st.integers(0, len(token)))])
        with connection.cursor() as cursor:
            cursor.execute(f"UPDATE {OpenRouterKey._meta.db_table} SET secret = %s", [damaged])
        assert read(row) in {None, api_key}


@examples(100)
@given(api_keys, api_keys)
def test_moved_to_another_user(one, other):
    """A secret that is moved to another user's row is revealed to nobody."""
    assume(one != other)
    with untouched_database():
        ann, bob = store("ann", one), store("bob", other)
        OpenRouterKey.objects.filter(pk=ann.pk).update(secret=SealedKey(bob.secret.token))
        assert read(ann) is None
        assert read(bob) == other
