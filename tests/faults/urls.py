from django.urls import include, path

from . import site

urlpatterns = [
    path("enter/<str:name>/", site.enter),
    path("enter/<str:name>/<str:api_key>/", site.enter),
    path("facts/", site.facts),
    path("messages/", site.messages),
    path("an-hour-later/", site.an_hour_later),
    path("openrouter/", include("django_openrouter_auth.urls")),
]
