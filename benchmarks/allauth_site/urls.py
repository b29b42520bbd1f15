"""Found by ``allauth.urls``."""

from allauth.socialaccount.providers.oauth2.urls import default_urlpatterns

from .provider import OpenRouterProvider

urlpatterns = default_urlpatterns(OpenRouterProvider)
