"""The command that examines a site, and what it says about each trouble."""

import os
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.management import CommandError, call_command
from django.db import OperationalError, connection
from django.db.migrations.recorder import MigrationRecorder
from django.test import Client
from django.utils import timezone

from django_openrouter_auth import checks, doctor
from django_openrouter_auth.models import OpenRouterKey
from django_openrouter_auth.testing.provider import OpenRouter

from .authority import Authority
from .connecting import API, KEY, start
from .standin import STATUS, Standin, cut, refusal, reply, silence

HEALTHY: dict[str, Any] = {
    "OPENROUTER_AUTH_SITE_URL": "https://app.example",
    "ALLOWED_HOSTS": ["app.example", "testserver"],
    "SECURE_PROXY_SSL_HEADER": ("HTTP_X_FORWARDED_PROTO", "https"),
    "SESSION_COOKIE_SECURE": True,
}
LEVELS = {"ok", "warning", "FAILED"}


class Report:
    """What the command printed, and how it ended."""

    def __init__(self, *args: str) -> None:
        stdout, self.code, self.error = StringIO(), 0, ""
        try:
            call_command("openrouter_auth_doctor", *args, stdout=stdout, no_color=True)
        except CommandError as error:
            self.code, self.error = error.returncode, str(error)
        self.text = stdout.getvalue()
        self.lines = self.text.splitlines()
        self.findings = [line.partition(" ")[::2] for line in self.lines]
        self.findings = [(level, text.strip()) for level, text in self.findings if level in LEVELS]

    def about(self, title: str) -> tuple[str, str]:
        """Return level and text of the one examination with a title."""
        (found,) = [
            (level, text.removeprefix(f"{title}: "))
            for level, text in self.findings
            if text.startswith(f"{title}: ")
        ]
        return found


def about(title: str) -> tuple[str, str]:
    """Examine without network; return level and text of one examination."""
    return Report("--offline").about(title)


@pytest.fixture
def site(settings: Any, db: None, tmp_path: Path) -> Any:
    """The settings of a site as it should be: live, behind a proxy that ends TLS."""
    for name, value in HEALTHY.items():
        setattr(settings, name, value)
    settings.STATIC_ROOT = tmp_path / "static"
    stylesheet = settings.STATIC_ROOT / doctor.STYLESHEET
    stylesheet.parent.mkdir(parents=True)
    stylesheet.touch()
    return settings


@pytest.fixture
def provider(openrouter: OpenRouter) -> OpenRouter:
    """OpenRouter, asking for a key and telling the time."""
    date = format_datetime(datetime.now(UTC), usegmt=True)
    openrouter.mock.upsert("GET", f"{API}/key", status=401, headers={"Date": date})
    return openrouter


# The command


def test_site_as_it_should_be(site, provider):
    """A site that is in order gets one ok a line, and exit code 0."""
    report = Report()
    assert [level for level, _ in report.findings] == ["ok"] * 21
    assert report.lines[-1] == "21 ok, 0 with a warning."
    assert (report.code, len(report.lines)) == (0, 23)
    assert "Fix" not in report.text


def test_callback_url_is_the_one_that_openrouter_gets(site, browser):
    """The callback URL that is printed is the one of an attempt, but for its state."""
    started = start(browser)
    expected = started.callback_url.replace(started.state, "STATE")
    assert Report("--offline").lines[0] == f"Callback URL: {expected}"


def test_callback_url_of_each_request(site):
    """Without a public address the command says where the address comes from."""
    site.OPENROUTER_AUTH_SITE_URL = None
    assert Report("--offline").lines[:2] == [
        "Callback URL: https://HOST/openrouter/callback/STATE/",
        "Its scheme and HOST are those of each request.",
    ]


@pytest.mark.parametrize(
    ("urls", "words"),
    [
        (
            type("Urls", (), {"urlpatterns": []}),
            "are not included. (django_openrouter_auth.E003) Fix: ",
        ),
        ("no.such.module", "This could not be examined: ModuleNotFoundError."),
    ],
    ids=["not included", "broken"],
)
def test_urls_that_do_not_work(site, urls, words):
    """CF 235: without URLs the callback is unknown, and the other examinations are made."""
    site.ROOT_URLCONF = urls
    report = Report("--offline")
    assert report.lines[0] == "Callback URL: unknown, see below."
    level, text = report.about("URLs")
    assert level == "FAILED"
    assert words in text
    assert report.about("migrations")[0] == "ok"
    assert report.code == 1


def test_failures(site, provider):
    """One failed examination is enough for exit code 1, and warnings are not."""
    site.SESSION_COOKIE_SECURE = False
    report = Report()
    assert (report.code, report.lines[-1]) == (0, "20 ok, 1 with a warning.")
    site.SESSION_COOKIE_DOMAIN = "other.example"
    report = Report()
    assert (report.code, report.error) == (
        1,
        "1 of 21 examinations failed. People may not be able to connect.",
    )


@pytest.mark.parametrize("keys", ["short", []])
def test_everything_but_ok_has_a_fix(site, standin, keys):
    """Each line that is not ok says what to do."""
    for name in HEALTHY:
        setattr(site, name, None if name == "OPENROUTER_AUTH_SITE_URL" else False)
    site.ALLOWED_HOSTS = []
    site.FERNET_KEYS = keys
    site.OPENROUTER_AUTH_TIMEOUT = 5
    standin.answer(STATUS, refusal(404, "Not Found"))
    findings = Report().findings
    assert {level for level, _ in findings} == LEVELS
    assert all((" Fix: " in text) is (level != "ok") for level, text in findings)


def test_quiet(site, openrouter):
    """``-v 0`` prints what failed and nothing else."""
    site.SESSION_COOKIE_SECURE = False
    site.SECURE_PROXY_SSL_HEADER = "X-Forwarded-Proto"
    report = Report("--offline", "-v", "0")
    assert [level for level, _ in report.findings] == ["FAILED"]
    assert len(report.lines) == 1
    assert report.code == 1


def test_quiet_and_in_order(site):
    """``-v 0`` prints nothing where nothing failed."""
    assert Report("--offline", "-v", "0").text == ""


def test_offline(site, openrouter):
    """``--offline`` asks nothing of OpenRouter, and says so."""
    report = Report("--offline")
    assert "skipped  OpenRouter, clock: --offline." in report.lines
    assert len(openrouter.mock.calls) == 0
    assert report.code == 0


def test_colours(site):
    """On a terminal the level is painted, and the columns stay in place."""
    stdout = StringIO()
    call_command("openrouter_auth_doctor", "--offline", stdout=stdout, force_color=True)
    assert "\x1b[32;1mok      \x1b[0m settings: in order.\n" in stdout.getvalue()


@pytest.mark.parametrize("argument", ["x", "--all=1", "--verbosity=9", "--offline=yes"])
def test_wrong_arguments(argument):
    """MC 231: an argument that does not exist is a CommandError."""
    with pytest.raises(CommandError):
        call_command("openrouter_auth_doctor", argument)


NO_EXAMINATION = {"check_secure_cookie"}  # said by the one of the session cookie
EXAMINED = [
    check
    for check in (*checks.CHECKS, *checks.DEPLOYMENT_CHECKS)
    if check.__name__ not in NO_EXAMINATION
]


@pytest.mark.parametrize("check", EXAMINED, ids=lambda check: check.__name__)
def test_every_check_is_made(site, monkeypatch, check):
    """The checks of the app are examinations; one that breaks is reported by type alone."""

    def fail(**kwargs: Any) -> list[Any]:
        raise LookupError("hunter2")

    monkeypatch.setattr(sys.modules[check.__module__], check.__name__, fail)
    report = Report("--offline")
    (text,) = [text for level, text in report.findings if level == "FAILED"]
    assert "This could not be examined: LookupError. Fix: " in text
    assert "hunter2" not in report.text


def test_silenced_checks(site):
    """A check that the site has silenced is silent here, too."""
    site.OPENROUTER_AUTH_CODE_CHALLENGE_METHOD = "plain"
    assert about("settings")[0] == "warning"
    site.SILENCED_SYSTEM_CHECKS = ["django_openrouter_auth.W001"]
    assert about("settings")[0] == "ok"


# Address, proxy, hosts


@pytest.mark.parametrize(
    ("changes", "level", "words"),
    [
        ({}, "ok", "returns users to https://app.example."),
        ({"OPENROUTER_AUTH_SITE_URL": "app.example"}, "FAILED", "cannot be used"),
        ({"OPENROUTER_AUTH_SITE_URL": "http://app.example"}, "FAILED", "neither https nor"),
        ({"OPENROUTER_AUTH_SITE_URL": "http://localhost:8000"}, "ok", "http://localhost:8000."),
        ({"OPENROUTER_AUTH_SITE_URL": None}, "ok", "from each request"),
        ({"OPENROUTER_AUTH_SITE_URL": None, "ALLOWED_HOSTS": ["*"]}, "warning", "forged"),
        ({"OPENROUTER_AUTH_SITE_URL": None, "DEBUG": True}, "ok", "from each request"),
        (
            {"OPENROUTER_AUTH_SITE_URL": None, "SECURE_PROXY_SSL_HEADER": None},
            "FAILED",
            "behind a proxy that ends TLS, Django takes every request for http",
        ),
        (
            {
                "OPENROUTER_AUTH_SITE_URL": None,
                "SECURE_PROXY_SSL_HEADER": None,
                "ALLOWED_HOSTS": ["*"],
            },
            "FAILED",
            "behind a proxy that ends TLS",
        ),
        (
            {
                "OPENROUTER_AUTH_SITE_URL": None,
                "SECURE_PROXY_SSL_HEADER": None,
                "DEBUG": True,
            },
            "ok",
            "from each request",
        ),
    ],
)
def test_address(site, changes, level, words):
    """CF 235, RH 78: an address to which OpenRouter does not return is a failure."""
    for name, value in changes.items():
        setattr(site, name, value)
    found, text = about("address")
    assert found == level
    assert words in text


def test_site_behind_a_proxy_without_an_address(site):
    """A live site that neither has an address nor knows of its proxy ends with exit code 1."""
    site.OPENROUTER_AUTH_SITE_URL = site.SECURE_PROXY_SSL_HEADER = None
    report = Report("--offline")
    assert report.code == 1
    assert "Fix: Set OPENROUTER_AUTH_SITE_URL to the public https address" in report.text


@pytest.mark.parametrize(
    ("changes", "level", "words"),
    [
        ({}, "ok", "HTTP_X_FORWARDED_PROTO"),
        ({"SECURE_PROXY_SSL_HEADER": None}, "warning", "origin checking failed"),
        ({"SECURE_PROXY_SSL_HEADER": "X-Forwarded-Proto"}, "FAILED", "not a pair"),
        ({"SECURE_PROXY_SSL_HEADER": ("HTTP_X_FORWARDED_PROTO",)}, "FAILED", "not a pair"),
        ({"SECURE_PROXY_SSL_HEADER": "on"}, "FAILED", "not a pair"),
        (
            {"SECURE_PROXY_SSL_HEADER": None, "OPENROUTER_AUTH_SITE_URL": None},
            "warning",
            "origin checking failed",
        ),
        (
            {
                "SECURE_PROXY_SSL_HEADER": None,
                "CSRF_TRUSTED_ORIGINS": ["https://x.example", "https://app.example"],
            },
            "ok",
            "CSRF_TRUSTED_ORIGINS",
        ),
        (
            {"SECURE_PROXY_SSL_HEADER": None, "CSRF_TRUSTED_ORIGINS": ["https://*.example"]},
            "ok",
            "CSRF_TRUSTED_ORIGINS",
        ),
        (
            {
                "SECURE_PROXY_SSL_HEADER": None,
                "OPENROUTER_AUTH_SITE_URL": "HTTPS://App.example",
                "CSRF_TRUSTED_ORIGINS": ["https://app.example"],
            },
            "ok",
            "CSRF_TRUSTED_ORIGINS",
        ),
        (
            {"SECURE_PROXY_SSL_HEADER": None, "CSRF_TRUSTED_ORIGINS": ["http://app.example"]},
            "warning",
            "403",
        ),
        (
            {"SECURE_PROXY_SSL_HEADER": None, "OPENROUTER_AUTH_SITE_URL": "http://localhost:1"},
            "ok",
            "development",
        ),
        (
            {
                "SECURE_PROXY_SSL_HEADER": None,
                "OPENROUTER_AUTH_SITE_URL": None,
                "DEBUG": True,
            },
            "ok",
            "development",
        ),
    ],
)
def test_proxy(site, changes, level, words):
    """CF 235: where a proxy may end TLS, Django has to know, or trust the origin."""
    for name, value in changes.items():
        setattr(site, name, value)
    found, text = about("proxy")
    assert found == level
    assert words in text


@pytest.mark.parametrize(
    ("name", "value", "status"),
    [
        ("SECURE_PROXY_SSL_HEADER", None, 403),
        ("SECURE_PROXY_SSL_HEADER", ("HTTP_X_FORWARDED_PROTO", "https"), 303),
        ("CSRF_TRUSTED_ORIGINS", ["https://app.example"], 303),
        ("CSRF_TRUSTED_ORIGINS", ["https://*.example"], 303),
    ],
)
def test_what_is_said_about_the_proxy_is_true(site, user, name, value, status):
    """Behind a proxy that ends TLS, Django refuses the button unless one of the fixes is made."""
    site.SECURE_PROXY_SSL_HEADER = None
    setattr(site, name, value)
    client = Client(
        enforce_csrf_checks=True,
        headers={"host": "app.example", "x-forwarded-proto": "https"},
    )
    client.force_login(user)
    token = client.get("/openrouter/connect/").context["csrf_token"]
    answer = client.post(
        "/openrouter/connect/",
        {"csrfmiddlewaretoken": str(token)},
        headers={"origin": "https://app.example"},
    )
    assert answer.status_code == status


@pytest.mark.parametrize(
    ("changes", "level"),
    [
        ({}, "ok"),
        ({"ALLOWED_HOSTS": [".example"]}, "ok"),
        ({"ALLOWED_HOSTS": ["www.app.example"]}, "warning"),
        ({"ALLOWED_HOSTS": []}, "FAILED"),
        ({"ALLOWED_HOSTS": [], "OPENROUTER_AUTH_SITE_URL": None}, "FAILED"),
        ({"OPENROUTER_AUTH_SITE_URL": None}, "ok"),
        (
            {
                "ALLOWED_HOSTS": [],
                "DEBUG": True,
                "OPENROUTER_AUTH_SITE_URL": "http://localhost:8000",
            },
            "ok",
        ),
    ],
)
def test_allowed_hosts(site, changes, level):
    """CF 235: Django must answer under the address to which OpenRouter returns."""
    for name, value in changes.items():
        setattr(site, name, value)
    assert about("allowed hosts")[0] == level


# Cookies and headers


@pytest.mark.parametrize(
    ("same_site", "is_secure", "level", "words"),
    [
        ("Lax", True, "ok", "on the return"),
        (False, True, "ok", "on the return"),
        ("None", True, "ok", "on the return"),
        ("None", False, "warning", "browsers drop such a cookie"),
        ("Strict", True, "ok", "reloads itself once"),
    ],
)
def test_same_site(site, same_site, is_secure, level, words):
    """CF 235: what keeps the session cookie from coming back is told apart from what works."""
    site.SESSION_COOKIE_SAMESITE, site.SESSION_COOKIE_SECURE = same_site, is_secure
    found, text = about("SameSite")
    assert found == level
    assert words in text


@pytest.mark.parametrize(
    ("changes", "level", "words"),
    [
        ({}, "ok", "to the callback"),
        ({"SESSION_COOKIE_DOMAIN": ".app.example"}, "ok", ""),
        ({"SESSION_COOKIE_DOMAIN": "Example"}, "ok", ""),
        ({"SESSION_COOKIE_DOMAIN": "pp.example"}, "FAILED", "does not cover app.example"),
        ({"SESSION_COOKIE_DOMAIN": "x.app.example"}, "FAILED", "does not cover app.example"),
        (
            {"SESSION_COOKIE_DOMAIN": "x.example", "OPENROUTER_AUTH_SITE_URL": None},
            "ok",
            "",
        ),
        ({"SESSION_COOKIE_PATH": "/openrouter"}, "ok", ""),
        ({"SESSION_COOKIE_PATH": "/openrouter/"}, "ok", ""),
        ({"SESSION_COOKIE_PATH": "/open"}, "FAILED", "does not cover /openrouter/callback/"),
        ({"SESSION_COOKIE_SECURE": False}, "warning", "over http as well"),
        (
            {"SESSION_COOKIE_SECURE": False, "OPENROUTER_AUTH_SITE_URL": None},
            "warning",
            "over http as well",
        ),
        (
            {"SESSION_COOKIE_SECURE": False, "OPENROUTER_AUTH_SITE_URL": "http://localhost:1"},
            "ok",
            "",
        ),
    ],
)
def test_session_cookie(site, changes, level, words):
    """CF 235: a session cookie that does not reach the callback fails, a careless one warns."""
    for name, value in changes.items():
        setattr(site, name, value)
    found, text = about("session cookie")
    assert found == level
    assert words in text


@pytest.mark.parametrize(
    ("policy", "level"),
    [
        (None, "ok"),
        ("same-origin", "ok"),
        ("same-origin-allow-popups", "ok"),
        ("noopener-allow-popups", "ok"),
        ("unsafe-none", "ok"),
        ("same_origin", "warning"),
        ("", "warning"),
        (["same-origin"], "warning"),
    ],
)
def test_opener_policy(site, policy, level):
    """CF 235: a policy that browsers ignore is a warning, and every other one works."""
    site.SECURE_CROSS_ORIGIN_OPENER_POLICY = policy
    assert about("opener policy")[0] == level


@pytest.mark.parametrize(
    ("name", "verb"),
    [("CONTENT_SECURITY_POLICY", "stops"), ("CONTENT_SECURITY_POLICY_REPORT_ONLY", "reports")],
)
def test_form_action(site, name, verb):
    """CF 235: a policy that stops the button is named, and one that would."""
    site.MIDDLEWARE = [*site.MIDDLEWARE, "csp.middleware.CSPMiddleware"]
    setattr(site, name, {"DIRECTIVES": {"form-action": ["'self'"]}})
    level, text = about("form-action")
    assert level == "warning"
    assert f"so Chromium {verb} the button" in text
    assert 'Fix: Add "https://openrouter.ai" to its form-action.' in text


def test_form_action_of_a_web_server(site):
    """A policy that is not in the settings cannot be seen: the one directive it needs is named."""
    level, text = about("form-action")
    assert level == "ok"
    assert "form-action, that directive must allow https://openrouter.ai" in text


# Encryption keys and the database


@pytest.mark.parametrize(
    ("keys", "level"),
    [
        ([None], "FAILED"),
        ([""], "FAILED"),
        ([], "FAILED"),
        ({"a": 1}, "FAILED"),
        (["hunter2"], "warning"),
        ("hunter2" * 6, "warning"),
        (None, "warning"),
    ],
)
def test_encryption_keys(site, keys, level):
    """CF 235, M06, LK 185: wrong and weak encryption keys are told, and never shown."""
    site.FERNET_KEYS = keys
    report = Report("--offline")
    assert report.about("encryption keys")[0] == level
    assert "hunter2" not in report.text


def test_one_string_for_a_list(site):
    """M06: the trap of the one-character key is explained."""
    site.FERNET_KEYS = "x" * 40
    assert "encrypt with the first one" in about("encryption keys")[1]


def test_static_files_that_were_not_collected(site, tmp_path):
    """On a live site a stylesheet that was not collected is reported, with the command to run."""
    assert about("static files") == ("ok", "in order.")
    for folder in (tmp_path / "empty", None):
        site.STATIC_ROOT = folder
        level, text = about("static files")
        assert level == "warning"
        assert "manage.py collectstatic" in text
    site.DEBUG = True
    assert about("static files") == ("ok", "in order.")


def test_static_files_without_a_manifest(site, tmp_path):
    """Storage with hashed names fails each page until files are collected: that is a failure."""
    hashed = "django.contrib.staticfiles.storage.ManifestStaticFilesStorage"
    site.STORAGES = {**site.STORAGES, "staticfiles": {"BACKEND": hashed}}
    level, text = about("static files")
    assert level == "FAILED"
    assert "manage.py collectstatic" in text
    call_command("collectstatic", "--no-input", verbosity=0)
    assert about("static files") == ("ok", "in order.")


def test_static_files_of_another_server(site):
    """Nothing is said where static files are no business of Django, and the check is silenced."""
    site.STATIC_ROOT = None
    without = ("django.contrib.staticfiles", "django_openrouter_auth.sandbox")
    site.INSTALLED_APPS = [app for app in site.INSTALLED_APPS if app not in without]
    site.SILENCED_SYSTEM_CHECKS = ["django_openrouter_auth.W016"]
    assert about("static files") == ("ok", "in order.")


def test_deployment(site):
    """D19: what is fine for development fails on a live site, and only there."""
    del site.FERNET_KEYS
    assert about("deployment")[0] == "FAILED"
    site.DEBUG = True
    assert about("deployment")[0] == "ok"


def store(name: str) -> OpenRouterKey:
    """Store a key for a new user."""
    user = User.objects.create_user(name)
    fields = OpenRouterKey.derive(user.pk, f"{KEY}{name}")
    return OpenRouterKey.objects.create(user=user, connected_at=timezone.now(), **fields)


def test_stored_keys(site):
    """ST 149: stored keys are decrypted and counted, and nothing of them is shown or changed."""
    assert about("stored keys") == ("ok", "0 looked at, all can be read.")
    keys = [store(name) for name in ("ann", "bob")]
    assert about("stored keys") == ("ok", "2 looked at, all can be read.")
    site.FERNET_KEYS = ["another-encryption-key-" * 2]
    store("cat")
    report = Report("--offline")
    level, text = report.about("stored keys")
    assert (level, report.code) == ("FAILED", 1)
    assert text.startswith("2 of 3 that were looked at cannot be read: ")
    assert all(secret not in report.text for secret in (KEY[:20], keys[0].key_hash, keys[0].hint))
    assert set(OpenRouterKey.objects.values_list("status", flat=True)) == {"active"}


def test_newest_keys(site, monkeypatch):
    """The newest keys are looked at, with ``--all-keys`` every one."""
    monkeypatch.setattr(doctor, "NEWEST_KEYS", 2)
    newest = [store(name) for name in ("ann", "bob", "cat")][1:]
    moved = OpenRouterKey.objects.exclude(pk__in=[key.pk for key in newest])
    moved.update(owner_hash="0" * 64)
    assert about("stored keys") == ("ok", "2 looked at, all can be read.")
    level, text = Report("--offline", "--all-keys").about("stored keys")
    assert level == "FAILED"
    assert text.startswith("1 of 3 ")


def test_pending_migrations(site):
    """MG 233: a migration that waits is a failure."""
    recorder = MigrationRecorder(connection)
    (newest, *_) = recorder.migration_qs.filter(app="django_openrouter_auth").order_by("-name")
    recorder.record_unapplied(newest.app, newest.name)
    assert about("migrations") == (
        "FAILED",
        "1 of them are not applied. Fix: Run manage.py migrate.",
    )


def test_database_that_is_down(site, monkeypatch):
    """MC 231: trouble with the database is told by type: its text may hold a password."""

    def fail() -> Any:
        raise OperationalError("no connection for user=ann password=hunter2")

    monkeypatch.setattr(doctor, "key_rows", fail)
    report = Report("--offline")
    assert report.about("stored keys")[0] == "FAILED"
    assert "could not be examined: OperationalError." in report.text
    assert "hunter2" not in report.text


# OpenRouter


def openrouter_findings() -> dict[str, tuple[str, str]]:
    """Ask OpenRouter; return what was found by title."""
    report = Report()
    titles = [title for title in ("OpenRouter", "clock") if f" {title}: " in report.text]
    return {title: report.about(title) for title in titles}


def now(offset: int = 0) -> str:
    """Return the time as a header has it."""
    return format_datetime(datetime.now(UTC) + timedelta(seconds=offset), usegmt=True)


def test_one_question_without_a_key(site, standin, tmp_path, monkeypatch):
    """OpenRouter is asked once, without any credentials, those of a netrc file included."""
    netrc = tmp_path / "netrc"
    netrc.write_text("default login me password secret\n")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))
    store("ann")
    assert openrouter_findings()["OpenRouter"][0] == "ok"
    (request,) = standin.journal
    assert (request.method, request.path) == ("GET", STATUS)
    assert request.headers["Authorization"] is None


@pytest.mark.parametrize(
    ("status", "level"),
    [
        (401, "ok"),
        (429, "warning"),
        (500, "warning"),
        (503, "warning"),
        (200, "FAILED"),
        (302, "FAILED"),
        (403, "FAILED"),
        (404, "FAILED"),
    ],
)
def test_statuses(site, standin, status, level):
    """Whoever does not ask for a key is not OpenRouter; a bad day of it is a warning."""
    standin.answer(STATUS, reply(b"<html>", status=status, content_type="text/html", Date=now()))
    found = openrouter_findings()
    assert found["OpenRouter"][0] == level
    assert found["clock"][0] == "ok"
    assert "<html>" not in str(found)


@pytest.mark.parametrize(
    "answer", [silence, cut(), cut(b"SSH-2.0-x\r\n")], ids=["silence", "cut", "no HTTP"]
)
def test_no_answer(site, standin, answer):
    """DR: a provider that says nothing of use fails within the time limits; the clock is left."""
    site.OPENROUTER_AUTH_TIMEOUT = (0.1, 0.1)
    standin.answer(STATUS, answer)
    found = openrouter_findings()
    assert list(found) == ["OpenRouter"]
    level, text = found["OpenRouter"]
    assert level == "FAILED"
    assert "gave no answer that can be used (provider_" in text


def test_closed_port(site, bare_environment):
    """A machine that cannot reach OpenRouter says so."""
    with Standin() as gone:
        site.OPENROUTER_AUTH_API_URL = gone.url
    level, text = openrouter_findings()["OpenRouter"]
    assert level == "FAILED"
    assert "(provider_unavailable). Fix: See whether a firewall" in text


@pytest.fixture
def secure(authority: Authority, settings: Any, bare_environment: None) -> Iterator[Standin]:
    """OpenRouter's API over TLS, with a certificate that no machine trusts."""
    with Standin(authority.context, "localhost") as server:
        settings.OPENROUTER_AUTH_API_URL = server.url
        yield server


def test_certificates(site, secure, authority, monkeypatch):
    """A certificate that is not trusted is told apart from a network that is down."""
    level, text = openrouter_findings()["OpenRouter"]
    assert level == "FAILED"
    assert "a certificate that this machine does not trust" in text
    assert secure.journal == []
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(authority.bundle))
    assert openrouter_findings()["OpenRouter"][0] == "ok"


@pytest.mark.parametrize(
    ("offset", "level", "words"),
    [
        (0, "ok", "from OpenRouter's"),
        (-50, "ok", "from OpenRouter's"),
        (-200, "warning", "seconds ahead of OpenRouter's"),
        (200, "warning", "seconds behind OpenRouter's"),
        (-3600, "FAILED", "seconds ahead of OpenRouter's"),
        (3600, "FAILED", "seconds behind OpenRouter's"),
    ],
)
def test_clock(site, standin, offset, level, words):
    """A clock that is wrong by more than a minute warns, by more than five it fails."""
    standin.answer(STATUS, reply(status=401, Date=now(offset)))
    found, text = openrouter_findings()["clock"]
    assert found == level
    assert words in text


@pytest.mark.parametrize("ahead", [-301, -300, -61, -60, 60, 61, 300, 301])
def test_bounds_of_the_clock(ahead):
    """Sixty seconds are still in order, three hundred still a warning."""
    moment = 1_800_000_000
    date = format_datetime(datetime.fromtimestamp(moment, UTC), usegmt=True)
    level = {60: "ok", 61: "warning", 300: "warning", 301: "FAILED"}[abs(ahead)]
    assert doctor.compare_clocks(date, moment + ahead).level == level


@pytest.mark.parametrize(
    "date",
    ["", "now", "Sun, 99 Nov 2026 00:00:00 GMT", f"Sun, 01 Jan {10**20} 00:00:00 GMT", "\xff"],
)
def test_dates_that_are_none(date):
    """PM: an answer without a usable date says nothing about the clock."""
    assert doctor.compare_clocks(date, 0.0).level == "warning"


# As a process


def run(*args: str, **options: Any) -> "subprocess.CompletedProcess[str]":
    """Run the command in a process of its own, on an empty database."""
    script = (
        "import sys; from django.core.management import execute_from_command_line;"
        "execute_from_command_line(['manage.py', 'openrouter_auth_doctor', *sys.argv[1:]])"
    )
    return subprocess.run(
        [sys.executable, "-W", "error::ResourceWarning", "-c", script, "--offline", *args],
        env={"DJANGO_SETTINGS_MODULE": "tests.settings", "PYTHONPATH": str(Path.cwd())},
        stdout=options.pop("stdout", subprocess.PIPE),
        stderr=subprocess.PIPE,
        text=True,
        check=False,
        **options,
    )


@pytest.mark.process
@pytest.mark.parametrize("arguments", [[], ["-v", "3"], ["-v", "0"]])
def test_database_without_tables(arguments):
    """MC 231, MG 233: before the first ``migrate`` the doctor says so and ends with 1."""
    done = run(*arguments)
    assert done.returncode == 1
    assert "FAILED   migrations: " in done.stdout
    assert "Traceback" not in done.stdout + done.stderr
    assert (
        done.stderr
        == "CommandError: 2 of 19 examinations failed. People may not be able to connect.\n"
    )


@pytest.mark.process
def test_wrong_arguments_on_the_command_line():
    """MC 231: a shell gets the usage and exit code 2, as from every command."""
    done = run("--keys")
    assert (done.returncode, done.stdout) == (2, "")
    assert "usage: " in done.stderr


@pytest.mark.process
def test_reader_that_has_gone():
    """MC 231: the exit code tells the result also when nobody reads the lines."""
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "w") as closed:
        done = run(stdout=closed)
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert "BrokenPipeError" not in done.stderr
