"""The system checks."""

from typing import Any

import pytest
from django.core.checks import run_checks
from django.core.management import call_command

from django_openrouter_auth import checks
from django_openrouter_auth.conf import AppSettings, app_settings, declared_settings


def ids(**kwargs: Any) -> list[str]:
    """Run every check and return the ids of ours."""
    found = [message.id or "" for message in run_checks(**kwargs)]
    return [name for name in found if name.startswith("django_openrouter_auth")]


def test_defaults_are_clean():
    """A site that sets nothing but encryption keys hears nothing."""
    assert ids() == []
    assert ids(include_deployment_checks=True) == []


@pytest.mark.parametrize("method", ["plain", None])
def test_weaker_pkce(settings, method):
    """``plain`` and no challenge work, with a warning."""
    settings.OPENROUTER_AUTH_CODE_CHALLENGE_METHOD = method
    assert ids() == ["django_openrouter_auth.W001"]


WRONG: dict[str, list[Any]] = {
    "SITE_URL": ["app.example", "ftp://app.example", "https://app.example/app", 7, b"x", ""],
    "AUTHORIZE_URL": [None, "", "http://openrouter.ai/auth", "https://e#x", "https://u@e/", 7],
    "API_URL": [None, "", "http://openrouter.ai/api/v1", "https://e:99999/", "//e", "https:///x"],
    "CODE_CHALLENGE_METHOD": ["s256", "S512", 7, True],
    "KEY_LABEL": [7, b"x"],
    "AUTHORIZE_PARAMS": [None, [], {"limit": []}, {1: 2}],
    "TIMEOUT": [None, 5, (5,), (0, 30), (-1, 30), (5, float("nan")), (5, 10**9), (True, 1), "ab"],
    "ATTEMPT_MAX_AGE": [None, 1800, "x"],
    "MAX_PENDING_ATTEMPTS": [None, 0, -1, 10**9, True, 2.5, "5"],
    "CONNECTED_URL": [7, "chat/page", "page.html", "myapp://connected"],
    "DISCONNECTED_URL": [7],
    "APP_TITLE": [7, "two\r\nlines", " My app"],
    "APP_URL": [7, "https://e\n", "https://例え.jp", "app.example"],
}


def test_every_setting_is_tried():
    """The table of wrong values names every setting."""
    assert set(declared_settings()) == {f"OPENROUTER_AUTH_{name}" for name in WRONG}


@pytest.mark.parametrize(
    ("name", "value"), [(name, value) for name, values in WRONG.items() for value in values]
)
def test_wrong_values(settings, name, value):
    """CF 236, CF 237: a wrong value is reported by name, and the default is used instead."""
    setattr(settings, f"OPENROUTER_AUTH_{name}", value)
    errors = checks.check_settings()
    assert [error.id for error in errors] == ["django_openrouter_auth.E001"]
    assert errors[0].msg.startswith(f"OPENROUTER_AUTH_{name} must be ")
    assert getattr(app_settings, name) == vars(AppSettings)[name].default


@pytest.mark.parametrize("keys", [[], [None], [""], {"a": 1}, 7])
def test_unusable_encryption_keys(settings, keys):
    """CF 235, M06: encryption keys that cannot be used are an error."""
    settings.FERNET_KEYS = keys
    assert ids() == ["django_openrouter_auth.E002"]


def test_raw_keys_that_are_no_fernet_keys(settings):
    """ST 151: without derivation an entry must be a Fernet key."""
    settings.FERNET_USE_HKDF = False
    assert ids() == ["django_openrouter_auth.E002"]


@pytest.mark.parametrize("keys", [["short"], ["x" * 40] * 2, "y" * 31])
def test_weak_encryption_keys(settings, keys):
    """D19: short and repeated encryption keys are a warning."""
    settings.FERNET_KEYS = keys
    assert ids() == ["django_openrouter_auth.W002"]


def test_borrowed_encryption_key(settings):
    """D19: ``SECRET_KEY`` in place of encryption keys: a warning, an error for deployment."""
    del settings.FERNET_KEYS
    assert ids() == ["django_openrouter_auth.W002"]
    assert "django_openrouter_auth.E004" in ids(include_deployment_checks=True)


def test_secret_key_as_encryption_key(settings):
    """D19: naming ``SECRET_KEY`` as an encryption key is no better than borrowing it."""
    settings.FERNET_KEYS = [settings.SECRET_KEY]
    assert ids() == ["django_openrouter_auth.W002"]
    assert "django_openrouter_auth.E004" in ids(include_deployment_checks=True)


def test_secret_key_behind_a_key_of_its_own(settings):
    """D19: a site that moves on from ``SECRET_KEY`` keeps it for what was stored before."""
    settings.FERNET_KEYS = ["new" * 20, settings.SECRET_KEY]
    assert ids(include_deployment_checks=True) == []


def test_unusable_keys_are_reported_once(settings):
    """The check for deployment leaves unusable keys to the other one."""
    settings.FERNET_KEYS = []
    assert ids(include_deployment_checks=True) == ["django_openrouter_auth.E002"]


def test_worker_without_urls(settings):
    """A process that serves no pages needs no URLs."""
    settings.ROOT_URLCONF = None
    assert checks.check_urls() == []


def test_fallbacks_of_none(settings):
    """Checks do not raise over settings that are none of theirs."""
    del settings.FERNET_KEYS
    settings.SECRET_KEY_FALLBACKS = None
    assert ids() == ["django_openrouter_auth.W002"]


@pytest.mark.parametrize(
    ("name", "value"), [("ALLOWED_HOSTS", ["*"]), ("USE_X_FORWARDED_HOST", True)]
)
def test_forgeable_host(settings, name, value):
    """RH 77: a callback on a host that the visitor chooses is a warning, unless it is fixed."""
    setattr(settings, name, value)
    assert ids() == ["django_openrouter_auth.W003"]
    settings.OPENROUTER_AUTH_SITE_URL = "https://app.example"
    assert ids() == []


@pytest.mark.parametrize("site_url", ["http://app.example", "http://[::1]:5"])
def test_address_that_openrouter_refuses(settings, site_url):
    """RH 78: a public address without https is reported before anybody clicks."""
    settings.OPENROUTER_AUTH_SITE_URL = site_url
    assert ids() == ["django_openrouter_auth.E005"]


@pytest.mark.parametrize("site_url", ["http://localhost:8000", "http://127.0.0.1:5"])
def test_address_for_development(settings, site_url):
    """RH 79: this machine's own addresses are fine without https."""
    settings.OPENROUTER_AUTH_SITE_URL = site_url
    assert ids() == []


class NoUrls:
    """A site that forgot the include."""

    urlpatterns: list[Any] = []


def test_forgotten_urls(settings):
    """CF 235: a forgotten include is an error that shows the line to add."""
    settings.ROOT_URLCONF = NoUrls
    (error,) = checks.check_urls()
    assert error.id == "django_openrouter_auth.E003"
    assert 'include("django_openrouter_auth.urls")' in error.hint


def test_checks_never_show_a_key(settings, capsys):
    """LK 185: no check prints an encryption key."""
    settings.FERNET_KEYS = ["hunter2"]
    call_command("check", deploy=True)
    printed = capsys.readouterr()
    assert "hunter2" not in printed.out + printed.err


def test_ids_are_listed_once():
    """Each id stands in the table at the top, and no id is used for two meanings."""
    documented = [
        word.strip("`").split(".")[1] for word in checks.__doc__.split() if "_auth." in word
    ]
    assert sorted(documented) == sorted(set(documented))
    source = checks.__loader__.get_source(checks.__name__)
    used = {part[:4] for part in source.split("{LABEL}.")[1:]}
    assert used == set(documented)
