"""Asking a model on the user's own account, and saying in plain words what went wrong.

Everything that can happen to a call is handled here; nothing of what OpenRouter or a provider
writes into an error reaches the page.
"""

import requests
from django.conf import settings
from django.urls import reverse

from django_openrouter_auth.exceptions import KeyRejected, KeyUnreadable, NotConnected
from django_openrouter_auth.shortcuts import get_session


class ChatError(Exception):
    """Raised when there is no answer.

    Args:
        text: what happened and what to do about it, for a person.
        link: where to do it, as URL and text; none where this site's own page is the place.
    """

    def __init__(self, text, link=None):
        super().__init__(text)
        self.link = link


def ask(user, model, conversation):
    """Return what a model answers to a conversation; the user's own key pays.

    Args:
        user: who asks.
        model: identifier of the model, for example ``openai/gpt-4o-mini``.
        conversation: messages so far, as ``{"role": "user" or "assistant", "content": text}``.

    Raises:
        ChatError: there is no answer.
    """
    question = {
        "model": model,
        "messages": conversation,
        # Without a limit OpenRouter asks for credit that would pay for the longest answer of all.
        "max_tokens": settings.CHAT_MAX_TOKENS,
    }
    try:
        response = get_session(user).post("chat/completions", json=question)
    except (NotConnected, KeyRejected, KeyUnreadable) as error:
        # The texts of the package's exceptions are written for users.
        raise ChatError(str(error)) from error
    except requests.RequestException as error:
        raise ChatError(
            "OpenRouter could not be reached or took too long. Please send your message again."
        ) from error
    return read_answer(response)


def read_answer(response):
    """Return the text of an answer.

    Raises:
        ChatError: the answer is an error, or nothing that can be shown.
    """
    try:
        body = response.json()
    except ValueError:
        body = None
    error = body.get("error") if isinstance(body, dict) else None
    status = response.status_code
    if status == 200 and isinstance(error, dict):
        # A provider failed after OpenRouter had begun to answer: the code is inside.
        status = error.get("code")
    if status != 200:
        raise explain(status)
    try:
        text = body["choices"][0]["message"]["content"].strip()
    except (AttributeError, IndexError, KeyError, TypeError):
        text = ""
    if not text:
        raise ChatError("The model did not answer. Please send your message again.")
    return text


def explain(status):
    """Return the ``ChatError`` for an HTTP status other than 200."""
    match status:
        case 400 | 404 | 413 | 422:
            return ChatError(
                "OpenRouter cannot answer this message with this model. "
                "Please choose another model, or write a shorter message."
            )
        case 402:
            return ChatError(
                "There is not enough credit left for an answer.",
                (f"{settings.OPENROUTER_URL}/settings/credits", "Open your credits at OpenRouter"),
            )
        case 403:
            return ChatError(
                "OpenRouter refused this message: the spending limit of your key may be used up, "
                "or the message breaks the model's rules.",
                (reverse("openrouter_auth:manage"), "See your key and its limit"),
            )
        case 429:
            return ChatError(
                "The model has too many visitors right now. "
                "Please wait a minute and send your message again, or choose another model."
            )
    return ChatError(
        "OpenRouter or the model had a problem. "
        "Please send your message again, or choose another model."
    )
