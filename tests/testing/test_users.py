"""Users with a key, as a site's tests make them."""

from types import SimpleNamespace
from typing import Any

import pytest

from django_openrouter_auth.exceptions import KeyRejected, KeyUnreadable
from django_openrouter_auth.models import OpenRouterKey
from django_openrouter_auth.shortcuts import get_api_key
from django_openrouter_auth.templatetags.openrouter_auth import has_openrouter_key
from django_openrouter_auth.testing import (
    KEY,
    OTHER_KEY,
    connect,
    create_user,
    make_unreadable,
    reject,
    users,
)

from ..connecting import row


def comparable() -> dict[str, Any]:
    """Return the only key row without what differs from one connection to the next."""
    own = {"id", "secret", "connected_at", "checked_at", "updated_at"}
    return {name: value for name, value in row().items() if name not in own}


def test_stored_row_is_the_one_of_the_flow(user, connected):
    """A row of ``connect`` is the one that going through the flow leaves."""
    of_the_flow = comparable()
    key = connect(user)
    assert comparable() == of_the_flow
    assert key.checked_at is not None
    assert get_api_key(user) == KEY


def test_connect_reads_facts_as_openrouter_tells_them(user):
    """The facts of ``connect`` are those of ``GET /key``."""
    key = connect(user, OTHER_KEY, usage="1.25", limit=10, expires_at="2099-01-01T00:00:00Z")
    assert get_api_key(user) == OTHER_KEY
    assert (float(key.usage or 0), key.limit, key.label) == (1.25, 10, "sk-or-v1-a1b...c3d")
    assert key.expires_at is not None


def test_connect_is_seen_by_the_next_button(user):
    """A user object on which a button looked already shows the new key."""
    assert not has_openrouter_key(user)
    connect(user)
    assert has_openrouter_key(user)


def test_rejected_user(user):
    """A rejected key is refused as after OpenRouter's 401."""
    reject(user)
    with pytest.raises(KeyRejected):
        get_api_key(user)


def test_unreadable_user(user):
    """An unreadable key cannot be decrypted, whatever its status says."""
    key = make_unreadable(user)
    with pytest.raises(KeyUnreadable):
        get_api_key(user)
    with pytest.raises(KeyUnreadable):
        key.secret.reveal()
    assert key.status == OpenRouterKey.Status.UNREADABLE


@pytest.mark.parametrize(
    ("fixture", "status"),
    [
        ("openrouter_connected_user", "active"),
        ("openrouter_rejected_user", "rejected"),
        ("openrouter_unreadable_user", "unreadable"),
    ],
)
def test_users_of_the_fixtures(request, fixture, status):
    """Each user fixture gives a user in that state."""
    assert request.getfixturevalue(fixture).openrouter_key.status == status


def test_function_and_fixture_are_one(openrouter_create_user):
    """A test case calls the function that the fixture gives."""
    assert openrouter_create_user is create_user
    assert create_user("cleo").username == "cleo"


@pytest.mark.parametrize(("field", "value"), [("email", "ann@example.org"), ("nickname", "ann")])
def test_users_of_other_models(monkeypatch, field, value):
    """A user model that is known by an address gets one, and another a name."""
    manager = SimpleNamespace(create_user=lambda **values: values)
    model = SimpleNamespace(USERNAME_FIELD=field, EMAIL_FIELD="email", _default_manager=manager)
    monkeypatch.setattr(users, "get_user_model", lambda: model)
    assert create_user("ann") == {field: value}
