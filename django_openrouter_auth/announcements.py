"""Telling receivers what has happened, once it is committed.

A database that fails here keeps them from being told, and nothing else: what has happened has
happened, and the user is to be told just that.
"""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from django.contrib.auth.base_user import AbstractBaseUser
from django.db import Error, connections, router, transaction
from django.db.transaction import TransactionManagementError
from django.dispatch import Signal

from .keys import find_key, key_rows
from .models import OpenRouterKey
from .signals import connect_failed, key_connected, key_disconnected, key_rejected

logger = logging.getLogger("django_openrouter_auth")


def announce_connected(user: AbstractBaseUser, *, replaced: bool) -> None:
    """Tell that a user's key was stored."""
    with _failures_logged():
        # Looked up for receivers only: most sites have none.
        key = find_key(user) if key_connected.has_listeners(OpenRouterKey) else None
        # A disconnect may have been faster.
        if key is not None:
            _announce(key_connected, user=user, key=key, replaced=replaced)


def announce_disconnected(user: AbstractBaseUser, key_hash: str) -> None:
    """Tell that the stored copy of a user's key was deleted."""
    with _failures_logged():
        _announce(key_disconnected, user=user, key_hash=key_hash)


def announce_rejected(pk: int) -> None:
    """Tell that OpenRouter no longer accepts the key of a row."""
    with _failures_logged():
        if key_rejected.has_listeners(OpenRouterKey):
            key = key_rows().defer("secret").select_related("user").filter(pk=pk).first()
            if key is not None:
                _announce(key_rejected, user=key.user, key=key)


def announce_failed(user: AbstractBaseUser, code: str) -> None:
    """Tell that an attempt ended without a key."""
    with _failures_logged():
        _announce(connect_failed, user=user, code=code)


@contextmanager
def _failures_logged() -> Iterator[None]:
    # Django asks the connection whether a transaction is open, and there may be none any more.
    try:
        yield
    except TransactionManagementError:
        raise
    except Error as error:
        # Somebody's transaction may have failed as a whole, which they must hear of.
        if connections[router.db_for_write(OpenRouterKey)].in_atomic_block:
            raise
        logger.warning("openrouter receivers not told: %s", type(error).__name__)


def _announce(signal: Signal, **facts: Any) -> None:
    transaction.on_commit(
        lambda: signal.send_robust(sender=OpenRouterKey, **facts),
        using=router.db_for_write(OpenRouterKey),
        robust=True,
    )
