"""One encrypted key per user."""

from django.conf import settings
from django.db import models
from fernet_fields import EncryptedTextField


class StoredKey(models.Model):
    """A user's OpenRouter key."""

    user = models.OneToOneField(
        settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="handwritten_key"
    )
    api_key = EncryptedTextField()
    created_at = models.DateTimeField(auto_now_add=True)
    updated_at = models.DateTimeField(auto_now=True)

    def __str__(self) -> str:
        return f"Key of user {self.user_id}"
