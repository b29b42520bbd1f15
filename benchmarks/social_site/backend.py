"""OpenRouter as a backend of python-social-auth."""

from django.conf import settings
from social_core.backends.oauth import BaseOAuth2PKCE


class OpenRouterOAuth2(BaseOAuth2PKCE):
    """The two messages of OpenRouter, which have a form of their own."""

    name = "openrouter"
    AUTHORIZATION_URL = settings.PROVIDER_AUTHORIZE_URL
    ACCESS_TOKEN_PAYLOAD = "json"
    ID_KEY = "user_id"

    def access_token_url(self):
        return f"{settings.PROVIDER_API_URL}/auth/keys"

    def auth_params(self, state=None):
        params = super().auth_params(state)
        return {
            "callback_url": params["redirect_uri"],
            "code_challenge": params["code_challenge"],
            "code_challenge_method": params["code_challenge_method"],
        }

    def auth_complete_params(self, state=None):
        params = super().auth_complete_params(state)
        return {
            "code": params["code"],
            "code_verifier": params["code_verifier"],
            "code_challenge_method": "S256",
        }

    def request_access_token(self, *args, **kwargs):
        answer = super().request_access_token(*args, **kwargs)
        return {"access_token": answer["key"], "user_id": answer["user_id"]}

    def get_user_details(self, response):
        return {"username": response["user_id"]}
