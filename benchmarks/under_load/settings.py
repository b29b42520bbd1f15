"""Settings of the site under load, as for production; nothing but this package is installed."""

import os
from pathlib import Path

from tests.databases.url import parse_database_url

DEBUG = False
SECRET_KEY = "only-for-benchmarks-" + "0123456789" * 4
FERNET_KEYS = ["encryption-key-of-the-benchmarks-" + "0123456789" * 2]
ALLOWED_HOSTS = ["app.example"]

# One connection per thread, kept open.
DATABASES = {"default": parse_database_url(os.environ["DATABASE_URL"]) | {"CONN_MAX_AGE": None}}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

INSTALLED_APPS = [
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "django_openrouter_auth",
]

MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
]

TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [Path(__file__).resolve().parent / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ],
        },
    },
]

ROOT_URLCONF = "benchmarks.under_load.urls"
STATIC_URL = "/static/"
USE_TZ = True

OPENROUTER_AUTH_SITE_URL = "https://app.example"
OPENROUTER_AUTH_CONNECTED_URL = "page"
OPENROUTER_AUTH_API_URL = os.environ["BENCHMARK_API_URL"]
