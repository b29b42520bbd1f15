"""The system checks."""

import inspect
import re
from datetime import timedelta
from decimal import Decimal
from importlib.metadata import PackageNotFoundError
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest
from django.contrib.auth.middleware import AuthenticationMiddleware
from django.contrib.sessions.middleware import SessionMiddleware
from django.core.checks import CheckMessage, run_checks
from django.core.exceptions import ImproperlyConfigured
from django.core.management import call_command
from django.test import Client
from django.utils.translation import gettext_lazy

from django_openrouter_auth import checks, sandbox_checks, setup_checks, site_checks
from django_openrouter_auth.conf import AppSettings, app_settings, declared_settings
from django_openrouter_auth.fields import fernet
from django_openrouter_auth.sandbox import checks as sandbox_checks_of_its_own

# Django's own checks ask the database what it can do.
pytestmark = pytest.mark.django_db


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
    "AUTHORIZE_URL": [
        None,
        "",
        "http://openrouter.ai/auth",
        "https://e#x",
        "https://u@e/",
        "https://u:p@e/",
        7,
    ],
    "API_URL": [None, "", "http://openrouter.ai/api/v1", "https://e:99999/", "//e", "https:///x"],
    "CODE_CHALLENGE_METHOD": ["s256", "S512", 7, True],
    "KEY_LABEL": [7, b"x"],
    "AUTHORIZE_PARAMS": [None, [], {"limit": []}, {1: 2}],
    "TIMEOUT": [None, 5, (5,), (0, 30), (-1, 30), (5, float("nan")), (5, 10**9), (True, 1), "ab"],
    "ATTEMPT_MAX_AGE": [None, 1800, "x", 0, -1, True, timedelta(), timedelta(days=2)],
    "MAX_PENDING_ATTEMPTS": [None, 0, -1, 10**9, True, 2.5, "5"],
    "CONNECTED_URL": [7, "chat/page", "page.html", "myapp://connected"],
    "DISCONNECTED_URL": [7],
    "APP_TITLE": [7, "two\r\nlines", " My app"],
    "APP_URL": [7, "https://e\n", "https://例え.jp", "app.example"],
    "SITE_KEY": ["", "sk-or-short", "sk-or-v1-" + "x" * 60 + "\n", 7, b"x" * 40, ["x" * 40]],
    "ALLOW_PASTED_KEYS": [None, 0, 1, "False", []],
    "ALLOW_CODE_ENTRY": [None, 0, 1, "False", []],
    "CHECK_MAX_AGE": [None, 300, "x", timedelta(), timedelta(-1), timedelta(366), float("nan")],
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
    """CF 235, M06: encryption keys that cannot be used are an error that says why."""
    settings.FERNET_KEYS = keys
    (error,) = checks.check_encryption_keys()
    assert error.id == "django_openrouter_auth.E002"
    with pytest.raises(ImproperlyConfigured, match=re.escape(error.msg)):
        fernet()


def test_raw_keys_that_are_no_fernet_keys(settings):
    """ST 151: without derivation an entry must be a Fernet key."""
    settings.FERNET_USE_HKDF = False
    assert ids() == ["django_openrouter_auth.E002"]


@pytest.mark.parametrize("keys", [["short"], ["x" * 40] * 2, ["y" * 31]])
def test_weak_encryption_keys(settings, keys):
    """D19: short and repeated encryption keys are a warning; 32 characters are enough."""
    settings.FERNET_KEYS = keys
    assert ids() == ["django_openrouter_auth.W002"]
    settings.FERNET_KEYS = ["z" * 32]
    assert ids() == []


@pytest.mark.parametrize("keys", ["x" * 40, b"y" * 40])
def test_keys_without_a_list(settings, keys):
    """CF 235, M06: one string works here, but not for other fields of fernet-fields."""
    settings.FERNET_KEYS = keys
    assert ids() == ["django_openrouter_auth.W004"]


def test_borrowed_encryption_key(settings):
    """D19: ``SECRET_KEY`` in place of encryption keys: a warning, an error for deployment."""
    del settings.FERNET_KEYS
    assert ids() == ["django_openrouter_auth.W002"]
    assert "django_openrouter_auth.E004" in ids(include_deployment_checks=True)


@pytest.mark.parametrize("check", [checks.check_encryption_keys, checks.check_secret_key])
def test_way_off_the_secret_key(settings, check):
    """D19: who is told of ``SECRET_KEY`` learns the command that moves stored keys off it."""
    del settings.FERNET_KEYS
    (message,) = check()
    assert "manage.py openrouter_auth_rotate_keys" in message.hint


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
    assert site_checks.check_urls() == []


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
    (error,) = site_checks.check_urls()
    assert error.id == "django_openrouter_auth.E003"
    assert 'include("django_openrouter_auth.urls")' in error.hint


# Names and contradictions


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("OPENROUTER_AUTH_SITEURL", "Did you mean OPENROUTER_AUTH_SITE_URL?"),
        ("OPENROUTER_AUTH_TIMEOUTS", "Did you mean OPENROUTER_AUTH_TIMEOUT?"),
        ("OPENROUTER_AUTH_", "Remove it, or see the list of names."),
    ],
)
def test_unknown_names(settings, name, hint):
    """CF 237, T30: a name with a typo is an error that says which name may be meant."""
    setattr(settings, name, "sk-or-v1-canary")
    (error,) = checks.check_settings()
    assert (error.id, error.msg, error.hint) == (
        "django_openrouter_auth.E006",
        f"There is no setting {name}.",
        hint,
    )


def test_names_of_others(settings):
    """A setting without our prefix is none of ours."""
    settings.OPENROUTER_API_KEY = "x"
    assert ids() == []


@pytest.mark.parametrize(
    "name", ["callback_url", "code_challenge", "code_challenge_method", "state"]
)
def test_parameters_of_our_own(settings, name):
    """CF 237: a parameter that the package sends itself cannot be set."""
    settings.OPENROUTER_AUTH_AUTHORIZE_PARAMS = {"limit": 5, name: "x"}
    (error,) = checks.check_settings()
    assert error.id == "django_openrouter_auth.E008"
    assert f"must not contain {name}:" in error.msg


def test_several_parameters_of_our_own(settings):
    """CF 237: all of them are named in one message."""
    settings.OPENROUTER_AUTH_AUTHORIZE_PARAMS = {"state": "x", "callback_url": "x"}
    (error,) = checks.check_settings()
    assert "must not contain callback_url, state:" in error.msg


def test_two_names_for_a_key(settings):
    """CF 237: the name of the key is given in one place, whichever."""
    settings.OPENROUTER_AUTH_AUTHORIZE_PARAMS = {"key_label": "Mine"}
    assert ids() == []
    settings.OPENROUTER_AUTH_KEY_LABEL = "Ours"
    assert ids() == ["django_openrouter_auth.E008"]


def test_long_name_of_a_key(settings):
    """A name that would be cut off is a warning."""
    settings.OPENROUTER_AUTH_KEY_LABEL = "x" * 100
    assert ids() == []
    settings.OPENROUTER_AUTH_KEY_LABEL = "x" * 101
    assert ids() == ["django_openrouter_auth.W009"]


REAL, EUROPE, ELSEWHERE = "https://openrouter.ai", "https://eu.openrouter.ai", "http://localhost:1"


@pytest.mark.parametrize(
    ("web", "api", "expected", "expected_live"),
    [
        (REAL, EUROPE, [], []),
        (REAL, ELSEWHERE, ["W007"], ["W012"]),
        (ELSEWHERE, REAL, ["W007"], ["W012"]),
        ("https://openrouter.ai.evil.example", REAL, ["W007"], ["W012"]),
        (ELSEWHERE, ELSEWHERE, [], ["W012", "W012"]),
    ],
)
def test_two_providers(settings, web, api, expected, expected_live):
    """CF 236: codes of one provider for another are a warning; on a live site, any other is."""
    settings.OPENROUTER_AUTH_AUTHORIZE_URL = f"{web}/auth"
    settings.OPENROUTER_AUTH_API_URL = f"{api}/api/v1"
    assert ids() == [f"django_openrouter_auth.{name}" for name in expected]
    live = [f"django_openrouter_auth.{name}" for name in expected + expected_live]
    assert ids(include_deployment_checks=True) == live


@pytest.mark.parametrize("name", ["AUTHORIZE_URL", "API_URL"])
def test_setting_that_leads_elsewhere(settings, name):
    """CF 236: a live site is told which setting leads to somebody else."""
    setattr(settings, f"OPENROUTER_AUTH_{name}", f"{ELSEWHERE}/")
    (warning,) = checks.check_real_openrouter()
    assert warning.msg.startswith(f"OPENROUTER_AUTH_{name} is not an address of OpenRouter")


# What the pages need


@pytest.mark.parametrize(
    "left_out", ["sessions.middleware.SessionMiddleware", "middleware.AuthenticationMiddleware"]
)
def test_missing_middleware(settings, left_out):
    """CF 235: without sessions or users nobody can connect."""
    settings.MIDDLEWARE = [path for path in settings.MIDDLEWARE if not path.endswith(left_out)]
    assert "django_openrouter_auth.E007" in ids()


def test_wrong_order(settings):
    """CF 235: who is signed in is found in the session, which comes first."""
    settings.MIDDLEWARE = settings.MIDDLEWARE[::-1]
    assert "django_openrouter_auth.E007" in ids()


class OwnSessions(SessionMiddleware):
    """A site's own way of keeping sessions."""


def test_own_middleware(settings):
    """CF 235: a middleware that extends Django's, or is called like it, does as well."""
    sessions, users = (
        "django.contrib.sessions.middleware.SessionMiddleware",
        "django.contrib.auth.middleware.AuthenticationMiddleware",
    )
    users_elsewhere = "elsewhere.middleware.AuthenticationMiddleware"
    replaced = {sessions: f"{__name__}.OwnSessions", users: users_elsewhere}
    paths = [replaced.get(path, path) for path in settings.MIDDLEWARE]
    settings.MIDDLEWARE = ["no.such.module", "nodots", f"{__name__}.ids", *paths]
    assert site_checks.check_middleware() == []


class OwnSessionsAndUsers(SessionMiddleware, AuthenticationMiddleware):
    """A site's own way of keeping sessions, and of finding users in them."""


def test_one_middleware_for_both(settings):
    """CF 235: sessions and users may come from one middleware."""
    others = [path for path in settings.MIDDLEWARE if "essions" not in path and "auth" not in path]
    settings.MIDDLEWARE = [f"{__name__}.OwnSessionsAndUsers", *others]
    assert site_checks.check_middleware() == []


def test_missing_sessions_app(settings):
    """CF 235: sessions in the database need their app; those in a cookie do not."""
    settings.INSTALLED_APPS = [
        name for name in settings.INSTALLED_APPS if not re.search("sessions|sandbox", name)
    ]
    assert [item.id for item in site_checks.check_middleware()] == ["django_openrouter_auth.E007"]
    settings.SESSION_ENGINE = "django.contrib.sessions.backends.signed_cookies"
    assert site_checks.check_middleware() == []


def test_missing_csrf_middleware(settings, user):
    """CF 235: without Django's CSRF middleware a button on a page of the site is refused."""
    settings.MIDDLEWARE = [path for path in settings.MIDDLEWARE if "csrf" not in path]
    assert ids() == ["django_openrouter_auth.W005"]
    browser = Client(enforce_csrf_checks=True)
    browser.force_login(user)
    (token,) = re.findall(r'csrfmiddlewaretoken" value="(\w+)"', browser.get("/").content.decode())
    answer = browser.post("/openrouter/connect/", {"csrfmiddlewaretoken": token})
    assert answer.status_code == 403


def test_site_without_messages(settings):
    """CF 235: the messages framework is not needed."""
    settings.MIDDLEWARE = [path for path in settings.MIDDLEWARE if "messages" not in path]
    settings.INSTALLED_APPS = [
        name for name in settings.INSTALLED_APPS if not re.search("messages|admin|sandbox", name)
    ]
    assert every_check() == []


def test_worker_without_middleware(settings):
    """A process that serves no pages needs no middleware."""
    settings.MIDDLEWARE, settings.ROOT_URLCONF = [], None
    assert site_checks.check_middleware() == []


# Cookies and headers


@pytest.mark.parametrize(
    ("same_site", "is_secure", "expected"),
    [
        ("None", False, ["django_openrouter_auth.W006"]),
        ("None", True, []),
        ("Strict", False, []),
        (None, False, []),
        (False, False, []),
    ],
)
def test_same_site(settings, same_site, is_secure, expected):
    """CF 235: a cookie that browsers drop is a warning; all the others work."""
    settings.SESSION_COOKIE_SAMESITE = same_site
    settings.SESSION_COOKIE_SECURE = is_secure
    assert ids() == expected


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("SESSION_ENGINE", "django.contrib.sessions.backends.signed_cookies"),
        ("SECURE_REFERRER_POLICY", "unsafe-url"),
        ("SECURE_REFERRER_POLICY", "no-referrer-when-downgrade"),
        ("CACHES", {"default": {"BACKEND": "django.core.cache.backends.dummy.DummyCache"}}),
    ],
)
def test_what_is_no_risk_here(settings, name, value):
    """CF 235: no secret is in a session, our answers set their own policy, and no cache is used."""
    setattr(settings, name, value)
    assert ids() == []


def test_session_cookie_over_http(settings):
    """CF 235: on a live site with https the session cookie belongs to https."""
    settings.OPENROUTER_AUTH_SITE_URL = "HTTPS://app.example"
    assert ids() == []
    assert ids(include_deployment_checks=True) == ["django_openrouter_auth.W011"]
    settings.SESSION_COOKIE_SECURE = True
    assert ids(include_deployment_checks=True) == []


DJANGO_CSP = "csp.middleware.CSPMiddleware"
DJANGO = "django.middleware.csp.ContentSecurityPolicyMiddleware"


def policy(name: str, form_action: object) -> object:
    """Return a policy in the form that a setting has."""
    directives = {"default-src": ["'self'"], "form-action": form_action}
    return {"DIRECTIVES": directives} if name.startswith("CONTENT") else directives


@pytest.mark.parametrize(
    ("middleware", "name", "verb"),
    [
        (DJANGO, "SECURE_CSP", "stops"),
        (DJANGO, "SECURE_CSP_REPORT_ONLY", "reports"),
        (DJANGO_CSP, "CONTENT_SECURITY_POLICY", "stops"),
        (DJANGO_CSP, "CONTENT_SECURITY_POLICY_REPORT_ONLY", "reports"),
    ],
)
def test_policy_that_stops_the_button(settings, middleware, name, verb):
    """CF 235, TT 195: a policy whose ``form-action`` leaves OpenRouter out is a warning."""
    setattr(settings, name, policy(name, ["'self'"]))
    assert site_checks.check_content_security_policy() == []  # nobody sends it
    settings.MIDDLEWARE = [*settings.MIDDLEWARE, middleware]
    (warning,) = site_checks.check_content_security_policy()
    assert warning.id == "django_openrouter_auth.W008"
    assert f"of {name} does not allow https://openrouter.ai, so Chromium {verb}" in warning.msg
    setattr(settings, name, policy(name, ["'self'", "https://openrouter.ai"]))
    assert site_checks.check_content_security_policy() == []


@pytest.mark.parametrize(
    ("source", "is_enough"),
    [
        ("https://openrouter.ai", True),
        ("'self' https://openrouter.ai", True),
        ({"https://openrouter.ai"}, True),
        ("HTTPS://OpenRouter.ai/auth", True),
        ("openrouter.ai", True),
        ("http://openrouter.ai", True),
        ("openrouter.ai:443", True),
        ("openrouter.ai:*", True),
        ("https:", True),
        ("*", True),
        ("https://*", True),
        ("*.ai", True),
        (None, True),
        (False, True),
        ("*.openrouter.ai", False),
        ("https://eu.openrouter.ai", False),
        ("https://openrouter.ai.evil.example", False),
        ("https://openrouter.ai:8443", False),
        ("wss://openrouter.ai", False),
        ("data:", False),
        ("'none'", False),
        ("'self'", False),
        ("", False),
        ([], False),
        ([7, None], False),
        (True, False),
    ],
)
def test_sources(settings, source, is_enough):
    """TT 195: sources are read as browsers read them."""
    settings.OPENROUTER_AUTH_SITE_URL = "https://app.example"
    settings.MIDDLEWARE = [*settings.MIDDLEWARE, DJANGO_CSP]
    settings.CONTENT_SECURITY_POLICY = policy("CONTENT_SECURITY_POLICY", source)
    assert (site_checks.check_content_security_policy() == []) is is_enough


def test_empty_list_of_sources(settings):
    """Django sends no directive for an empty list, so nothing is stopped."""
    settings.MIDDLEWARE = [*settings.MIDDLEWARE, DJANGO]
    settings.SECURE_CSP = policy("SECURE_CSP", [])
    assert site_checks.check_content_security_policy() == []


@pytest.mark.parametrize("site_url", [None, "http://localhost:8000"])
def test_sandbox_on_this_site(settings, site_url):
    """TT 195: the sandbox that this site serves is ``'self'``."""
    settings.OPENROUTER_AUTH_SITE_URL = site_url
    settings.OPENROUTER_AUTH_AUTHORIZE_URL = "http://localhost:8000/openrouter-sandbox/auth"
    settings.MIDDLEWARE = [*settings.MIDDLEWARE, DJANGO]
    settings.SECURE_CSP = policy("SECURE_CSP", ["'self'"])
    assert site_checks.check_content_security_policy() == []


# Libraries


@pytest.mark.parametrize(
    ("installed", "expected"),
    [
        ("2.6.9", ["W010"]),
        ("1.26.20", ["W010"]),
        ("2.7", []),
        ("2.7.0", []),
        ("2.10.1", []),
        ("3.0a1", []),
        ("x", ["W010"]),
    ],
)
def test_urllib3(monkeypatch, installed, expected):
    """CF 235, D10: an old urllib3 is a warning that names the version."""
    monkeypatch.setattr(site_checks, "version", {"urllib3": installed}.__getitem__)
    found = site_checks.check_libraries()
    assert [item.id for item in found] == [f"django_openrouter_auth.{name}" for name in expected]
    assert all(f"urllib3 {installed} " in item.msg for item in found)


def test_no_urllib3(monkeypatch):
    """A process that has no metadata of its libraries is not told about them."""
    monkeypatch.setattr(site_checks, "version", Mock(side_effect=PackageNotFoundError))
    assert site_checks.check_libraries() == []


# What holds for all of them


JUNK = [
    None,
    True,
    0,
    -1,
    10**400,
    float("nan"),
    float("inf"),
    "",
    "\x00",
    "x" * 5000,
    "http://[",
    "https://[::1]:999999",
    "https://\ud800.example",
    b"\xff",
    [],
    [[]],
    [None],
    ("x",),
    {},
    {"x": {}},
    {None: None},
    {"form-action": {"x": 1}, "DIRECTIVES": {"form-action": object()}},
    set(),
    object(),
    object,
    len,
    lambda: 1 / 0,
    Decimal("sNaN"),
    timedelta.max,
    Path("/"),
    gettext_lazy("x"),
    iter(()),
]
FOREIGN = [
    "FERNET_KEYS",
    "FERNET_USE_HKDF",
    "SESSION_ENGINE",
    "SESSION_COOKIE_SAMESITE",
    "SESSION_COOKIE_SECURE",
    "SECURE_CSP",
    "SECURE_CSP_REPORT_ONLY",
    "CONTENT_SECURITY_POLICY",
    "CONTENT_SECURITY_POLICY_REPORT_ONLY",
    "MIDDLEWARE",
    "USE_X_FORWARDED_HOST",
    "ROOT_URLCONF",
    "LOGIN_URL",
    "BASE_DIR",
    "TEMPLATES",
]


def every_check() -> list[CheckMessage]:
    """Make every check of ours."""
    made = [check() for check in [*checks.CHECKS, *checks.DEPLOYMENT_CHECKS]]
    return [message for messages in made for message in messages]


@pytest.mark.parametrize("name", [*declared_settings(), *FOREIGN, "OPENROUTER_AUTH_TYPO"])
def test_checks_never_raise(settings, name):
    """CF 237: whatever a setting is, the checks come to an end with messages that have an id."""
    settings.MIDDLEWARE = [*settings.MIDDLEWARE, DJANGO, DJANGO_CSP]
    for value in JUNK:
        setattr(settings, name, value)
        assert all(message.id and message.msg for message in every_check())


def test_urls_that_cannot_be_loaded(settings):
    """CF 235: URLs that raise are left to Django's own check, which shows where."""
    settings.ROOT_URLCONF = "no.such.module"
    assert site_checks.check_urls() == []


@pytest.mark.parametrize(
    "name", ["SITE_KEY", "SITE_URL", "API_URL", "AUTHORIZE_URL", "KEY_LABEL", "APP_TITLE", "TYPO"]
)
def test_checks_never_show_a_value(settings, name):
    """LK 185: what stands in a setting is not printed, be it wrong or right."""
    for value in ("hunter2 hunter2", "https://ann:hunter2@app.example/", ["hunter2"]):
        setattr(settings, f"OPENROUTER_AUTH_{name}", value)
        assert "hunter2" not in repr([(item.msg, item.hint) for item in every_check()])


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
    modules = (checks, sandbox_checks, setup_checks, site_checks, sandbox_checks_of_its_own)
    sources = "".join(map(inspect.getsource, modules))
    used = set(re.findall(r'id="django_openrouter_auth\.(\w+)"', sources))
    assert used == set(documented)


@pytest.mark.parametrize("name", ["CONNECTED_URL", "DISCONNECTED_URL"])
@pytest.mark.parametrize(
    ("wanted", "found"),
    [("nowhere", ["W013"]), ("openrouter_auth:manage", []), ("/shop/", []), (None, [])],
)
def test_url_name_that_does_not_exist(settings, name, wanted, found):
    """W013: a URL name that does not exist is reported, since people would land elsewhere."""
    setattr(settings, f"OPENROUTER_AUTH_{name}", wanted)
    messages = checks.check_targets()
    assert [item.id for item in messages] == [f"django_openrouter_auth.{item}" for item in found]
    assert all(f" OPENROUTER_AUTH_{name} " in item.msg for item in messages)


def test_targets_of_a_worker(settings):
    """A process without URLs has no targets to look up."""
    settings.OPENROUTER_AUTH_CONNECTED_URL = "nowhere"
    settings.ROOT_URLCONF = None
    assert checks.check_targets() == []


def test_targets_with_broken_urls(settings):
    """URLs that cannot be loaded are Django's to report."""
    settings.OPENROUTER_AUTH_CONNECTED_URL = "nowhere"
    settings.ROOT_URLCONF = "tests.no_such_module"
    assert checks.check_targets() == []
