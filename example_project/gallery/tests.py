"""What the gallery must not do."""

from django.contrib.auth import get_user_model
from django.test import TestCase

from django_openrouter_auth.models import OpenRouterKey

from .views import FRAMEWORKS, LANGUAGES


class GalleryTest(TestCase):
    def test_each_framework_has_its_page(self):
        for name in FRAMEWORKS:
            path = "/gallery/" if name == "none" else f"/gallery/{name}/"
            self.assertContains(self.client.get(path), "OpenRouter connected")

    def test_each_language_is_shown(self):
        for language in LANGUAGES:
            page = self.client.get("/gallery/", {"language": language})
            self.assertContains(page, f'<html lang="{language}"')

    def test_arabic_is_shown_from_right_to_left(self):
        page = self.client.get("/gallery/", {"language": "ar"})
        self.assertContains(page, '<html lang="ar" dir="rtl"')

    def test_looking_stores_nothing(self):
        self.client.get("/gallery/")
        self.assertQuerySetEqual(get_user_model().objects.all(), [])
        self.assertQuerySetEqual(OpenRouterKey.objects.all(), [])
