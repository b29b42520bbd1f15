"""Settings of a site with Celery workers, which share its database and its broker."""

import os

from tests import settings as usual

DEBUG = False
SECRET_KEY = usual.SECRET_KEY
FERNET_KEYS = usual.FERNET_KEYS

DATABASES = usual.DATABASES
DEFAULT_AUTO_FIELD = usual.DEFAULT_AUTO_FIELD
INSTALLED_APPS = [
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django_openrouter_auth",
]
USE_TZ = True

OPENROUTER_AUTH_API_URL = os.environ["OPENROUTER_API_URL"]

CELERY_BROKER_URL = os.environ["BROKER_URL"]
CELERY_RESULT_BACKEND = os.environ["BROKER_URL"]
# What a killed worker held is handed out again after seconds, where a site waits for an hour.
CELERY_BROKER_TRANSPORT_OPTIONS = {"visibility_timeout": 10, "unacked_restore_throttle": 1}
CELERY_TASK_ANNOTATIONS = {
    "django_openrouter_auth.contrib.celery.check_range": {"rate_limit": "20/s"}
}
