"""The test site with another user model."""

from tests.settings import *  # noqa: F403 - this is the way to derive settings
from tests.settings import INSTALLED_APPS

INSTALLED_APPS = [*INSTALLED_APPS, "tests.custom_user"]
AUTH_USER_MODEL = "custom_user.Member"
OPENROUTER_AUTH_SITE_URL = "https://app.example"
DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}}
