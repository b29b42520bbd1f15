"""Settings of the measured site: both versions in one project, configured as for production."""

import os
from pathlib import Path

from tests.databases.url import parse_database_url

DEBUG = False
SECRET_KEY = "only-for-benchmarks-" + "0123456789" * 4
FERNET_KEYS = ["encryption-key-of-the-benchmarks-" + "0123456789" * 2]
ALLOWED_HOSTS = ["localhost"]

# Kept open, so that making a connection does not drown what is measured.
DATABASES = {
    "default": parse_database_url(os.environ["DATABASE_URL"]) | {"CONN_MAX_AGE": None},
}
if DATABASES["default"]["ENGINE"].endswith("sqlite3"):
    # Django would otherwise put a database made for tests into memory.
    DATABASES["default"]["TEST"] = {"NAME": DATABASES["default"]["NAME"]}
    if not os.environ.get("BENCHMARK_FLUSH"):
        # A commit waits for the disk far longer than everything else takes, and how long depends
        # on the disk alone. The report counts the commits instead.
        DATABASES["default"]["OPTIONS"] = {"init_command": "PRAGMA synchronous=OFF"}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

INSTALLED_APPS = [
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "django_openrouter_auth",
    "benchmarks.handwritten",
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

ROOT_URLCONF = "benchmarks.urls"
STATIC_URL = "/static/"
USE_TZ = True

OPENROUTER_AUTH_CONNECTED_URL = "ours_page"
HANDWRITTEN_AUTHORIZE_URL = "https://openrouter.ai/auth"
# OPENROUTER_AUTH_API_URL and HANDWRITTEN_API_URL are set to the stand-in while measuring.
