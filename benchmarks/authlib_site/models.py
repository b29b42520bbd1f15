"""One token per user."""

from django.conf import settings
from django.db import models


class StoredToken(models.Model):
    """A user's OpenRouter key, in plain text."""

    user = models.OneToOneField(
        settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="authlib_token"
    )
    access_token = models.CharField(max_length=200)
    created_at = models.DateTimeField(auto_now_add=True)
    updated_at = models.DateTimeField(auto_now=True)

    def __str__(self) -> str:
        return f"Token of user {self.user_id}"
