"""Settings of the measured site: all versions in one project, configured as for production."""

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
    # Several workers write, and of two transactions that both read first one would fail.
    DATABASES["default"]["OPTIONS"] = {"transaction_mode": "IMMEDIATE", "timeout": 30}
    if not os.environ.get("BENCHMARK_FLUSH"):
        # A commit waits for the disk far longer than everything else takes, and how long depends
        # on the disk alone. The report counts the commits instead.
        DATABASES["default"]["OPTIONS"]["init_command"] = "PRAGMA synchronous=OFF"
if "BENCHMARK_DATABASE" in os.environ:
    # A process beside the one that measures works on the database that was made for it.
    DATABASES["default"]["NAME"] = os.environ["BENCHMARK_DATABASE"]
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

INSTALLED_APPS = [
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "django_openrouter_auth",
    "benchmarks.handwritten",
    "allauth",
    "allauth.account",
    "allauth.socialaccount",
    "benchmarks.allauth_site",
    "social_django",
    "benchmarks.authlib_site",
]

MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "allauth.account.middleware.AccountMiddleware",  # allauth refuses to start without it
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

# The first is Django's own: it is the one that people are signed in with.
AUTHENTICATION_BACKENDS = [
    "django.contrib.auth.backends.ModelBackend",
    "benchmarks.social_site.backend.OpenRouterOAuth2",
]
SOCIALACCOUNT_STORE_TOKENS = True
SOCIALACCOUNT_PROVIDERS = {"openrouter": {"APPS": [{"client_id": "openrouter"}]}}

SOCIAL_AUTH_LOGIN_REDIRECT_URL = "/social_page/"
OPENROUTER_AUTH_CONNECTED_URL = "ours_page"
PROVIDER_AUTHORIZE_URL = "https://openrouter.ai/auth"
# Where the stand-in is; in the process that measures it changes while measuring.
PROVIDER_API_URL = os.environ.get("BENCHMARK_API_URL", "")
if PROVIDER_API_URL:
    OPENROUTER_AUTH_API_URL = PROVIDER_API_URL
