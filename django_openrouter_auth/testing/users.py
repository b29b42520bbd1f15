"""Users whose key is stored, rejected or unreadable; made without OpenRouter and its flow."""

import base64
import secrets
from typing import Any

from django.contrib.auth import get_user_model
from django.contrib.auth.base_user import AbstractBaseUser
from django.test import override_settings
from django.utils import timezone

from ..key_info import read_key_info
from ..keys import forget_shown_key, key_rows
from ..models import OpenRouterKey
from .facts import KEY, OPENROUTER_USER, key_facts


def create_user(name: str) -> Any:
    """Create a user who is known by nothing but a name, or by an address made of it."""
    model = get_user_model()
    email = getattr(model, "EMAIL_FIELD", None)
    value = f"{name}@example.org" if email == model.USERNAME_FIELD else name
    return model._default_manager.create_user(**{model.USERNAME_FIELD: value})


def connect(user: AbstractBaseUser, api_key: str = KEY, **facts: Any) -> OpenRouterKey:
    """Store a key for a user, in place of any other, and return its row.

    The row is the one that connecting leaves; nothing goes over the network, and no signal is sent.

    Args:
        user: whose key.
        api_key: the key itself.
        **facts: what OpenRouter says about it, as in ``GET /key``: ``usage=1.25``, ``limit=10``.
    """
    now = timezone.now()
    values = {
        **OpenRouterKey.derive(user.pk, api_key),
        **read_key_info(key_facts(api_key, facts)).as_fields(),
        "source": OpenRouterKey.Source.OAUTH,
        "status": OpenRouterKey.Status.ACTIVE,
        "openrouter_user_id": OPENROUTER_USER,
        "connected_at": now,
        "checked_at": now,
    }
    key_rows().filter(user_id=user.pk).delete()
    key: OpenRouterKey = key_rows().create(user_id=user.pk, **values)
    forget_shown_key(user)
    return key


def reject(user: AbstractBaseUser, api_key: str = KEY, **facts: Any) -> OpenRouterKey:
    """Store a key that OpenRouter no longer accepts; the arguments are those of ``connect``."""
    return _change(connect(user, api_key, **facts), status=OpenRouterKey.Status.REJECTED)


def make_unreadable(user: AbstractBaseUser, api_key: str = KEY, **facts: Any) -> OpenRouterKey:
    """Store a key whose encryption key the site has lost; arguments as ``connect`` has."""
    key = connect(user, api_key, **facts)
    lost = base64.urlsafe_b64encode(secrets.token_bytes(32)).decode()
    with override_settings(FERNET_KEYS=[lost]):
        sealed = OpenRouterKey.derive(user.pk, api_key)["secret"]
    return _change(key, secret=sealed, status=OpenRouterKey.Status.UNREADABLE)


def _change(key: OpenRouterKey, **values: Any) -> OpenRouterKey:
    key_rows().filter(pk=key.pk).update(**values)
    key.refresh_from_db()
    return key
