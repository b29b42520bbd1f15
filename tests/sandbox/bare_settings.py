"""A site with nothing on it but the sandbox: no users, no sessions, no middleware."""

import os

DEBUG = True
SECRET_KEY = "only-for-tests-" + "0123456789" * 4
ALLOWED_HOSTS = ["127.0.0.1"]
DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": os.environ.get("SANDBOX_DATABASE", ":memory:"),
    }
}
INSTALLED_APPS = ["django_openrouter_auth.sandbox"]
MIDDLEWARE: list[str] = []
TEMPLATES = [{"BACKEND": "django.template.backends.django.DjangoTemplates", "APP_DIRS": True}]
ROOT_URLCONF = "tests.sandbox.bare_urls"
STATIC_URL = "/static/"
USE_TZ = True
