"""What OpenRouter says about a key is read without an error, and can be stored, whatever it is."""

from datetime import datetime
from decimal import Decimal
from json import loads

import pytest
import responses
from django.contrib.auth.models import User
from django.test import Client, override_settings
from django.utils import timezone
from hypothesis import given
from hypothesis import strategies as st

from django_openrouter_auth.client import ExchangedKey, OpenRouterConnection
from django_openrouter_auth.exceptions import OpenRouterAuthError
from django_openrouter_auth.key_info import KeyInfo, read_key_info
from django_openrouter_auth.models import OpenRouterKey

from ..connecting import API, CODE, KEY
from .strategies import exchange_bodies, json_bodies, key_facts, verifiers
from .trying import examples, untouched_database

JSON = "application/json"
FLAGS = ("is_limited", "is_free_tier")
AMOUNTS = ("usage", "limit", "limit_remaining")
TEXTS = {"label": 100, "limit_reset": 20}


def is_same(stored, amount):
    """Return whether two amounts are the same, as far as SQLite knows: it has no exact numbers."""
    if stored is None or amount is None:
        return stored is amount
    return abs(stored - amount) <= abs(amount) * Decimal("1e-14")


def refuse_constants(name):
    """Fail for the numbers that JSON has not, though Python writes them."""
    raise AssertionError(name)


@examples(400)
@given(key_facts)
def test_any_object(facts):
    """Any JSON object is read, and what is found in it is of the kinds and sizes that fit."""
    info = read_key_info(facts)
    assert all(getattr(info, name) in {True, False, None} for name in FLAGS)
    assert info.is_management_key in {True, False}
    for name, longest in TEXTS.items():
        text = getattr(info, name)
        assert len(text) <= longest
        assert text.isprintable()
    for amount in (getattr(info, name) for name in AMOUNTS):
        assert amount is None or abs(amount) <= Decimal(10) ** 9
        assert amount is None or amount == round(amount, 9)
    assert info.expires_at is None or timezone.is_aware(info.expires_at)


@pytest.mark.django_db
@examples(60)
@given(key_facts)
def test_stored(facts):
    """Any JSON object can be stored as it was read, and the pages show it."""
    info = read_key_info(facts)
    with untouched_database():
        user = User.objects.create(username="ann")
        row = OpenRouterKey(user=user, source="oauth", checked_at=timezone.now())
        for name, value in {**OpenRouterKey.derive(user.pk, KEY), **info.as_fields()}.items():
            setattr(row, name, value)
        row.full_clean()
        row.save()
        stored = OpenRouterKey.objects.get()
        for name in (*TEXTS, *FLAGS, "expires_at"):
            assert getattr(stored, name) == getattr(info, name)
        for name in AMOUNTS:
            assert is_same(getattr(stored, name), getattr(info, name))
        browser = Client()
        browser.force_login(user)
        assert browser.get("/openrouter/").status_code == 200
        told = browser.get("/openrouter/status/").content.decode()
        assert loads(told, parse_constant=refuse_constants)["connected"] is True


@examples(100)
@given(key_facts, st.sampled_from(["UTC", "Pacific/Kiritimati", "America/St_Johns"]))
def test_site_without_time_zones(facts, zone):
    """A site that stores local times gets one without a zone, whatever moment is named."""
    with override_settings(USE_TZ=False, TIME_ZONE=zone):
        moment = read_key_info(facts).expires_at
    assert moment is None or (isinstance(moment, datetime) and timezone.is_naive(moment))


def asked(body, ask, status=200):
    """What comes of a conversation in which OpenRouter answers with these bytes."""
    with responses.RequestsMock(assert_all_requests_are_fired=False) as mock:
        for method, path in (("GET", "key"), ("POST", "auth/keys")):
            mock.add(method, f"{API}/{path}", body, status=status, content_type=JSON)
        with OpenRouterConnection() as connection:
            try:
                return ask(connection)
            except OpenRouterAuthError as error:
                return error


@examples(250)
@given(json_bodies)
def test_any_answer_about_a_key(body):
    """Any bytes in answer to ``GET /key`` are read or refused, and never raise anything else."""
    found = asked(body, lambda connection: connection.read_key(KEY))
    assert isinstance(found, (KeyInfo, OpenRouterAuthError))
    assert getattr(found, "code", "provider_protocol") in {
        "provider_protocol",
        "provider_unavailable",
    }


@examples(250)
@given(exchange_bodies, verifiers)
def test_any_answer_to_an_exchange(body, verifier):
    """Any bytes in answer to an exchange give a key that can be stored, or a refusal."""
    found = asked(body, lambda connection: connection.exchange_code(CODE, verifier, "S256"))
    if isinstance(found, ExchangedKey):
        assert OpenRouterKey.derive(1, found.api_key)["secret"].reveal() == found.api_key
        assert len(found.openrouter_user_id) <= 255
    else:
        assert isinstance(found, OpenRouterAuthError)
        # It was sent, and a status of success may mean that a key was made.
        assert found.outcome_unknown


@examples(100)
@given(json_bodies, st.integers(min_value=300, max_value=599))
def test_any_answer_with_any_status(body, status):
    """Any bytes with any status but success are refused, and only 401 speaks about the key."""
    found = asked(body, lambda connection: connection.read_key(KEY), status)
    assert isinstance(found, OpenRouterAuthError)
    assert (found.code == "key_rejected") == (status == 401)
