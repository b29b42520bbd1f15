"""The guide to changing encryption keys."""

import os
import shlex
from io import StringIO

import pytest
from django.core.management import call_command

from django_openrouter_auth.exceptions import KeyUnreadable
from django_openrouter_auth.models import OpenRouterKey
from django_openrouter_auth.shortcuts import get_api_key
from django_openrouter_auth.testing import KEY, OTHER_KEY, connect
from tests.documented import Page

PAGE = Page("howto/rotating-keys")
MAKE = PAGE.take('python -c "import secrets; print(secrets.token_urlsafe(32))"')
FIRST = PAGE.take("# settings.py, first")
THEN = PAGE.take("# settings.py, then")
COMMAND = PAGE.take("python manage.py openrouter_auth_rotate_keys")
LAST = PAGE.take("# settings.py, at last")
AWAY = PAGE.take("# settings.py, away from SECRET_KEY")


def new_key(monkeypatch):
    """Make a key as the guide does."""
    made = []
    (script,) = shlex.split(MAKE.text)[2:]
    exec(script, {"print": made.append})
    monkeypatch.setenv("OPENROUTER_KEY_NEW", made[0])
    return made[0]


def keys_of(block, **names):
    """Return the encryption keys that a block sets."""
    return block.run(os=os, **names)["FERNET_KEYS"]


def rotate():
    """Run the command of the guide."""
    printed = StringIO()
    call_command(COMMAND.text.split()[2], stdout=printed)
    return printed.getvalue()


@pytest.fixture
def old_key(monkeypatch, settings):
    """The encryption key that is to go."""
    key = "old-encryption-key-of-a-guide-0123456789"
    monkeypatch.setenv("OPENROUTER_KEY_OLD", key)
    settings.FERNET_KEYS = [key]
    return key


@pytest.mark.parametrize("ahead", [0, 1, 2])
def test_no_process_is_left_behind(ahead, old_key, user, other_user, settings, monkeypatch):
    """At each deployment, processes before and after it read what either has stored."""
    new = new_key(monkeypatch)
    deployments = [[old_key], keys_of(FIRST), keys_of(THEN), keys_of(LAST)]
    assert deployments[1:] == [[old_key, new], [new, old_key], [new]]
    connect(user)
    if ahead == 2:
        settings.FERNET_KEYS = deployments[2]
        rotate()
    for stored_by, read_by in ((ahead, ahead + 1), (ahead + 1, ahead)):
        settings.FERNET_KEYS = deployments[stored_by]
        connect(other_user, OTHER_KEY)
        settings.FERNET_KEYS = deployments[read_by]
        assert (get_api_key(user), get_api_key(other_user)) == (KEY, OTHER_KEY)


def test_step_that_was_left_out(old_key, user, settings, monkeypatch):
    """Without the command the last step makes keys unreadable, until the old key comes back."""
    new_key(monkeypatch)
    connect(user)
    settings.FERNET_KEYS = keys_of(LAST)
    with pytest.raises(KeyUnreadable):
        get_api_key(user)
    assert OpenRouterKey.objects.get().status == "unreadable"
    settings.FERNET_KEYS = keys_of(THEN)
    assert get_api_key(user) == KEY
    assert OpenRouterKey.objects.get().status == "active"
    assert "Re-encrypted: 1" in rotate()


def test_away_from_the_secret_key(user, settings, monkeypatch):
    """``SECRET_KEY`` takes the part of the old key."""
    new = new_key(monkeypatch)
    del settings.FERNET_KEYS
    connect(user)
    settings.FERNET_KEYS = keys_of(AWAY, SECRET_KEY=settings.SECRET_KEY)
    assert get_api_key(user) == KEY
    settings.FERNET_KEYS = [new, settings.SECRET_KEY]
    rotate()
    settings.FERNET_KEYS = [new]
    assert get_api_key(user) == KEY


def test_secret_keys_of_django(user, settings):
    """Without encryption keys the same steps work with Django's secret keys."""
    del settings.FERNET_KEYS
    old, new = settings.SECRET_KEY, "new-secret-key-of-a-guide-0123456789012345"
    connect(user)
    settings.SECRET_KEY, settings.SECRET_KEY_FALLBACKS = old, [new]
    assert get_api_key(user) == KEY
    settings.SECRET_KEY, settings.SECRET_KEY_FALLBACKS = new, [old]
    rotate()
    settings.SECRET_KEY_FALLBACKS = []
    assert get_api_key(user) == KEY
