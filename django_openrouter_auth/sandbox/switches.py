"""The switchboard: which of OpenRouter's bad days the sandbox plays."""

from typing import Self

from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models


class ExchangeFault(models.TextChoices):
    """What goes wrong when a code is exchanged for a key."""

    NONE = "none", "Nothing"
    SLOW = "slow", "Answer slowly"
    SERVER_ERROR = "server_error", "500, JSON"
    BAD_GATEWAY = "bad_gateway", "502, HTML page"
    UNAVAILABLE = "unavailable", "503, HTML page"
    RATE_LIMITED = "rate_limited", "429 with Retry-After"
    CUT_BEFORE = "cut_before", "Cut the connection before the key is made"
    CUT_AFTER = "cut_after", "Make the key, then cut the connection"
    NO_KEY = "no_key", "200 without a key"
    EMPTY = "empty", "200 with an empty body"
    INVALID_JSON = "invalid_json", "200 with half a JSON document"
    KEY_WITH_NEWLINE = "key_with_newline", "200, line break inside the key"
    HUGE = "huge", "200 with a body of 1 MB"
    REDIRECT = "redirect", "307 to the same place"
    NO_USER_ID = "no_user_id", "200, user_id is null"
    EXTRA_FIELDS = "extra_fields", "200 with fields nobody has heard of"


class KeyFault(models.TextChoices):
    """What goes wrong, or just differs, when a client asks about its key."""

    NONE = "none", "Nothing"
    SLOW = "slow", "Answer slowly"
    SERVER_ERROR = "server_error", "500, JSON"
    HTML = "html", "502, HTML page"
    UNAUTHORIZED = "unauthorized", "401, as if the key were deleted"
    FORBIDDEN = "forbidden", "403"
    MINIMAL = "minimal", "200 with label, limit and usage only"
    MANAGEMENT_KEY = "management_key", "200, says it is a management key"


class ChatFault(models.TextChoices):
    """What goes wrong when a model is asked."""

    NONE = "none", "Nothing"
    SLOW = "slow", "Answer slowly"
    UNAUTHORIZED = "unauthorized", "401, as if the key were deleted"
    NO_CREDIT = "no_credit", "402, account has no credit"
    CAP_SPENT = "cap_spent", "Spent limit of the key (403 or 402, see below)"
    RATE_LIMITED = "rate_limited", "429"
    SERVER_ERROR = "server_error", "500, JSON"
    ERROR_IN_200 = "error_in_200", "200 with nothing but an error"
    ERROR_FIRST = "error_first", "Streams: an error as the first event"
    ERROR_MID_STREAM = "error_mid_stream", "Streams: an error after the first words"
    CUT_STREAM = "cut_stream", "Streams: stop without an end"


class CreditsMode(models.TextChoices):
    """How ``/credits`` answers an ordinary key; people have seen all three.

    Source: OpenRouter API reference, "Get credits" (403).
    """

    FORBIDDEN = "forbidden", "403, management keys only"
    ZEROS = "zeros", "200 with zeros"
    TOTALS = "totals", "200 with the account's totals"


class NoKeyWording(models.TextChoices):
    """How a request without a key is refused; the wording has changed over time."""

    COOKIE = "No cookie auth credentials found", "No cookie auth credentials found"
    HEADER = "Missing Authentication header", "Missing Authentication header"


class CapStatus(models.IntegerChoices):
    """Status for a spent limit: guides and reports disagree."""

    FORBIDDEN = 403, "403 Key limit exceeded"
    PAYMENT_REQUIRED = 402, "402 This request requires more credits"


class ReusedCodeStatus(models.IntegerChoices):
    """Status for a code that was used before: nobody has published it."""

    INVALID_CODE = 400, "400 Invalid code"
    INVALID_CODE_OR_VERIFIER = 403, "403 Invalid code or code_verifier"


class SandboxSwitches(models.Model):
    """The one row of switches, shared by all processes of the site."""

    exchange_fault = models.CharField(
        "code exchange", max_length=32, choices=ExchangeFault, default=ExchangeFault.NONE
    )
    key_fault = models.CharField(
        "key check", max_length=32, choices=KeyFault, default=KeyFault.NONE
    )
    chat_fault = models.CharField(
        "chat and responses", max_length=32, choices=ChatFault, default=ChatFault.NONE
    )
    slow_seconds = models.FloatField(
        "seconds of a slow answer",
        default=5.0,
        validators=[MinValueValidator(0), MaxValueValidator(120)],
    )
    echo_state = models.BooleanField(
        "return state to the callback",
        default=True,
        help_text="OpenRouter has not always done so.",
    )
    describe_denial = models.BooleanField("add error_description to a denial", default=False)
    burn_code_on_wrong_verifier = models.BooleanField(
        "a wrong code_verifier uses up the code",
        default=True,
        help_text="Not known of OpenRouter; on is harder for an app.",
    )
    reused_code_status = models.PositiveSmallIntegerField(
        "code used twice", choices=ReusedCodeStatus, default=ReusedCodeStatus.INVALID_CODE
    )
    cap_status = models.PositiveSmallIntegerField(
        "spent limit of a key", choices=CapStatus, default=CapStatus.FORBIDDEN
    )
    no_key_wording = models.CharField(
        "request without a key", max_length=64, choices=NoKeyWording, default=NoKeyWording.COOKIE
    )
    credits_mode = models.CharField(
        "credits", max_length=32, choices=CreditsMode, default=CreditsMode.FORBIDDEN
    )
    free_tier = models.BooleanField("accounts never bought credit", default=False)

    class Meta:
        verbose_name = "switches"
        verbose_name_plural = "switches"

    def __str__(self) -> str:
        return "Sandbox switches"

    @classmethod
    def load(cls) -> Self:
        """Return the row as it is now, or the defaults when nobody has saved it yet."""
        return cls.objects.filter(pk=1).first() or cls(pk=1)

    @classmethod
    def reset(cls) -> Self:
        """Turn every switch back to its default and return the row."""
        cls.objects.all().delete()
        return cls.load()
