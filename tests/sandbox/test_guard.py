import importlib

import pytest
from django.apps import apps
from django.core.exceptions import ImproperlyConfigured

from django_openrouter_auth.sandbox import urls
from django_openrouter_auth.sandbox.guard import refuse_without_debug


def test_the_app_has_its_own_name_and_label():
    """The sandbox is an app of its own, not part of the main one."""
    config = apps.get_app_config("openrouter_sandbox")
    assert config.name == "django_openrouter_auth.sandbox"
    assert config.verbose_name == "OpenRouter sandbox"


def test_the_app_refuses_to_start_without_debug(settings):
    """With DEBUG off, Django does not start."""
    settings.DEBUG = False
    with pytest.raises(ImproperlyConfigured):
        apps.get_app_config("openrouter_sandbox").ready()


def test_the_urls_refuse_to_load_without_debug(settings):
    """With DEBUG off, the URLs cannot be included, whether the app is installed or not."""
    settings.DEBUG = False
    with pytest.raises(ImproperlyConfigured):
        importlib.reload(urls)


def test_the_refusal_says_what_why_and_what_to_do(settings):
    """The refusal names the setting, the danger and the way out."""
    settings.DEBUG = False
    with pytest.raises(ImproperlyConfigured) as refusal:
        refuse_without_debug()
    for words in ("DEBUG = False", "anybody sign in", "Remove 'django_openrouter_auth.sandbox'"):
        assert words in str(refusal.value)


def test_the_app_starts_with_debug(settings):
    """With DEBUG on, the app and its URLs load."""
    settings.DEBUG = True
    apps.get_app_config("openrouter_sandbox").ready()
    assert importlib.reload(urls).app_name == "openrouter_sandbox"


def test_no_url_ends_in_a_slash():
    """Paths are those of the real OpenRouter, which has no trailing slashes."""
    assert not [pattern for pattern in urls.urlpatterns if str(pattern.pattern).endswith("/")]
