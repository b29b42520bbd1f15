from django.urls import path

from . import views

app_name = "gallery"
urlpatterns = [
    path("", views.show, {"framework": "none"}, name="none"),
    path("bootstrap/", views.show, {"framework": "bootstrap"}, name="bootstrap"),
    path("tailwind/", views.show, {"framework": "tailwind"}, name="tailwind"),
    path("pico/", views.show, {"framework": "pico"}, name="pico"),
]
