"""Settings of a site on the internet; its tests put what they change on top."""

import os

from tests import settings as usual

DEBUG = False
SECRET_KEY = os.environ["SECRET_KEY"]
FERNET_KEYS = os.environ["FERNET_KEYS"].split(",")
ALLOWED_HOSTS = ["app.example"]

# Connections stay open, as on sites with long-lived workers.
DATABASES = {"default": {**usual.DATABASES["default"], "CONN_MAX_AGE": 60}}
DEFAULT_AUTO_FIELD = usual.DEFAULT_AUTO_FIELD

INSTALLED_APPS = [
    app for app in usual.INSTALLED_APPS if app not in {"django_openrouter_auth.sandbox", "tests"}
]
MIDDLEWARE = ["tests.deployment.site.name_process", *usual.MIDDLEWARE]
TEMPLATES = usual.TEMPLATES
PASSWORD_HASHERS = usual.PASSWORD_HASHERS

ROOT_URLCONF = "tests.deployment.urls"
LOGIN_URL = usual.LOGIN_URL
LOGIN_REDIRECT_URL = "/"
STATIC_URL = usual.STATIC_URL
USE_TZ = True

SESSION_COOKIE_SECURE = True
CSRF_COOKIE_SECURE = True
