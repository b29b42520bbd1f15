"""The user at OpenRouter, played by Django's test client."""

import pytest

from django_openrouter_auth.shortcuts import get_api_key
from django_openrouter_auth.testing import CODE, KEY, approve, deny

from ..connecting import outcome


def test_approve(client, user, openrouter):
    """Approving at OpenRouter connects, whatever the site is called."""
    client.force_login(user)
    response = approve(client, next="/ok/")
    assert outcome(response) == ("success", "connected")
    assert response["Location"] == "/ok/"
    assert get_api_key(user) == KEY
    assert [body["code"] for body in openrouter.exchanges] == [CODE]


def test_deny(client, user, openrouter):
    """Saying no at OpenRouter connects nothing."""
    client.force_login(user)
    assert outcome(deny(client)) == ("info", "access_denied")
    assert openrouter.calls == []


def test_approve_without_anybody(client, db):
    """Without a signed-in user the helper says what is wrong."""
    with pytest.raises(AssertionError, match="is somebody signed in"):
        approve(client)
