"""The hand-written version's two views."""

from django.urls import path

from . import views

app_name = "handwritten"

urlpatterns = [
    path("connect/", views.connect, name="connect"),
    path("callback/", views.callback, name="callback"),
]
