"""URLs of the sandbox, without trailing slashes, like the real ones; loads with ``DEBUG`` only.

Include them wherever you like::

    path("openrouter-sandbox/", include("django_openrouter_auth.sandbox.urls"))
"""

from django.urls import path

from . import chat, consent, exchange, introspection, pages, responses
from .guard import refuse_without_debug

refuse_without_debug()

app_name = "openrouter_sandbox"

urlpatterns = [
    path("", pages.home, name="home"),
    path("auth", consent.authorize, name="auth"),
    path("sign-in", consent.sign_in_page, name="sign_in"),
    path("keys/<str:key_hash>", pages.key, name="key"),
    path("logs", pages.logs, name="logs"),
    path("settings/keys", pages.keys, name="keys"),
    path("settings/credits", pages.credits_page, name="credits"),
    path("faults", pages.faults, name="faults"),
    path("api/v1/auth/keys", exchange.exchange, name="api_exchange"),
    path("api/v1/auth/key", introspection.current_key, name="api_legacy_key"),
    path("api/v1/key", introspection.current_key, name="api_key"),
    path("api/v1/keys", introspection.managed_keys, name="api_keys"),
    path("api/v1/keys/<path:rest>", introspection.managed_keys, name="api_keys_below"),
    path("api/v1/credits", introspection.account_credits, name="api_credits"),
    path("api/v1/chat/completions", chat.completions, name="api_chat"),
    path("api/v1/responses", responses.responses, name="api_responses"),
]
