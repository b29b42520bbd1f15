"""URLs of the sandbox, without trailing slashes, like the real ones; loads with ``DEBUG`` only.

Include them wherever you like::

    path("openrouter-sandbox/", include("django_openrouter_auth.sandbox.urls"))
"""

from django.apps import apps
from django.core.exceptions import ImproperlyConfigured
from django.urls import path

from .guard import refuse_without_debug

refuse_without_debug()
# What Django would say about the models speaks of an app_label, and not of the setting.
if not apps.is_installed("django_openrouter_auth.sandbox"):
    raise ImproperlyConfigured(
        "The URLs of django_openrouter_auth.sandbox are included, and the app is not installed. "
        'Add "django_openrouter_auth.sandbox" to INSTALLED_APPS, or take its include() out of your '
        "urls.py."
    )

from . import chat, consent, exchange, introspection, pages, responses  # noqa: E402 - models

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
