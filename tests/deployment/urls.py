from django.contrib.auth.forms import UserCreationForm
from django.urls import include, path
from django.views.generic import CreateView, TemplateView

from .site import ask

sign_up = CreateView.as_view(
    form_class=UserCreationForm,
    template_name="registration/login.html",
    success_url="/accounts/login/",
)

urlpatterns = [
    path("", TemplateView.as_view(template_name="home.html")),
    path("ask/", ask),
    path("openrouter/", include("django_openrouter_auth.urls")),
    path("accounts/sign-up/", sign_up),
    path("accounts/", include("django.contrib.auth.urls")),
]
