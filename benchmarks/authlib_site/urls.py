"""Two views, as in the hand-written version."""

from django.urls import path

from . import views

app_name = "authlib_site"

urlpatterns = [
    path("connect/", views.connect, name="connect"),
    path("callback/", views.callback, name="callback"),
]
