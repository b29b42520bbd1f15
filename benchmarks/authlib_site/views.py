"""OAuth PKCE with OpenRouter by Authlib."""

import json
from urllib.parse import parse_qs, urlencode

from authlib.common.security import generate_token
from authlib.integrations.django_client import OAuth
from django.conf import settings
from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import reverse
from django.views.decorators.http import require_GET, require_POST

from .models import StoredToken


def send_json(client, method, uri, headers, body):
    """Turn the form that the standard asks for into what OpenRouter takes."""
    form = parse_qs(body)
    body = json.dumps(
        {
            "code": form["code"][0],
            "code_verifier": form["code_verifier"][0],
            "code_challenge_method": "S256",
        }
    )
    headers["Content-Type"] = "application/json"
    headers["Content-Length"] = str(len(body))
    return uri, headers, body


oauth = OAuth()
oauth.register(
    "openrouter",
    client_id="openrouter",
    authorize_url=settings.PROVIDER_AUTHORIZE_URL,
    access_token_url=f"{settings.PROVIDER_API_URL}/auth/keys",
    client_kwargs={
        "code_challenge_method": "S256",
        "token_endpoint_auth_method": send_json,
        "default_timeout": 30,
    },
)


@require_POST
@login_required
def connect(request: HttpRequest) -> HttpResponse:
    """Send the user to OpenRouter."""
    state = generate_token()
    redirect_uri = request.build_absolute_uri(reverse("authlib_site:callback"))
    return oauth.openrouter.authorize_redirect(
        request,
        redirect_uri,
        state=state,
        callback_url=f"{redirect_uri}?{urlencode({'state': state})}",
    )


@require_GET
@login_required
def callback(request: HttpRequest) -> HttpResponse:
    """Exchange the code for a key and store it."""
    token = oauth.openrouter.authorize_access_token(request)
    StoredToken.objects.update_or_create(user=request.user, defaults={"access_token": token["key"]})
    messages.success(request, "OpenRouter is connected.")
    return redirect("authlib_page")
