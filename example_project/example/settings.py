"""Settings of the example site. README.rst lists the environment variables."""

import os
from pathlib import Path
from urllib.parse import urlsplit

import django
from django.core.exceptions import ImproperlyConfigured

from .environment import choice, database, secret, switch

BASE_DIR = Path(__file__).resolve().parent.parent
LOCAL_DIR = BASE_DIR / "local"

DEBUG = switch("DEBUG", default=True)
if DEBUG:
    LOCAL_DIR.mkdir(exist_ok=True)
SITE_URL = os.environ.get("SITE_URL", "").rstrip("/")
SECRET_KEY = secret("SECRET_KEY", folder=LOCAL_DIR, generate=DEBUG)


# OpenRouter: the real one, or the sandbox that comes with the package and that this site serves.

USE_SANDBOX = choice("OPENROUTER", "sandbox", "real") == "sandbox"
OPENROUTER_URL = "https://openrouter.ai"

# The keys that encrypt users' API keys: newest first, apart from SECRET_KEY.
FERNET_KEYS = secret("FERNET_KEYS", folder=LOCAL_DIR, generate=DEBUG).split(",")

OPENROUTER_AUTH_SITE_URL = SITE_URL or None
OPENROUTER_AUTH_KEY_LABEL = "Example chat"
OPENROUTER_AUTH_APP_TITLE = "Example chat"
OPENROUTER_AUTH_APP_URL = SITE_URL or None

if USE_SANDBOX:
    OPENROUTER_URL = os.environ.get("SANDBOX_URL", "http://localhost:3000/openrouter-sandbox")
    OPENROUTER_AUTH_AUTHORIZE_URL = f"{OPENROUTER_URL}/auth"
    OPENROUTER_AUTH_API_URL = f"{OPENROUTER_URL}/api/v1"


# What the chat offers: identifiers of models at OpenRouter and what people call them.

CHAT_MODELS = {
    "openai/gpt-4o-mini": "GPT-4o mini",
    "anthropic/claude-haiku-4.5": "Claude Haiku 4.5",
    "google/gemini-2.5-flash": "Gemini 2.5 Flash",
}
CHAT_MAX_TOKENS = 500


# From here on it is Django, and nothing special.

INSTALLED_APPS = [
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "django_openrouter_auth",
    "chat",
]
if USE_SANDBOX:
    INSTALLED_APPS.append("django_openrouter_auth.sandbox")
if DEBUG:
    INSTALLED_APPS.append("gallery")

MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
]
if django.VERSION >= (6, 0):
    MIDDLEWARE.insert(1, "django.middleware.csp.ContentSecurityPolicyMiddleware")

# The button is a form whose answer leads to OpenRouter, which browsers count as form-action.
SECURE_CSP = {
    "default-src": ["'self'"],
    "form-action": ["'self'", "{0.scheme}://{0.netloc}".format(urlsplit(OPENROUTER_URL))],
    "frame-ancestors": ["'none'"],
    "base-uri": ["'none'"],
}

ROOT_URLCONF = "example.urls"
WSGI_APPLICATION = "example.wsgi.application"

TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        # Before the apps: templates/openrouter_auth/base.html gives the package's pages our look.
        "DIRS": [BASE_DIR / "templates"],
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

DATABASES = {
    "default": database(os.environ.get("DATABASE_URL"), otherwise=LOCAL_DIR / "db.sqlite3")
}

AUTH_PASSWORD_VALIDATORS = [
    {"NAME": f"django.contrib.auth.password_validation.{name}"}
    for name in (
        "UserAttributeSimilarityValidator",
        "MinimumLengthValidator",
        "CommonPasswordValidator",
        "NumericPasswordValidator",
    )
]
LOGIN_URL = "login"
LOGIN_REDIRECT_URL = "home"
LOGOUT_REDIRECT_URL = "home"

TIME_ZONE = "UTC"
STATIC_URL = "static/"
STATIC_ROOT = LOCAL_DIR / "static"


# On the internet

ALLOWED_HOSTS = ["localhost", "127.0.0.1"] if DEBUG else []
if SITE_URL:
    ALLOWED_HOSTS.append(urlsplit(SITE_URL).hostname)

if not DEBUG:
    if USE_SANDBOX:
        raise ImproperlyConfigured("DEBUG=0 needs OPENROUTER=real: the sandbox is for development.")
    if not SITE_URL.startswith("https://"):
        raise ImproperlyConfigured("DEBUG=0 needs SITE_URL, for example https://chat.example.")
    SECURE_SSL_REDIRECT = True
    SESSION_COOKIE_SECURE = True
    CSRF_COOKIE_SECURE = True
    SECURE_HSTS_SECONDS = 60 * 60
    # Both ask for promises about all subdomains, which only the owner of the domain can give.
    SILENCED_SYSTEM_CHECKS = ["security.W005", "security.W021"]
