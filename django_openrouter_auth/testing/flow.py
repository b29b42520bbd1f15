"""What a user does at OpenRouter, played by Django's test client."""

from typing import cast
from urllib.parse import parse_qs, urlsplit

from django.http import HttpResponse
from django.test import Client
from django.urls import reverse

from .facts import CODE


def approve(client: Client, **post: str) -> HttpResponse:
    """Press the button, approve at OpenRouter, come back; return the answer of the callback.

    Args:
        client: the browser, in which somebody is signed in.
        **post: fields of the button's form, such as ``next="/chat/"``.
    """
    return _come_back(client, post, code=CODE)


def deny(client: Client, **post: str) -> HttpResponse:
    """Press the button, say no at OpenRouter, come back; otherwise as ``approve``."""
    return _come_back(client, post, error="access_denied")


def _come_back(client: Client, post: dict[str, str], **answer: str) -> HttpResponse:
    """Start an attempt and end it with an answer of OpenRouter's."""
    # The client's own class of answers has a name for type checkers only.
    return cast("HttpResponse", client.get(_start(client, post), answer, secure=True))


def _start(client: Client, post: dict[str, str]) -> str:
    """Start an attempt and return the path to which OpenRouter would send the browser back."""
    response = client.post(reverse("openrouter_auth:connect"), post, secure=True)
    target = response.get("Location", "")
    asked = parse_qs(urlsplit(target).query)
    if "callback_url" not in asked:
        raise AssertionError(
            f"The button leads to {target or response.status_code}, not to OpenRouter: "
            "is somebody signed in, and does manage.py check find nothing?"
        )
    return urlsplit(asked["callback_url"][0]).path
