"""URLs of the sandbox as a site of its own."""

from django.urls import include, path
from django.views.generic import RedirectView

# Below a path, so that the cookie of this sandbox leaves one at another port of the host alone.
urlpatterns = [
    path("", RedirectView.as_view(pattern_name="openrouter_sandbox:home")),
    path("sandbox/", include("django_openrouter_auth.sandbox.urls")),
]
