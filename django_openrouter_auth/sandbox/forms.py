"""The sandbox's forms."""

import datetime as dt

from django import forms
from django.utils import timezone

from .authorization import KEY_NAME_LENGTH
from .models import LimitReset
from .switches import SandboxSwitches

DEFAULT_ACCOUNT = "ada@example.com"

EXPIRIES = {
    "": "Never",
    "1": "In an hour",
    "24": "In a day",
    "168": "In 7 days",
    "720": "In 30 days",
    "2160": "In 90 days",
}
"""Hours, as the form sends them, and what it calls them."""


class SignInForm(forms.Form):
    """Ask for a name; the sandbox has no passwords."""

    account = forms.EmailField(
        label="Account",
        max_length=254,
        help_text="Any e-mail address. Each one is an account of its own; there is no password.",
        widget=forms.EmailInput(attrs={"autocomplete": "off"}),
    )


class ConsentForm(forms.Form):
    """Ask on which terms an app gets its key."""

    name = forms.CharField(label="Key name", max_length=KEY_NAME_LENGTH)
    limit = forms.DecimalField(
        label="Credit limit (optional)",
        required=False,
        min_value=0,
        max_digits=10,
        decimal_places=2,
        help_text="US dollars. Leave empty for no limit.",
    )
    limit_reset = forms.ChoiceField(
        label="The limit begins anew", required=False, choices=LimitReset.choices
    )
    expires_in = forms.ChoiceField(
        label="Key expires", required=False, choices=list(EXPIRIES.items())
    )

    def expires_at(self) -> dt.datetime | None:
        """Return when the key shall expire; ``None`` for never. For a valid form."""
        hours = self.cleaned_data["expires_in"]
        return timezone.now() + dt.timedelta(hours=int(hours)) if hours else None


class SwitchesForm(forms.ModelForm):
    """Set the switches."""

    class Meta:
        model = SandboxSwitches
        fields = [
            "exchange_fault",
            "key_fault",
            "chat_fault",
            "slow_seconds",
            "credits_mode",
            "cap_status",
            "reused_code_status",
            "no_key_wording",
            "echo_state",
            "describe_denial",
            "burn_code_on_wrong_verifier",
            "free_tier",
        ]
