"""Storing a new key, together with the outcome of the attempt that brought it.

By now the code is spent and the key exists at OpenRouter: everything here serves not to lose it.
"""

import logging
from typing import Any

from django.contrib.auth.base_user import AbstractBaseUser
from django.db import IntegrityError, connections, router, transaction
from django.utils import timezone
from django.views.decorators.debug import sensitive_variables

from . import attempt_table
from .attempts import CONNECTED
from .exceptions import StorageFailed
from .key_info import KeyInfo
from .keys import key_rows
from .models import ConnectAttempt, OpenRouterKey

logger = logging.getLogger("django_openrouter_auth")

STORE_TRIES = 6
UNKNOWN_FACTS = {**KeyInfo().as_fields(), "checked_at": None}


@sensitive_variables()
def store_key(
    attempt: ConnectAttempt,
    user: AbstractBaseUser,
    api_key: str,
    info: KeyInfo | None,
    *,
    expected_hash: str | None,
    source: str,
    openrouter_user_id: str = "",
) -> str | None:
    """Store a new key and return the fingerprint of the one that it replaced.

    Key and outcome are written together or not at all: where a disconnect removed the attempt
    meanwhile, or the user is gone, no key is stored. The key comes first, as it does when Django
    deletes a user: the other order would let the two lock each other out.
    """
    now = timezone.now()
    values = {
        **OpenRouterKey.derive(user.pk, api_key),
        "source": source,
        "status": OpenRouterKey.Status.ACTIVE,
        "openrouter_user_id": openrouter_user_id,
        "requested": attempt.requested,
        "connected_at": now,
        "check_began_at": None,
        "check_error": "",
        "updated_at": now,
    }
    facts = {**info.as_fields(), "checked_at": now} if info else UNKNOWN_FACTS
    alias = router.db_for_write(OpenRouterKey)
    expected = replaced = expected_hash
    for number in range(STORE_TRIES):
        try:
            if number:
                expected = stored_hash(user)
                replaced = expected if expected != values["key_hash"] else replaced
            with transaction.atomic(using=alias):
                _write_key(user, values | facts, expected)
                _end_connected(attempt, user)
        except StorageFailed:
            raise
        except IntegrityError:
            # Another request stored or removed a key between our look and our write.
            continue
        # The code is spent and the key exists: a connection that was lost meanwhile, or a fact
        # about the key that the database does not take, must not lose it.
        except Exception as error:  # noqa: BLE001 - or the key is lost
            logger.warning("openrouter key not stored: %s user=%s", type(error).__name__, user.pk)
            # Inside somebody else's transaction Django would take a good connection for a bad one.
            if not connections[alias].in_atomic_block:
                connections[alias].close_if_unusable_or_obsolete()
            facts = UNKNOWN_FACTS
        else:
            return replaced if replaced != values["key_hash"] else None
    raise StorageFailed(stage="save", outcome_unknown=True)


def _write_key(user: AbstractBaseUser, values: dict[str, Any], expected: str | None) -> None:
    """Insert the key, or replace exactly the one that is expected to be there.

    Raises:
        IntegrityError: another one is there, or none any more.
    """
    if expected is None:
        key_rows().create(user_id=user.pk, **values)
    elif not key_rows().filter(user_id=user.pk, key_hash=expected).update(**values):
        raise IntegrityError("The key that was to be replaced is gone.")


def stored_hash(user: AbstractBaseUser) -> str | None:
    """Return the fingerprint of the key that a user has now, or ``None``."""
    found: str | None = (
        key_rows().filter(user_id=user.pk).values_list("key_hash", flat=True).first()
    )
    return found


def _end_connected(attempt: ConnectAttempt, user: AbstractBaseUser) -> None:
    """Write down that an attempt connected.

    Raises:
        StorageFailed: the attempt was dropped meanwhile, or its user may not sign in any more.
    """
    if not attempt_table.end(attempt, user, CONNECTED):
        raise StorageFailed(stage="save", outcome_unknown=True)
