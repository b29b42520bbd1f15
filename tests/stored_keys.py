"""Key rows in quantity: made, and looked at as the database holds them."""

from cryptography.fernet import Fernet, InvalidToken
from django.contrib.auth.models import User
from django.db import connection
from django.utils import timezone
from fernet_fields.hkdf import derive_fernet_key

from django_openrouter_auth.models import OpenRouterKey

TABLE = OpenRouterKey._meta.db_table
OLD, NEW = "old-encryption-key-" + "0123456789" * 3, "new-encryption-key-" + "9876543210" * 3


def api_key(number):
    """Return the key of the user with a number."""
    return f"sk-or-v1-{number:064}"


def store_keys(count, **values):
    """Store the keys of so many new users; return their rows, oldest first.

    Args:
        count: how many.
        values: what else their rows hold.
    """
    users = User.objects.bulk_create([User(username=f"user {n}") for n in range(count)])
    users = list(User.objects.filter(pk__in=[user.pk for user in users]).order_by("pk"))
    OpenRouterKey.objects.bulk_create(
        [
            OpenRouterKey(
                user=user,
                source=OpenRouterKey.Source.OAUTH,
                connected_at=timezone.now(),
                **OpenRouterKey.derive(user.pk, api_key(number)),
                **values,
            )
            for number, user in enumerate(users)
        ]
    )
    return list(OpenRouterKey.objects.filter(user__in=users).order_by("pk"))


def column():
    """Return what the database holds, in the order of the rows."""
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT secret FROM {TABLE} ORDER BY id")
        return [row[0] if isinstance(row[0], str) else bytes(row[0]) for row in cursor.fetchall()]


def write(row, held):
    """Put something into the column of a row."""
    with connection.cursor() as cursor:
        cursor.execute(f"UPDATE {TABLE} SET secret = %s WHERE id = %s", [held, row.pk])


def opened(key):
    """Return what each row holds for somebody who has one encryption key, ``None`` for nothing."""
    fernet = Fernet(derive_fernet_key(key))

    def plaintext(token):
        try:
            return fernet.decrypt(token).decode()
        except InvalidToken:
            return None

    return [plaintext(token) for token in column()]
