"""The measured site: all versions, and a page with each button and with none."""

from django.contrib import admin
from django.contrib.auth.decorators import login_required
from django.urls import include, path
from django.views.generic import TemplateView

from . import decrypting_admin

urlpatterns = [
    path("openrouter/", include("django_openrouter_auth.urls")),
    path("handwritten/", include("benchmarks.handwritten.urls")),
    path("accounts/", include("allauth.urls")),
    path("social/", include("social_django.urls")),
    path("authlib/", include("benchmarks.authlib_site.urls")),
    path("admin/", admin.site.urls),
    path("decrypting/", decrypting_admin.site.urls),
    *(
        path(
            f"{name}/",
            login_required(TemplateView.as_view(template_name=f"{name}.html")),
            name=name,
        )
        for name in (
            "plain_page",
            "ours_page",
            "handwritten_page",
            "allauth_page",
            "social_page",
            "authlib_page",
        )
    ),
]
