"""What the admin shows of a row: states as badges with words, amounts as money."""

from django.contrib import admin
from django.utils.functional import Promise
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _
from django.utils.translation import pgettext, pgettext_lazy

from .attempts import CONNECTED
from .exceptions import message_of
from .models import ConnectAttempt, OpenRouterKey
from .money import as_money
from .wording import terms_in_words

GOOD, WAITING, BAD = "good", "waiting", "bad"


def badge(kind: str, words: str | Promise) -> SafeString:
    """Return a state in words, with a sign before it; its colour only repeats them."""
    return format_html('<span class="openrouter-badge openrouter-badge--{}">{}</span>', kind, words)


class RequestColumns:
    """What staff see of what this site asked for."""

    @admin.display(description=pgettext_lazy("fact", "This site asked for"))
    def asked_for(self, row: OpenRouterKey | ConnectAttempt) -> str:
        """What this site asked for when the key was made."""
        terms = terms_in_words(row.requested)
        return "\n".join(f"{name}: {value}" for name, value in terms) or pgettext(
            "admin", "nothing"
        )


class KeyColumns(RequestColumns):
    """What staff see of a key."""

    @admin.display(description=pgettext_lazy("fact", "Status"), ordering="status")
    def state(self, key: OpenRouterKey) -> SafeString:
        """Whether the key can be used, and what will soon be in the way."""
        kind = GOOD if key.is_usable else BAD
        words = key.get_status_display()
        if key.is_usable and key.is_expired:
            kind, words = BAD, pgettext("status", "Expired")
        elif key.is_usable and key.expires_soon:
            kind, words = WAITING, pgettext("status", "Expires soon")
        return badge(kind, words)

    @admin.display(description=pgettext_lazy("admin", "Last check"))
    def last_check(self, key: OpenRouterKey) -> str:
        """How the last check ended, in words."""
        if key.check_error:
            return str(message_of(key.check_error))
        return key.checked_in_words

    @admin.display(description=pgettext_lazy("fact", "Used in total"), ordering="usage")
    def used(self, key: OpenRouterKey) -> str:
        """What was spent with the key."""
        return pgettext("fact", "not known") if key.usage is None else as_money(key.usage)

    @admin.display(description=pgettext_lazy("fact", "Spending limit"), ordering="limit")
    def spending_limit(self, key: OpenRouterKey) -> str:
        """What the key may spend, and how much of that is used."""
        return pgettext("admin", "No limit") if key.is_limited is False else key.limit_in_words

    @admin.display(description=pgettext_lazy("fact", "Checked"), ordering="checked_at")
    def checked(self, key: OpenRouterKey) -> str:
        """How long ago OpenRouter last told about the key, and whether a later check failed."""
        if not key.check_error:
            return key.checked_in_words
        return format_html(
            "{} {}", key.checked_in_words, badge(WAITING, pgettext("status", "Last check failed"))
        )

    @admin.display(description=pgettext_lazy("fact", "OpenRouter account"))
    def account(self, key: OpenRouterKey) -> str:
        """What is known of the account at OpenRouter."""
        if key.is_free_tier is None:
            return pgettext("fact", "not known")
        if key.is_free_tier:
            return _("Free tier: no credit was ever bought")
        return pgettext("admin", "Credit was bought")


class AttemptColumns(RequestColumns):
    """What staff see of an attempt to connect."""

    @admin.display(description=pgettext_lazy("fact", "Result"), ordering="outcome")
    def result(self, attempt: ConnectAttempt) -> SafeString:
        """Whether the attempt connected."""
        if not attempt.outcome:
            return badge(WAITING, pgettext("status", "Pending"))
        if attempt.outcome == CONNECTED:
            return badge(GOOD, pgettext("status", "Connected"))
        return badge(BAD, pgettext("status", "Not connected"))

    @admin.display(description=pgettext_lazy("admin", "In words"))
    def in_words(self, attempt: ConnectAttempt) -> str:
        """What became of the attempt, and what the user was told if it failed."""
        if attempt.outcome == CONNECTED:
            return _("OpenRouter is connected.")
        if attempt.outcome:
            return str(message_of(attempt.outcome))
        if attempt.claimed_at:
            return pgettext("admin", "It is being finished, or was interrupted.")
        return pgettext("admin", "The user has not come back from OpenRouter yet.")
