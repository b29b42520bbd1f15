"""The measured site: both versions, and a page with each button and with none."""

from django.contrib.auth.decorators import login_required
from django.urls import include, path
from django.views.generic import TemplateView

urlpatterns = [
    path("openrouter/", include("django_openrouter_auth.urls")),
    path("handwritten/", include("benchmarks.handwritten.urls")),
    *(
        path(
            f"{name}/",
            login_required(TemplateView.as_view(template_name=f"{name}.html")),
            name=name,
        )
        for name in ("plain_page", "ours_page", "handwritten_page")
    ),
]
