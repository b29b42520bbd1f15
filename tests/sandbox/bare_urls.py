from django.urls import include, path

urlpatterns = [
    path("openrouter-sandbox/", include("django_openrouter_auth.sandbox.urls")),
]
