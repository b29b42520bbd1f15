"""OAuth PKCE with OpenRouter: verifier and state in the session, then one exchange."""

import base64
import hashlib
import secrets
from urllib.parse import urlencode

import requests
from django.conf import settings
from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse, HttpResponseBadRequest
from django.shortcuts import redirect
from django.urls import reverse
from django.utils.crypto import constant_time_compare
from django.views.decorators.http import require_GET, require_POST

from .models import StoredKey


@require_POST
@login_required
def connect(request: HttpRequest) -> HttpResponse:
    """Send the user to OpenRouter."""
    verifier = request.session["openrouter_verifier"] = secrets.token_urlsafe(32)
    state = request.session["openrouter_state"] = secrets.token_urlsafe(32)
    digest = hashlib.sha256(verifier.encode()).digest()
    callback_url = f"{reverse('handwritten:callback')}?{urlencode({'state': state})}"
    query = {
        "callback_url": request.build_absolute_uri(callback_url),
        "code_challenge": base64.urlsafe_b64encode(digest).rstrip(b"=").decode(),
        "code_challenge_method": "S256",
    }
    return redirect(f"{settings.PROVIDER_AUTHORIZE_URL}?{urlencode(query)}")


@require_GET
@login_required
def callback(request: HttpRequest) -> HttpResponse:
    """Exchange the code for a key and store it."""
    state = request.session.pop("openrouter_state", "")
    verifier = request.session.pop("openrouter_verifier", "")
    if not state or not constant_time_compare(request.GET.get("state", ""), state):
        return HttpResponseBadRequest("This attempt to connect has expired.")
    response = requests.post(
        f"{settings.PROVIDER_API_URL}/auth/keys",
        json={
            "code": request.GET.get("code", ""),
            "code_verifier": verifier,
            "code_challenge_method": "S256",
        },
        timeout=30,
    )
    response.raise_for_status()
    StoredKey.objects.update_or_create(
        user=request.user, defaults={"api_key": response.json()["key"]}
    )
    messages.success(request, "OpenRouter is connected.")
    return redirect("handwritten_page")
