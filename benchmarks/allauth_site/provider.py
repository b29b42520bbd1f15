"""OpenRouter as a provider of allauth."""

import requests
from allauth.socialaccount.providers.base import ProviderAccount
from allauth.socialaccount.providers.oauth2.client import OAuth2Client, OAuth2Error
from allauth.socialaccount.providers.oauth2.provider import OAuth2Provider
from allauth.socialaccount.providers.oauth2.views import OAuth2Adapter
from django.conf import settings
from django.utils.http import urlencode


class OpenRouterClient(OAuth2Client):
    """The two messages of OpenRouter, which have a form of their own."""

    def get_redirect_url(self, authorization_url, scope, extra_params):
        callback_url = f"{self.callback_url}?{urlencode({'state': self.state})}"
        return f"{authorization_url}?{urlencode({'callback_url': callback_url, **extra_params})}"

    def get_access_token(self, code, pkce_code_verifier=None, extra_data=None):
        answer = requests.post(
            f"{settings.PROVIDER_API_URL}/auth/keys",
            json={
                "code": code,
                "code_verifier": pkce_code_verifier,
                "code_challenge_method": "S256",
            },
            timeout=30,
        )
        if answer.status_code != 200:
            raise OAuth2Error(f"OpenRouter answered {answer.status_code}.")
        return {**answer.json(), "access_token": answer.json()["key"]}


class OpenRouterAdapter(OAuth2Adapter):
    """Where OpenRouter is, and whose key it gave out."""

    provider_id = "openrouter"
    client_class = OpenRouterClient
    authorize_url = settings.PROVIDER_AUTHORIZE_URL
    access_token_url = "unused: the client knows it"

    def complete_login(self, request, app, token, response):
        return self.get_provider().sociallogin_from_response(
            request, {"user_id": response["user_id"]}
        )


class OpenRouterProvider(OAuth2Provider):
    """What allauth registers."""

    id = "openrouter"
    name = "OpenRouter"
    account_class = ProviderAccount
    oauth2_adapter_class = OpenRouterAdapter
    pkce_enabled_default = True

    def extract_uid(self, data):
        return data["user_id"]


provider_classes = [OpenRouterProvider]
