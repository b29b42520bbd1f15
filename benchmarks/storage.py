"""Storing one key and reading it back, beside bare ``MultiFernet`` and bare SQL."""

import time

from cryptography.fernet import Fernet, MultiFernet
from django.conf import settings
from django.contrib.auth import get_user_model
from django.db import connection
from django.utils import timezone
from fernet_fields.hkdf import derive_fernet_key

from django_openrouter_auth.models import OpenRouterKey
from django_openrouter_auth.shortcuts import get_api_key

from .figures import Figure, Part
from .handwritten.models import StoredKey
from .provider import EXCHANGED
from .versions import HANDWRITTEN, OURS

BARE = "bare"
WARM_UPS = 10
API_KEY = EXCHANGED["key"]


def measure(keys: int) -> list[Part]:
    """Store and read keys in each way in turn, and return how long one takes."""
    fernet = MultiFernet([Fernet(derive_fernet_key(key)) for key in settings.FERNET_KEYS])
    table = connection.ops.quote_name(StoredKey._meta.db_table)

    def save_ours(user):
        OpenRouterKey.objects.create(user_id=user.pk, **OpenRouterKey.derive(user.pk, API_KEY))

    def save_handwritten(user):
        StoredKey.objects.create(user_id=user.pk, api_key=API_KEY)

    def save_bare(user):
        now = timezone.now()
        if connection.vendor == "sqlite":
            now = now.replace(tzinfo=None)
        with connection.cursor() as cursor:
            cursor.execute(
                f"INSERT INTO {table} (user_id, api_key, created_at, updated_at)"
                " VALUES (%s, %s, %s, %s)",
                [user.pk, fernet.encrypt(API_KEY.encode()), str(now), str(now)],
            )

    def load_handwritten(user):
        return StoredKey.objects.get(user_id=user.pk).api_key

    def load_bare(user):
        with connection.cursor() as cursor:
            cursor.execute(f"SELECT api_key FROM {table} WHERE user_id = %s", [user.pk])
            return fernet.decrypt(bytes(cursor.fetchone()[0])).decode()

    ways = {
        OURS.name: (save_ours, get_api_key),
        HANDWRITTEN.name: (save_handwritten, load_handwritten),
        BARE: (save_bare, load_bare),
    }
    saved: dict[str, list[float]] = {name: [] for name in ways}
    loaded: dict[str, list[float]] = {name: [] for name in ways}
    model = get_user_model()
    for number in range(keys + WARM_UPS):
        for name, (save, load) in _turned(list(ways.items()), number):
            user = model.objects.create(username=f"storage {name} {number}", password="!")
            began = time.process_time()
            save(user)
            between = time.process_time()
            found = load(user)
            ended = time.process_time()
            assert found == API_KEY
            if number >= WARM_UPS:
                saved[name].append((between - began) * 1000)
                loaded[name].append((ended - between) * 1000)
    return [
        Part(
            "One key",
            [
                Figure("encrypted and saved: cpu", saved, "ms"),
                Figure("loaded and decrypted: cpu", loaded, "ms"),
            ],
            notes=[f"{keys} keys each way; bare: MultiFernet, INSERT and SELECT, no model"],
        )
    ]


def _turned(ways: list, number: int) -> list:
    first = number % len(ways)
    return ways[first:] + ways[:first]
