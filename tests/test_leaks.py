"""Where key, code and verifier must not turn up: group LK of the threat model's catalogue.

The fixture ``leaks`` hears every logger at DEBUG and fails the test if a planted secret was found
in anything that it was given to search (see ``tests/leakscan.py``).
"""

import copy
import io
import pickle
import secrets
import sqlite3
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import User
from django.core import mail
from django.core.cache import caches
from django.core.management import call_command
from django.core.serializers import serialize
from django.db import connection, connections
from django.forms import modelform_factory
from django.forms.models import model_to_dict
from django.test import Client, RequestFactory
from django.utils.datastructures import MultiValueDict
from django.views.debug import ExceptionReporter
from requests.adapters import HTTPAdapter

from django_openrouter_auth import exceptions, services
from django_openrouter_auth.client import OpenRouterConnection
from django_openrouter_auth.models import ConnectAttempt, OpenRouterKey
from django_openrouter_auth.shortcuts import get_api_key, get_session

from .connecting import Started, is_clean, outcome, start
from .leakscan import ErrorMail, LeakScan
from .standin import EXCHANGE, STATUS, Standin, cut, refusal

pytestmark = pytest.mark.django_db

CODE = "auth_code_0f1e2d3c4b5a69788796a5b4c3d2e1f0"


def plant(leaks: LeakScan) -> str:
    """Look for the code, and for the verifier of the newest attempt; return the verifier."""
    verifier: str = ConnectAttempt.objects.latest("pk").code_verifier.reveal()
    leaks.plant(code=CODE, verifier=verifier)
    return verifier


def come_back(browser: Client, started: Started) -> Any:
    """Return from OpenRouter with the code."""
    return browser.get(started.path, {"code": CODE})


@pytest.fixture
def key(browser: Client, user: User, standin: Standin, leaks: LeakScan) -> OpenRouterKey:
    """The key of a user who connected and began to connect again; all secrets are searched for."""
    started = start(browser)
    first_verifier = plant(leaks)
    come_back(browser, started)
    start(browser)
    plant(leaks)
    leaks.plant(key=standin.minted[0], first_verifier=first_verifier)
    return OpenRouterKey.objects.get()


@pytest.fixture
def staff(db: None) -> Client:
    """The browser of somebody who may see everything in the admin."""
    client = Client()
    client.force_login(User.objects.create_superuser("root"))
    return client


@pytest.mark.usefixtures("statements")
def test_whole_life_of_a_connection(browser, user, staff, standin, leaks, capfd):
    """LK 171, 177, 178, 179, 184: no step, page, log, mail, statement or table shows a secret."""
    started = start(browser, next="/ok/")
    verifier = plant(leaks)
    assert verifier not in started.location
    leaks.search("authorization URL", started.location)
    leaks.search_browser("after the start", browser)

    response = come_back(browser, started)
    assert outcome(response) == ("success", "connected")
    (key,) = standin.minted
    leaks.plant(key=key)
    leaks.search_response("callback", response)
    leaks.search_browser("after the callback", browser)
    assert get_api_key(user) == key
    get_session(user).get("key").close()

    for path in ("", "connect/", "disconnect/", "status/"):
        page = browser.get(f"/openrouter/{path}")
        assert page.status_code == 200
        leaks.search_response(path or "manage", page)
    leaks.search_response("home page", browser.get("/"))
    row = OpenRouterKey.objects.get()
    attempt = ConnectAttempt.objects.get()
    for path in (
        "openrouterkey/",
        f"openrouterkey/{row.pk}/change/",
        f"openrouterkey/{row.pk}/history/",
        f"openrouterkey/{row.pk}/delete/",
        "connectattempt/",
        f"connectattempt/{attempt.pk}/change/",
    ):
        page = staff.get(f"/admin/django_openrouter_auth/{path}")
        assert page.status_code == 200
        leaks.search_response(f"admin {path}", page)
        # Ciphertext and fingerprints are nobody's business either.
        assert row.secret.token not in page.content
        assert row.owner_hash.encode() not in page.content

    repeated = come_back(browser, started)
    assert outcome(repeated)[1] == "connected"
    leaks.search_response("repeated callback", repeated)
    again = start(browser)
    second = ConnectAttempt.objects.latest("pk").code_verifier.reveal()
    leaks.plant(second_verifier=second)
    standin.answer(EXCHANGE, refusal(403, "Invalid code or code_verifier"))
    leaks.search_response("refused callback", come_back(browser, again))
    for table in (OpenRouterKey, ConnectAttempt):
        leaks.search(f"rows of {table}", list(table.objects.values_list()))
    response = staff.post(
        f"/admin/django_openrouter_auth/openrouterkey/{row.pk}/delete/", {"post": "yes"}
    )
    leaks.search_response("admin delete", response)
    leaks.search("admin log", list(LogEntry.objects.values_list()))
    leaks.search_response("disconnect", browser.post("/openrouter/disconnect/"))
    leaks.search_browser("at the end", browser)
    assert mail.outbox == []
    leaks.search("output", "".join(capfd.readouterr()))
    assert {record.name for record in leaks.records} >= {
        "django.db.backends",
        "django_openrouter_auth",
        "urllib3.connectionpool",
    }


@pytest.mark.parametrize("storage", ["cookie", "session", "fallback"])
def test_verifier_stays_on_the_server(browser, standin, leaks, settings, storage):
    """LK 177: neither session nor messages hold a secret, in whichever storage."""
    name = {"cookie": "CookieStorage", "session": "SessionStorage", "fallback": "FallbackStorage"}
    settings.MESSAGE_STORAGE = f"django.contrib.messages.storage.{storage}.{name[storage]}"
    started = start(browser)
    plant(leaks)
    leaks.search_browser("after the start", browser)
    come_back(browser, started)
    leaks.plant(key=standin.minted[0])
    leaks.search_browser("after the callback", browser)
    assert set(browser.session.keys()) <= {
        "_auth_user_id",
        "_auth_user_backend",
        "_auth_user_hash",
        "_messages",
        "openrouter_auth",
    }


def _secrets_of_every_row(database: Any) -> list[Any]:
    with database.cursor() as cursor:
        found = []
        for table in database.introspection.table_names(cursor):
            cursor.execute(f"SELECT * FROM {database.ops.quote_name(table)}")
            found += [
                bytes(value) if isinstance(value, memoryview) else value
                for row in cursor.fetchall()
                for value in row
            ]
    return found


@pytest.fixture
def on_disk(tmp_path: Path) -> Iterator[Path | None]:
    """The path of the SQLite file that takes the place of the database, where it is SQLite."""
    if connection.vendor != "sqlite":
        yield None
        return
    path = tmp_path / "site.sqlite3"
    memory = connections["default"]
    with sqlite3.connect(path) as target:
        memory.connection.backup(target)
        target.execute("PRAGMA journal_mode=WAL")
    target.close()
    replacement = memory.copy()
    replacement.settings_dict = {**memory.settings_dict, "NAME": str(path)}
    connections["default"] = replacement
    yield path
    replacement.close()
    connections["default"] = memory


def test_raw_database(on_disk, client, standin, leaks, settings):
    """ST 129: no table, and no byte of an SQLite file or its WAL, holds a secret in plain text."""
    settings.OPENROUTER_AUTH_SITE_URL = "https://app.example"
    client.force_login(User.objects.create_user("ann"))
    started = start(client)
    plant(leaks)
    come_back(client, started)
    leaks.plant(key=standin.minted[0])
    assert get_api_key(User.objects.get()) == standin.minted[0]
    values = _secrets_of_every_row(connection)
    assert any(isinstance(value, bytes) and value.startswith(b"gAAAAA") for value in values)
    for value in values:
        leaks.search("database row", value)
    if on_disk is not None:
        files = [on_disk, on_disk.with_name(f"{on_disk.name}-wal")]
        content = b"".join(file.read_bytes() for file in files)
        assert OpenRouterKey.objects.get().secret.token in content
        leaks.search("database file", content)


# Failures


def reported(error: BaseException) -> str:
    """Return Django's error report about an exception, below the frame of the test."""
    assert error.__traceback__ is not None
    reporter = ExceptionReporter(None, type(error), error, error.__traceback__.tb_next)
    return reporter.get_traceback_html() + reporter.get_traceback_text()


def test_scan_finds_what_is_there(leaks):
    """The search sees a secret in locals, messages and reports; else it would prove nothing."""
    leaks.plant(canary=CODE)
    source = "def fail(hidden):\n    raise ValueError(hidden)\nfail(secret)"
    with pytest.raises(ValueError, match=CODE) as caught:
        exec(source, {"secret": CODE, "__name__": "elsewhere"})
    leaks.search_exception("exception", caught.value)
    assert CODE in reported(caught.value)
    leaks.search("bytes", b"x" + CODE.encode())
    leaks.search("base64", pickle.dumps(CODE).hex())
    assert [found.split(" in ")[0] for found in leaks.found] == ["canary"] * len(leaks.found)
    assert len(leaks.found) >= 3
    leaks.planted.clear()
    leaks.found.clear()


def test_failure_is_logged_in_one_line(browser, user, standin, leaks):
    """LK 187: the log gets code, stage, status and user, in one line, and nothing else."""
    standin.answer(EXCHANGE, refusal(403, "Invalid code or code_verifier"))
    started = start(browser)
    plant(leaks)
    come_back(browser, started)
    (record,) = [found for found in leaks.records if found.name == "django_openrouter_auth"]
    assert record.levelname == "WARNING"
    assert record.getMessage() == (
        "openrouter connect failed: code=exchange_rejected stage=exchange status=403 "
        f"user={user.pk}"
    )
    assert record.exc_info is None
    (report,) = leaks.error_mail.reports
    assert "exchange_rejected" in report


def test_debug_shows_no_technical_page(browser, standin, leaks, settings, monkeypatch):
    """LK 176: with DEBUG a forced failure is the same redirect as without."""
    settings.DEBUG = True

    def fail(*args: object, **kwargs: object) -> None:
        raise RuntimeError(CODE)

    started = start(browser)
    plant(leaks)
    monkeypatch.setattr(HTTPAdapter, "send", fail)
    response = come_back(browser, started)
    assert is_clean(response)
    assert outcome(response) == ("error", "internal")
    leaks.search_response("callback", response)


@pytest.mark.parametrize(
    "target",
    [
        "django_openrouter_auth.client.read_identifier",
        "django_openrouter_auth.client._read_object",
        "django_openrouter_auth.client.OpenRouterConnection",
        "django_openrouter_auth.fields.SealedKey.reveal",
        "django_openrouter_auth.models.OpenRouterKey.derive",
        "django_openrouter_auth.services.complete",
        "django_openrouter_auth.views.known_browser",
        "django_openrouter_auth.views.tell_connected",
    ],
)
def test_failures_inside_reach_nobody(browser, standin, leaks, monkeypatch, target):
    """LK 172, 176: a mistake of our own is no 5xx, no error report and no leak either."""

    def fail(*args: object, **kwargs: object) -> None:
        raise RuntimeError(CODE)

    started = start(browser)
    plant(leaks)
    monkeypatch.setattr(target, fail)
    response = come_back(browser, started)
    assert is_clean(response)
    assert outcome(response) == ("error", "internal")
    leaks.search_response("callback", response)
    leaks.search_browser("after the callback", browser)
    if standin.minted:
        leaks.plant(key=standin.minted[0])


@pytest.mark.parametrize("where", ["exchange", "status"])
@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit])
def test_report_about_an_interruption(user, browser, standin, leaks, monkeypatch, where, error):
    """LK 172: even what no code may catch shows no secret in the local variables."""
    started = start(browser)
    verifier = plant(leaks)
    real = HTTPAdapter.send

    def fail(adapter: HTTPAdapter, request: Any, **kwargs: Any) -> Any:
        if (request.method == "POST") is (where == "exchange"):
            raise error
        return real(adapter, request, **kwargs)

    monkeypatch.setattr(HTTPAdapter, "send", fail)
    with pytest.raises(error) as caught:
        services.complete(
            user=user,
            browser=browser.session["openrouter_auth"],
            state=started.state,
            answer=MultiValueDict({"code": [CODE]}),
        )
    if standin.minted:
        leaks.plant(key=standin.minted[0])
    report = reported(caught.value)
    assert "_call" in report
    assert verifier not in report
    leaks.search("error report", report)


def test_report_about_a_call_that_fails(key, user, standin, leaks):
    """LK 172: a site that does not catch a broken connection shows no key in its error report."""
    standin.answer("/api/v1/chat/completions", cut())
    with pytest.raises(requests.ConnectionError) as caught:
        get_session(user).post("chat/completions", json={})
    error = caught.value
    report = reported(error)
    assert "chat/completions" in report
    leaks.search("error report", report)
    leaks.search("exception", [str(error), repr(error), error.request, error.response])
    assert (error.__cause__, error.__context__) == (None, None)
    # Reporters other than Django's know no sensitive_variables: they show every frame there is.
    frames = [frame.f_locals for frame, _ in traceback.walk_tb(error.__traceback__)]
    shown = [{name: repr(value) for name, value in frame.items()} for frame in frames[1:]]
    leaks.search("frames", shown)


@pytest.mark.parametrize("answer", [refusal(403, "x"), refusal(500, "x"), cut(), b"junk\r\n\r\n"])
def test_exceptions_are_clean(leaks, standin, answer):
    """LK 175: an exception drags along no request, no cause, and no frame with a secret."""
    leaks.plant(code=CODE, verifier="v" * 43)
    standin.answer(EXCHANGE, answer if callable(answer) else cut(answer))
    with OpenRouterConnection() as connection, pytest.raises(exceptions.ProviderError) as caught:
        connection.exchange_code(CODE, "v" * 43, "S256")
    error = caught.value
    assert error.__cause__ is None
    assert error.__context__ is None
    assert error.args == ()
    for what in (vars(error), str(error), repr(error), pickle.dumps(error)):
        leaks.search("exception", what)
    assert "Traceback" in "".join(traceback.format_exception(error))
    restored = pickle.loads(pickle.dumps(error))
    assert (type(restored), vars(restored)) == (type(error), vars(error))


def test_exceptions_of_the_service_are_clean(user, browser, standin, leaks):
    """LK 175: the same goes for what the service raises, and for the report about it."""
    standin.answer(EXCHANGE, refusal(500, "x"))
    started = start(browser)
    plant(leaks)
    with pytest.raises(exceptions.ProviderUnavailable) as caught:
        services.complete(
            user=user,
            browser=browser.session["openrouter_auth"],
            state=started.state,
            answer=MultiValueDict({"code": [CODE]}),
        )
    leaks.search("error report", reported(caught.value))
    assert caught.value.__context__ is None


def _every_exception() -> list[type[exceptions.OpenRouterAuthError]]:
    found = [exceptions.OpenRouterAuthError]
    for kind in found:
        found += kind.__subclasses__()
    return found


@pytest.mark.parametrize("kind", _every_exception(), ids=lambda kind: kind.__name__)
def test_exceptions_survive_pickling(kind):
    """LK 175: an exception that crosses a process is the same on the other side."""
    error = kind(stage="use", status_code=429, retry_after=7, outcome_unknown=True)
    restored = pickle.loads(pickle.dumps(error))
    assert type(restored) is kind
    assert vars(restored) == vars(error)
    assert str(restored) == str(error)


# Objects


def test_pickles_and_copies(key, leaks, settings):
    """LK 181: pickling, copying and caching carry ciphertext, also after the key was read."""
    plain = key.secret.reveal()
    attempt = ConnectAttempt.objects.latest("pk")
    for what in (key, attempt, copy.deepcopy(key), [key], key.user):
        for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
            leaks.search("pickle", pickle.dumps(what, protocol))
    caches["default"].set("row", key)
    restored = caches["default"].get("row")
    leaks.search("cache", pickle.dumps(vars(restored)))
    assert restored.secret.reveal() == copy.deepcopy(key).secret.reveal() == plain


def test_texts_of_objects(key, user, leaks):
    """LK 182: no text of a row, an attempt or a session shows a secret."""
    key.secret.reveal()
    attempt = ConnectAttempt.objects.latest("pk")
    attempt.code_verifier.reveal()
    session = get_session(user)
    for what in (key, key.secret, attempt, attempt.code_verifier, session, session.auth):
        for text in (f"{what}", f"{what!r}", f"{what!s:>200}", str(what), repr(what)):
            leaks.search("text", text)
        if hasattr(what, "__dict__"):
            leaks.search("vars", vars(what))
    connection = OpenRouterConnection()
    with connection:
        leaks.search("connection", [connection, vars(connection)])


def test_forms_and_values(key, leaks):
    """LK 183: generic ways to show a row leave the secret out or sealed."""
    assert "secret" not in model_to_dict(key)
    assert "code_verifier" not in model_to_dict(ConnectAttempt.objects.latest("pk"))
    form = modelform_factory(OpenRouterKey, fields="__all__")
    assert "secret" not in form(instance=key).fields
    leaks.search("form", form(instance=key).as_p())
    leaks.search("values", list(OpenRouterKey.objects.values()))
    leaks.search("values_list", list(ConnectAttempt.objects.values_list()))


@pytest.mark.parametrize("format", ["json", "jsonl", "xml", "python"])
def test_serializers(key, leaks, format):
    """LK 183: what is serialized is ciphertext."""
    for table in (OpenRouterKey, ConnectAttempt):
        text = serialize(format, table.objects.all())
        leaks.search(f"{format} of {table}", text)
        assert "gAAAAA" in str(text)


def test_dumpdata(key, leaks):
    """LK 183: a dump of the whole site holds no secret in plain text."""
    out = io.StringIO()
    call_command("dumpdata", stdout=out)
    leaks.search("dumpdata", out.getvalue())
    assert key.secret.token.decode() in out.getvalue()


@pytest.mark.parametrize("arguments", [(), ("--deploy",)])
def test_checks_show_no_encryption_key(leaks, settings, arguments):
    """LK 185: what ``check`` prints names settings, and no value of a secret one."""
    settings.FERNET_KEYS = ["short-canary-7d1f", settings.SECRET_KEY, "short-canary-7d1f", "x"]
    leaks.plant(fernet="short-canary-7d1f", secret=settings.SECRET_KEY)
    out, err = io.StringIO(), io.StringIO()
    try:
        call_command("check", *arguments, stdout=out, stderr=err)
    except Exception as error:  # noqa: BLE001  # whatever it says is searched
        leaks.search("check", str(error))
    leaks.search("check", out.getvalue() + err.getvalue())


def test_error_reports_mask_our_settings(leaks, settings):
    """LK 186: Django's own error report masks the encryption keys."""
    # Not written out here: the report quotes the lines of this test.
    settings.FERNET_KEYS = [secrets.token_hex(32)]
    leaks.plant(fernet=settings.FERNET_KEYS[0])
    request = RequestFactory().get("/")
    with pytest.raises(ValueError, match="x") as caught:
        int("x")
    reporter = ExceptionReporter(request, caught.type, caught.value, caught.tb)
    report = reporter.get_traceback_html() + reporter.get_traceback_text()
    assert "FERNET_KEYS" in report
    leaks.search("debug page", report)


def test_error_mail_is_the_one_of_django():
    """LK 172: the reports that are searched are those that an administrator would get."""
    assert ErrorMail().include_html


def test_status_check_leaves_no_trace(key, user, standin, leaks):
    """LK 171: confirming a 401 logs neither the key nor the header."""
    standin.minted.clear()
    standin.answer("/api/v1/chat/completions", refusal(401, "User not found."))
    with pytest.raises(exceptions.KeyRejected) as caught:
        get_session(user).post("chat/completions", json={})
    leaks.search_exception("use", caught.value)
    assert STATUS in [request.path for request in standin.journal]
