"""Settings of the sandbox as a site of its own; it listens on loopback only."""

import os

from . import DATABASE_VARIABLE

DEBUG = True
# It signs nothing but the name under which somebody, anybody, is signed in to the sandbox.
SECRET_KEY = "the-sandbox-has-no-secrets-" + "0123456789" * 3
ALLOWED_HOSTS = ["localhost", "127.0.0.1"]
DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": os.environ.get(DATABASE_VARIABLE, ":memory:"),
        "OPTIONS": {"timeout": 20},
    }
}
INSTALLED_APPS = ["django.contrib.staticfiles", "django_openrouter_auth.sandbox"]
TEMPLATES = [{"BACKEND": "django.template.backends.django.DjangoTemplates", "APP_DIRS": True}]
ROOT_URLCONF = "django_openrouter_auth.sandbox.standalone.urls"
# A host's cookies are shared by all of its ports, so by the site as well.
CSRF_COOKIE_NAME = "openrouter_sandbox_csrftoken"
STATIC_URL = "/static/"
USE_TZ = True
# A line for each request would show its query, and with the method "plain" that has a verifier.
LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "loggers": {
        "django.server": {"handlers": [], "propagate": False, "level": "CRITICAL"},
        "django.request": {"level": "ERROR"},
    },
}
