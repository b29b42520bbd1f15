"""Telling receivers what has happened, once it is committed."""

from typing import Any

from django.contrib.auth.base_user import AbstractBaseUser
from django.db import router, transaction
from django.dispatch import Signal

from .keys import find_key, key_rows
from .models import OpenRouterKey
from .signals import connect_failed, key_connected, key_disconnected, key_rejected


def announce_connected(user: AbstractBaseUser, *, replaced: bool) -> None:
    """Tell that a user's key was stored."""
    # Looked up for receivers only: most sites have none.
    key = find_key(user) if key_connected.has_listeners(OpenRouterKey) else None
    # A disconnect may have been faster.
    if key is not None:
        _announce(key_connected, user=user, key=key, replaced=replaced)


def announce_disconnected(user: AbstractBaseUser, key_hash: str) -> None:
    """Tell that the stored copy of a user's key was deleted."""
    _announce(key_disconnected, user=user, key_hash=key_hash)


def announce_rejected(pk: int) -> None:
    """Tell that OpenRouter no longer accepts the key of a row."""
    if key_rejected.has_listeners(OpenRouterKey):
        key = key_rows().defer("secret").select_related("user").filter(pk=pk).first()
        if key is not None:
            _announce(key_rejected, user=key.user, key=key)


def announce_failed(user: AbstractBaseUser, code: str) -> None:
    """Tell that an attempt ended without a key."""
    _announce(connect_failed, user=user, code=code)


def _announce(signal: Signal, **facts: Any) -> None:
    transaction.on_commit(
        lambda: signal.send_robust(sender=OpenRouterKey, **facts),
        using=router.db_for_write(OpenRouterKey),
        robust=True,
    )
