from django.apps import apps
from django.conf import settings
from django.contrib import admin
from django.urls import include, path

urlpatterns = [
    path("", include("chat.urls")),
    path("openrouter/", include("django_openrouter_auth.urls")),
    path("admin/", admin.site.urls),
]
if settings.USE_SANDBOX:
    urlpatterns.append(
        path("openrouter-sandbox/", include("django_openrouter_auth.sandbox.urls")),
    )
if apps.is_installed("gallery"):
    urlpatterns.append(path("gallery/", include("gallery.urls")))
