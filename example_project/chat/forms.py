from django import forms
from django.conf import settings


class ChatForm(forms.Form):
    """Ask for a message and the model that answers it."""

    message = forms.CharField(
        max_length=4000, widget=forms.Textarea(attrs={"rows": 3, "placeholder": "Ask anything"})
    )
    model = forms.ChoiceField(choices=settings.CHAT_MODELS.items())
