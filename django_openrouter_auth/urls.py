"""The pages of this app: include them under a path of your choice."""

from django.apps import apps
from django.core.exceptions import ImproperlyConfigured
from django.urls import path, re_path

# What Django would say about the models speaks of an app_label, and not of the setting.
if not apps.is_installed("django_openrouter_auth"):
    raise ImproperlyConfigured(
        "The URLs of django_openrouter_auth are included, and the app is not installed. Add "
        '"django_openrouter_auth" to INSTALLED_APPS.'
    )

from . import entry_views, views

app_name = "openrouter_auth"

urlpatterns = [
    path("", views.manage, name="manage"),
    path("connect/", views.connect, name="connect"),
    path("callback/<str:state>/", views.callback, name="callback"),
    # A damaged callback still carries a code: it must reach the view, which answers with a clean
    # URL, and neither a 404 page nor the redirect that appends a slash.
    re_path(r"^callback/(?P<state>(?s:.*))$", views.callback),
    path("code/", entry_views.code, name="code"),
    path("key/", entry_views.key, name="key"),
    path("disconnect/", views.disconnect, name="disconnect"),
    path("check/", views.check, name="check"),
    path("status/", views.status, name="status"),
]
