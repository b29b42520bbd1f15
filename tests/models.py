"""Models on which the field is compared with its base class."""

from django.db import models
from fernet_fields import EncryptedTextField

from django_openrouter_auth.fields import EncryptedKeyField


class Ours(models.Model):
    """A model with our field and nothing else."""

    secret = EncryptedKeyField(null=True)

    def __str__(self) -> str:
        return f"Ours #{self.pk}"


class Plain(models.Model):
    """The same with the field of fernet-fields."""

    secret = EncryptedTextField(null=True)

    def __str__(self) -> str:
        return f"Plain #{self.pk}"
