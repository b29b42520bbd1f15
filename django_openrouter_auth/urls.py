"""The pages of this app: include them under a path of your choice."""

from django.urls import path, re_path

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
