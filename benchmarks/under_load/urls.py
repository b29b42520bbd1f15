from django.contrib.auth.decorators import login_required
from django.urls import include, path
from django.views.generic import TemplateView

page = login_required(TemplateView.as_view(template_name="page.html"))

urlpatterns = [
    path("openrouter/", include("django_openrouter_auth.urls")),
    path("page/", page, name="page"),
]
