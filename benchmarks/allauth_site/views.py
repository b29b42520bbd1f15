"""Found by the URLs of allauth."""

from allauth.socialaccount.providers.oauth2.views import OAuth2CallbackView, OAuth2LoginView

from .provider import OpenRouterAdapter

oauth2_login = OAuth2LoginView.adapter_view(OpenRouterAdapter)
oauth2_callback = OAuth2CallbackView.adapter_view(OpenRouterAdapter)
