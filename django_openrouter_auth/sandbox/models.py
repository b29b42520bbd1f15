"""Codes and keys: what an account approved, what was minted for it, what it has spent."""

import datetime as dt
from decimal import Decimal
from typing import Self

from django.db import models
from django.utils import timezone
from django.utils.crypto import constant_time_compare

from django_openrouter_auth.pkce import PLAIN, make_code_challenge

from .journal import SandboxRequest
from .switches import SandboxSwitches
from .tokens import digest, mask, new_code, new_key

__all__ = ["SandboxCode", "SandboxGeneration", "SandboxKey", "SandboxRequest", "SandboxSwitches"]

CODE_LIFETIME = dt.timedelta(minutes=10)


class LimitReset(models.TextChoices):
    """How often a key's spending starts again from zero."""

    NEVER = "", "Never"
    DAILY = "daily", "Every day"
    WEEKLY = "weekly", "Every week"
    MONTHLY = "monthly", "Every month"


def window_start(reset: str) -> dt.datetime:
    """Return when the current day, Monday week or month began, in UTC.

    Source: OpenRouter API reference, "Get current API key".
    """
    midnight = timezone.now().astimezone(dt.UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    if reset == LimitReset.DAILY:
        return midnight
    if reset == LimitReset.WEEKLY:
        return midnight - dt.timedelta(days=midnight.weekday())
    return midnight.replace(day=1)


def user_id(account: str) -> str:
    """Return the identifier under which OpenRouter would know an account."""
    return f"user_{digest(account)[:27]}"


class Grant(models.Model):
    """What the consent page settled: whose key, its name, limit, reset and expiry."""

    account = models.CharField(max_length=254)
    name = models.CharField(max_length=120, blank=True)
    limit = models.DecimalField(max_digits=10, decimal_places=2, null=True, blank=True)
    limit_reset = models.CharField(max_length=8, choices=LimitReset, blank=True)
    created_at = models.DateTimeField()

    class Meta:
        abstract = True


class SandboxCode(Grant):
    """An authorization code, kept as a hash: good once and for ten minutes.

    Source: OpenRouter OAuth PKCE guide.
    """

    code_hash = models.CharField(max_length=64, unique=True)
    # A "plain" challenge is the verifier itself, so no challenge is stored as it came.
    challenge_hash = models.CharField(max_length=64, blank=True)
    method = models.CharField(max_length=8, blank=True)
    key_expires_at = models.DateTimeField(null=True, blank=True)
    spent_at = models.DateTimeField(null=True, blank=True)

    def __str__(self) -> str:
        return f"Code of {self.account}"

    @classmethod
    def issue(
        cls,
        *,
        account: str,
        code_challenge: str = "",
        method: str = "",
        name: str = "",
        limit: Decimal | None = None,
        limit_reset: str = "",
        key_expires_at: dt.datetime | None = None,
    ) -> str:
        """Approve without a browser and return the code in plain text.

        Args:
            account: e-mail address of the sandbox account that approves.
            code_challenge: the challenge, or ``""`` for none.
            method: ``"S256"``, ``"plain"`` or ``""``; ignored without a challenge.
            name: the name of the key to be minted.
            limit: its spending limit in US dollars; ``None`` for no limit.
            limit_reset: ``""``, ``"daily"``, ``"weekly"`` or ``"monthly"``.
            key_expires_at: when the key stops working; ``None`` for never.
        """
        code = new_code()
        cls.objects.create(
            account=account,
            name=name,
            limit=limit,
            limit_reset=limit_reset,
            created_at=timezone.now(),
            code_hash=digest(code),
            challenge_hash=digest(code_challenge) if code_challenge else "",
            method=method if code_challenge else "",
            key_expires_at=key_expires_at,
        )
        return code

    @property
    def is_expired(self) -> bool:
        """Whether the ten minutes are over."""
        return timezone.now() > self.created_at + CODE_LIFETIME

    def accepts(self, code_verifier: str | None) -> bool:
        """Return whether a verifier belongs to the challenge; any does where there was none."""
        if not self.challenge_hash:
            return True
        try:
            # RFC 7636, section 4.3: a challenge that came without a method is a plain one.
            challenge = make_code_challenge(code_verifier or "", self.method or PLAIN)
        except ValueError:
            return False
        return constant_time_compare(digest(challenge), self.challenge_hash)

    def spend(self) -> bool:
        """Use the code up; false when somebody else was faster."""
        unspent = SandboxCode.objects.filter(pk=self.pk, spent_at=None)
        return unspent.update(spent_at=timezone.now()) == 1


class SandboxKey(Grant):
    """A key, kept as its hash and its mask."""

    key_hash = models.CharField(max_length=64, unique=True)
    label = models.CharField(max_length=32)
    expires_at = models.DateTimeField(null=True, blank=True)

    def __str__(self) -> str:
        return self.label

    @classmethod
    def mint(
        cls,
        *,
        account: str,
        name: str = "",
        limit: Decimal | None = None,
        limit_reset: str = "",
        expires_at: dt.datetime | None = None,
    ) -> tuple[Self, str]:
        """Make a new key and return its row with the key in plain text."""
        key = new_key()
        row = cls.objects.create(
            account=account,
            name=name,
            limit=limit,
            limit_reset=limit_reset,
            created_at=timezone.now(),
            key_hash=digest(key),
            label=mask(key),
            expires_at=expires_at,
        )
        return row, key

    @classmethod
    def find(cls, key: str) -> Self | None:
        """Return the row of a key that works; deleted and expired keys do not."""
        row = cls.objects.filter(key_hash=digest(key)).first()
        return None if row is None or row.is_expired else row

    @property
    def is_expired(self) -> bool:
        """Whether the key's time is over."""
        return self.expires_at is not None and timezone.now() >= self.expires_at

    def usage(self, window: str = "") -> Decimal:
        """Return US dollars spent: altogether, or in the current ``LimitReset`` window."""
        spent = self.generations.all()
        if window:
            spent = spent.filter(created_at__gte=window_start(window))
        total: Decimal | None = spent.aggregate(total=models.Sum("cost"))["total"]
        return total or Decimal(0)

    @property
    def limit_remaining(self) -> Decimal | None:
        """US dollars left until the limit or the next reset; ``None`` without a limit."""
        if self.limit is None:
            return None
        return max(self.limit - self.usage(self.limit_reset), Decimal(0))


class SandboxGeneration(models.Model):
    """One answer of a model and what it cost; the texts are not kept."""

    key = models.ForeignKey(SandboxKey, on_delete=models.CASCADE, related_name="generations")
    generation_id = models.CharField(max_length=64)
    model = models.CharField(max_length=200)
    app = models.CharField(max_length=200, blank=True)
    tokens = models.PositiveIntegerField()
    cost = models.DecimalField(max_digits=12, decimal_places=6)
    created_at = models.DateTimeField()

    class Meta:
        ordering = ["-pk"]

    def __str__(self) -> str:
        return self.generation_id
