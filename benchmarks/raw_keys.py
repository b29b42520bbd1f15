"""Our table as plain bytes, for ``bulk_update()``."""

from django.db import models


class RawKey(models.Model):
    """The ciphertext of a key, and nothing else of its row."""

    secret = models.BinaryField()

    class Meta:
        app_label = "benchmarks"
        managed = False
        db_table = "django_openrouter_auth_openrouterkey"

    def __str__(self) -> str:
        return f"Key {self.pk}"
