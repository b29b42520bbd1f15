"""What is stored: each user's key, and each attempt to connect one."""

from datetime import timedelta
from decimal import Decimal
from typing import Any, TypedDict

from django.db import models
from django.utils import timezone
from django.utils.text import capfirst
from django.utils.translation import gettext_lazy as _
from django.utils.translation import pgettext, pgettext_lazy

from .conf import app_settings, is_api_key, user_model_name
from .fields import EncryptedKeyField, SealedKey, fingerprint, mask, owner_fingerprint
from .wording import age_in_words, limit_in_words, no_limit, terms_in_words

EXPIRES_SOON = timedelta(days=14)


class KeyFields(TypedDict):
    """The four fields that follow from a key and change only together."""

    secret: SealedKey
    key_hash: str
    hint: str
    owner_hash: str


def key_settings_url(key_hash: str) -> str:
    """Return the page of OpenRouter on which a key's owner changes or deletes it.

    Source: OpenRouter OAuth PKCE guide; visible to the signed-in owner only.
    """
    return f"{app_settings.web_url}/keys/{key_hash}"


class KeyFacts:
    """What follows from the facts about a key that are stored."""

    status: Any
    key_hash: Any
    limit: Any
    limit_remaining: Any
    is_limited: Any
    limit_reset: Any
    expires_at: Any
    checked_at: Any

    @property
    def is_usable(self) -> bool:
        """Whether the site can call OpenRouter with this key, as far as is known."""
        return bool(self.status == OpenRouterKey.Status.ACTIVE)

    @property
    def expires_soon(self) -> bool:
        """Whether the key expires within 14 days, or has expired."""
        return bool(self.expires_at and self.expires_at - timezone.now() <= EXPIRES_SOON)

    @property
    def is_expired(self) -> bool:
        """Whether the key has expired, as far as is known."""
        return bool(self.expires_at and self.expires_at <= timezone.now())

    @property
    def limit_used(self) -> Decimal | None:
        """What is used of the limit, in US dollars; ``None`` where there is none or it is unknown.

        OpenRouter counts ``usage`` from the day the key was made, and the limit by periods. Calls
        that run at the same time may use more than the limit.
        """
        # Of a limit of nothing no part can be used.
        if self.is_limited is False or not self.limit or self.limit_remaining is None:
            return None
        return Decimal(max(self.limit - self.limit_remaining, Decimal()))

    @property
    def is_used_up(self) -> bool:
        """Whether nothing is left of the limit, as far as is known."""
        is_known = self.is_limited and self.limit_remaining is not None
        return bool(is_known and self.limit_remaining <= 0)

    @property
    def limit_in_words(self) -> str:
        """What the key may spend and how much of it is used, in words for people."""
        if self.is_limited is False:
            return no_limit()
        if self.limit is None:
            return pgettext("fact", "not known")
        return limit_in_words(self.limit, self.limit_used, self.limit_reset)

    @property
    def checked_in_words(self) -> str:
        """How long ago OpenRouter last told about the key, in words for people."""
        if self.checked_at is None:
            return pgettext("fact", "not checked yet")
        return age_in_words(self.checked_at)

    @property
    def settings_url(self) -> str:
        """The page of OpenRouter on which the key's owner changes or deletes it."""
        return key_settings_url(self.key_hash)

    @property
    def activity_url(self) -> str:
        """The page of OpenRouter on which the key's owner sees what was spent with it.

        Source: OpenRouter OAuth PKCE guide; visible to the signed-in owner only.
        """
        return f"{app_settings.web_url}/logs?api_key_hash={self.key_hash}"


class OpenRouterKey(KeyFacts, models.Model):
    """A user's own OpenRouter key: at most one per user."""

    class Source(models.TextChoices):
        """The way by which a key came."""

        OAUTH = "oauth", pgettext_lazy("admin", "Approved at OpenRouter")
        CODE = "code", pgettext_lazy("admin", "Entered code")
        PASTED = "pasted", pgettext_lazy("admin", "Pasted key")
        ADMIN = "admin", pgettext_lazy("admin", "Set by staff")

    class Status(models.TextChoices):
        """Whether a key can be used."""

        ACTIVE = "active", pgettext_lazy("status", "Active")
        REJECTED = "rejected", pgettext_lazy("status", "Rejected by OpenRouter")
        UNREADABLE = "unreadable", pgettext_lazy("status", "Unreadable")

    user = models.OneToOneField(
        user_model_name(),
        on_delete=models.CASCADE,
        related_name="openrouter_key",
        verbose_name=_("user"),
    )
    secret = EncryptedKeyField(
        _("secret"), shown_as="hint", owner="user_id", owner_hash="owner_hash"
    )
    key_hash = models.CharField(
        _("fingerprint"),
        max_length=64,
        db_index=True,
        help_text=_("SHA-256 of the key, in lowercase hex; OpenRouter's links contain it."),
    )
    hint = models.CharField(_("key"), max_length=40, help_text=_("What may be shown of the key."))
    owner_hash = models.CharField(
        _("owner's fingerprint"),
        max_length=64,
        help_text=_("SHA-256 over user and key: a key that is moved to another user is refused."),
    )
    source = models.CharField(_("source"), max_length=10, choices=Source.choices)
    status = models.CharField(
        _("status"), max_length=10, choices=Status.choices, default=Status.ACTIVE
    )
    openrouter_user_id = models.CharField(_("OpenRouter user"), max_length=255, blank=True)
    label = models.CharField(
        _("label"), max_length=100, blank=True, help_text=_("OpenRouter's own mask of the key.")
    )
    usage = models.DecimalField(
        _("usage"), max_digits=19, decimal_places=9, null=True, blank=True, help_text=_("US$")
    )
    limit = models.DecimalField(
        _("limit"),
        max_digits=19,
        decimal_places=9,
        null=True,
        blank=True,
        help_text=_("US$ that the key may spend, empty: no limit of its own. Not a balance."),
    )
    limit_remaining = models.DecimalField(
        _("limit remaining"),
        max_digits=19,
        decimal_places=9,
        null=True,
        blank=True,
        help_text=_("US$"),
    )
    is_limited = models.BooleanField(
        _("is limited"), null=True, blank=True, help_text=_("Empty where OpenRouter did not say.")
    )
    limit_reset = models.CharField(_("limit resets"), max_length=20, blank=True)
    is_free_tier = models.BooleanField(_("free tier"), null=True, blank=True)
    expires_at = models.DateTimeField(_("expires at"), null=True, blank=True)
    connected_at = models.DateTimeField(_("connected at"), default=timezone.now)
    checked_at = models.DateTimeField(
        _("checked at"),
        null=True,
        blank=True,
        help_text=_("When OpenRouter last told about this key."),
    )
    check_began_at = models.DateTimeField(
        _("last check began at"),
        null=True,
        blank=True,
        editable=False,
        help_text=_("A key is asked about at most once in 30 seconds."),
    )
    check_error = models.CharField(
        _("last check failed with"),
        max_length=40,
        blank=True,
        help_text=_("The code of what went wrong, empty if nothing did."),
    )
    requested = models.JSONField(
        _("requested"),
        default=dict,
        blank=True,
        help_text=_("What this site asked for when the key was made; its owner decides."),
    )
    updated_at = models.DateTimeField(_("updated at"), auto_now=True)

    class Meta:
        verbose_name = _("OpenRouter key")
        verbose_name_plural = _("OpenRouter keys")
        # Django stores these names, as it stores its own, in English.
        permissions = (
            ("check_openrouterkey", "Can check OpenRouter key"),
            ("disconnect_openrouterkey", "Can disconnect OpenRouter key"),
            ("set_openrouterkey", "Can set OpenRouter key"),
        )
        # The lists of the admin begin with the newest.
        indexes = (models.Index(fields=["-connected_at", "-id"], name="openrouter_key_newest"),)

    def __str__(self) -> str:
        return f"{capfirst(self._meta.verbose_name)} #{self.pk}"

    @staticmethod
    def derive(user_id: object, api_key: str) -> KeyFields:
        """Return the fields that follow from a key, ready for a model or an update.

        Args:
            user_id: the primary key of its owner.
            api_key: the key in plain text.

        Raises:
            ValueError: no request could carry it: it is not 20 to 512 printable ASCII characters.
        """
        if not is_api_key(api_key):
            raise ValueError("This cannot be an API key.")
        return {
            "secret": SealedKey.seal(api_key),
            "key_hash": fingerprint(api_key),
            "hint": mask(api_key),
            "owner_hash": owner_fingerprint(user_id, api_key),
        }

    @property
    def requested_terms(self) -> list[tuple[str, str]]:
        """What this site asked for when the key was made, with names for people."""
        return terms_in_words(self.requested)


class ConnectAttempt(models.Model):
    """One attempt to connect: pending, claimed by one request, then ended with an outcome."""

    class Mode(models.TextChoices):
        """How the code, or the key itself, comes back."""

        CALLBACK = "callback", pgettext_lazy("admin", "Return from OpenRouter")
        CODE = "code", pgettext_lazy("admin", "Entered code")
        PASTED = "pasted", pgettext_lazy("admin", "Pasted key")
        ADMIN = "admin", pgettext_lazy("admin", "Set by staff")

    user = models.ForeignKey(
        user_model_name(),
        on_delete=models.CASCADE,
        related_name="+",
        verbose_name=_("user"),
    )
    state_hash = models.CharField(
        _("state"), max_length=64, unique=True, help_text=_("SHA-256 of the state.")
    )
    browser_hash = models.CharField(
        _("browser"),
        max_length=64,
        help_text=_("SHA-256 of the value that the session of the browser holds."),
    )
    code_verifier = EncryptedKeyField(_("code verifier"), null=True, blank=True)
    method = models.CharField(
        _("code challenge method"), max_length=10, blank=True, help_text=_("Empty: no challenge.")
    )
    mode = models.CharField(_("mode"), max_length=10, choices=Mode.choices, default=Mode.CALLBACK)
    requested = models.JSONField(
        _("requested"), default=dict, blank=True, help_text=_("What OpenRouter is asked for.")
    )
    next_url = models.CharField(_("next"), max_length=2000, blank=True)
    created_at = models.DateTimeField(_("started at"))
    claimed_at = models.DateTimeField(
        _("returned at"),
        null=True,
        blank=True,
        help_text=_("When a request took this attempt; no other can."),
    )
    tries = models.PositiveSmallIntegerField(
        _("refused codes"), default=0, help_text=_("Codes that OpenRouter refused so far.")
    )
    outcome = models.CharField(
        _("outcome"),
        max_length=40,
        blank=True,
        help_text=_('Empty while pending, then "connected" or the code of what went wrong.'),
    )

    class Meta:
        verbose_name = _("connect attempt")
        verbose_name_plural = _("connect attempts")
        indexes = (
            models.Index(fields=["user", "-created_at"], name="openrouter_attempt_user"),
            models.Index(fields=["-created_at", "-id"], name="openrouter_attempt_newest"),
        )

    def __str__(self) -> str:
        return f"{capfirst(self._meta.verbose_name)} #{self.pk}"
