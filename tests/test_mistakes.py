"""What one can do wrong on the first day, and the message that names the fix.

Here the mistakes are made in the site of the tests; test_quickstart makes some in a new project.
"""

import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.checks import CheckMessage
from django.core.exceptions import ImproperlyConfigured
from django.db import DatabaseError, OperationalError, ProgrammingError, connection, transaction
from django.http import HttpRequest, HttpResponse
from django.template import Context, Template, TemplateSyntaxError
from django.test import Client, RequestFactory
from django.urls import include, path
from django.utils.module_loading import import_string

from django_openrouter_auth import sandbox_checks, setup_checks
from django_openrouter_auth.decorators import openrouter_key_required
from django_openrouter_auth.keys import show_key
from django_openrouter_auth.models import ConnectAttempt, OpenRouterKey
from django_openrouter_auth.sandbox.checks import check_app
from django_openrouter_auth.sandbox.models import SandboxSwitches
from django_openrouter_auth.shortcuts import get_api_key
from django_openrouter_auth.tables import OUR_TABLES, migrated

OURS, SANDBOX = "django_openrouter_auth", "django_openrouter_auth.sandbox"
BUTTON = "{% load openrouter_auth %}{% openrouter_button %}"
RUN_MIGRATE = r"Run: python manage\.py migrate$"


@pytest.fixture(autouse=True)
def debug(settings: Any) -> None:
    """Mistakes of the first day are made with DEBUG, which the sandbox wants as well."""
    settings.DEBUG = True


def told(messages: list[CheckMessage]) -> list[tuple[str, str]]:
    """Return the ids without the app, and the hints."""
    return [(str(item.id).removeprefix(f"{OURS}."), str(item.hint)) for item in messages]


def without(values: list[str], *names: str) -> list[str]:
    """Return a list without some entries."""
    return [value for value in values if value not in names]


# URLs that are not included


class NoUrls:
    urlpatterns: list[Any] = []


@pytest.fixture
def no_urls(settings: Any) -> None:
    """A site that forgot to include our URLs."""
    settings.ROOT_URLCONF = NoUrls


@pytest.mark.parametrize("tag", ["openrouter_button", "openrouter_card"])
def test_tag_without_urls(tag, no_urls):
    """A page with a tag names the line that its urls.py lacks."""
    template = Template(f"{{% load openrouter_auth %}}{{% {tag} %}}")
    with pytest.raises(ImproperlyConfigured, match=r'include\("django_openrouter_auth\.urls"\)'):
        template.render(Context())


def test_requiring_a_key_without_urls(no_urls, rf, user):
    """A view that requires a key names the line, too."""
    request = rf.get("/")
    request.user = user
    view = openrouter_key_required(lambda request: HttpResponse())
    with pytest.raises(ImproperlyConfigured, match=r'include\("django_openrouter_auth\.urls"\)'):
        view(request)


# Tables that are missing


@pytest.fixture
def drop(transactional_db: None) -> Iterator[Callable[..., None]]:
    """Take a table or a column away until the end of the test."""
    undo: list[str] = []

    def run(sql: str) -> None:
        with connection.cursor() as cursor:
            cursor.execute(sql)

    def take(model: Any, column: str = "") -> None:
        table = model._meta.db_table
        if column:
            run(f"ALTER TABLE {table} RENAME COLUMN {column} TO elsewhere")
            undo.append(f"ALTER TABLE {table} RENAME COLUMN elsewhere TO {column}")
        else:
            run(f"ALTER TABLE {table} RENAME TO elsewhere")
            undo.append(f"ALTER TABLE elsewhere RENAME TO {table}")

    yield take
    for sql in reversed(undo):
        run(sql)


USES: dict[str, Callable[[Client, User], Any]] = {
    "button": lambda browser, user: Template(BUTTON).render(Context({"user": user})),
    "filter": lambda browser, user: Template(
        "{% load openrouter_auth %}{{ user|has_openrouter_key }}"
    ).render(Context({"user": user})),
    "page": lambda browser, user: browser.get("/openrouter/"),
    "status": lambda browser, user: browser.get("/openrouter/status/"),
    "shortcut": lambda browser, user: get_api_key(user),
    "requiring": lambda browser, user: openrouter_key_required(lambda request: HttpResponse())(
        request_of(user)
    ),
}


def request_of(user: User) -> HttpRequest:
    """Return a request of a user."""
    request = RequestFactory().get("/")
    request.user = user
    return request


@pytest.mark.parametrize("use", USES)
def test_no_tables(use, drop, browser, user):
    """Tags, pages and shortcuts say that migrate has to run, rather than name a table."""
    drop(OpenRouterKey)
    with pytest.raises(ImproperlyConfigured, match=RUN_MIGRATE):
        USES[use](browser, user)


def test_click_without_tables(drop, browser):
    """The click on the button says so, too."""
    drop(ConnectAttempt)
    with pytest.raises(ImproperlyConfigured, match=RUN_MIGRATE):
        browser.post("/openrouter/connect/")


def test_new_version_without_migrate(drop, browser):
    """A column that a new version brings, and migrate did not yet, is the same mistake."""
    drop(OpenRouterKey, "hint")
    with pytest.raises(ImproperlyConfigured, match=RUN_MIGRATE):
        browser.get("/openrouter/")


def test_sandbox_without_tables(drop, client):
    """The sandbox's pages say so for its own tables."""
    drop(SandboxSwitches)
    with pytest.raises(ImproperlyConfigured, match=rf"{SANDBOX}\. {RUN_MIGRATE}"):
        client.get("/openrouter-sandbox/faults")


def test_transaction_without_tables(drop, user):
    """The transaction is rolled back as it would be, and the connection is good afterwards."""
    drop(OpenRouterKey)
    with suppress(ImproperlyConfigured), transaction.atomic():
        User.objects.create_user("eve")
        show_key(user)
    assert not User.objects.filter(username="eve").exists()


@pytest.mark.parametrize(
    "error",
    [
        OperationalError("database is locked"),
        OperationalError("no such table: shop_order"),
        ProgrammingError("permission denied for table django_openrouter_auth_openrouterkey"),
        OperationalError(1205, "Lock wait timeout: django_openrouter_auth_openrouterkey"),
    ],
)
def test_other_errors_of_the_database(error):
    """Whatever else a database says comes through as it is."""
    with pytest.raises(DatabaseError) as raised, migrated(*OUR_TABLES):
        raise error
    assert raised.value is error


class NotThere(Exception):
    """An error of a database's driver, with the code of PostgreSQL."""


@pytest.mark.parametrize("attribute", ["sqlstate", "pgcode"])
@pytest.mark.parametrize("code", ["42P01", "42703"])
def test_codes_of_postgresql(attribute, code):
    """Both drivers of PostgreSQL name a missing table or column by its code, in any language."""
    error = ProgrammingError("Relation »django_openrouter_auth_openrouterkey« existiert nicht")
    error.__cause__ = NotThere()
    setattr(error.__cause__, attribute, code)
    with pytest.raises(ImproperlyConfigured, match=RUN_MIGRATE), migrated(*OUR_TABLES):
        raise error


@pytest.mark.parametrize("number", [1146, 1054])
def test_numbers_of_mariadb(number):
    """MySQL and MariaDB name them by numbers."""
    error = ProgrammingError(number, "Table 'x.django_openrouter_auth_openrouterkey' …")
    with pytest.raises(ImproperlyConfigured, match=RUN_MIGRATE), migrated(*OUR_TABLES):
        raise error


def test_no_query_more(user, django_assert_num_queries):
    """What says so costs no query while all is well."""
    with django_assert_num_queries(1):
        Template(BUTTON).render(Context({"user": user}))


# Apps that are not installed


@pytest.mark.parametrize(
    ("urls", "needed"), [("django_openrouter_auth.urls", OURS), (f"{SANDBOX}.urls", SANDBOX)]
)
def test_urls_without_the_app(urls, needed, settings, monkeypatch):
    """URLs of an app that is not installed name the line of INSTALLED_APPS."""
    settings.INSTALLED_APPS = without(settings.INSTALLED_APPS, needed)
    monkeypatch.delitem(sys.modules, urls, raising=False)
    with pytest.raises(ImproperlyConfigured, match=f'Add "{needed}" to INSTALLED_APPS'):
        import_string(f"{urls}.urlpatterns")


def test_sandbox_without_the_app(settings):
    """E010: a site with our settings and the sandbox, but not the app, is told which is missing."""
    settings.INSTALLED_APPS = without(settings.INSTALLED_APPS, OURS)
    settings.OPENROUTER_AUTH_APP_TITLE = "Chat"
    assert told(check_app()) == [("E010", 'Add "django_openrouter_auth" to INSTALLED_APPS.')]


@pytest.mark.parametrize("is_installed", [True, False])
def test_sandbox_that_is_meant_so(settings, is_installed):
    """A site with the app, and a sandbox that stands alone for other sites, are in order."""
    if is_installed:
        settings.OPENROUTER_AUTH_APP_TITLE = "Chat"
    else:
        settings.INSTALLED_APPS = without(settings.INSTALLED_APPS, OURS)
    assert check_app() == []


# Templates


def test_page_without_load():
    """Django's own words say that a tag has to be loaded."""
    with pytest.raises(TemplateSyntaxError, match="Did you forget to register or load this tag"):
        Template("{% openrouter_button %}")


@pytest.fixture
def no_context_processors(settings: Any) -> None:
    """A site whose templates get nothing but what views give them."""
    (engine,) = settings.TEMPLATES
    settings.TEMPLATES = [engine | {"OPTIONS": {}}]


def test_no_context_processors(no_context_processors, browser, connected):
    """Without the context processors everything works: user, form and messages."""
    connected.delete()
    page = browser.get("/openrouter/connect/").content.decode()
    assert 'action="/openrouter/connect/"' in page
    assert "csrfmiddlewaretoken" in page
    browser.post("/openrouter/disconnect/")
    assert "OpenRouter was not connected" in browser.get("/openrouter/").content.decode()


def test_no_messages_framework(settings, browser):
    """Without the messages framework the pages work."""
    settings.MIDDLEWARE = [name for name in settings.MIDDLEWARE if "messages" not in name]
    assert browser.post("/openrouter/disconnect/").status_code == 303
    assert browser.get("/openrouter/").status_code == 200


def test_templates_that_are_not_found(settings):
    """E009: a site that does not look into the templates of apps is told the switch."""
    settings.TEMPLATES = [settings.TEMPLATES[0] | {"APP_DIRS": False, "DIRS": []}]
    ((name, hint),) = told(setup_checks.check_templates())
    assert (name, '"APP_DIRS": True' in hint) == ("E009", True)


@pytest.fixture
def late_app(tmp_path: Path, settings: Any, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An app that stands after ours and brings our pages' frame."""
    folder = tmp_path / "late_app"
    (folder / "templates" / "openrouter_auth").mkdir(parents=True)
    (folder / "__init__.py").touch()
    (folder / "templates" / "openrouter_auth" / "base.html").write_text("Ours: {{ key }}")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "late_app", raising=False)  # that of another test
    settings.INSTALLED_APPS = [*settings.INSTALLED_APPS, "late_app"]
    return folder


def test_wrong_order_of_apps(late_app, settings):
    """W014: a template that comes too late is reported with the order that lets it count."""
    (warning,) = setup_checks.check_templates()
    assert "openrouter_auth/base.html of late_app is not used" in warning.msg
    assert told([warning]) == [
        ("W014", 'Put "late_app" before "django_openrouter_auth" in INSTALLED_APPS.')
    ]
    settings.INSTALLED_APPS = ["late_app", *settings.INSTALLED_APPS[:-1]]
    assert setup_checks.check_templates() == []


def test_broken_template(late_app, settings):
    """A template that cannot be read is Django's to report, not ours."""
    settings.INSTALLED_APPS = ["late_app", *settings.INSTALLED_APPS[:-1]]
    for name in ("manage.html", "base.html"):
        (late_app / "templates" / "openrouter_auth" / name).write_text("{% if %}")
        assert setup_checks.check_templates() == []


@pytest.mark.parametrize("kind", [Path, str])
def test_folder_that_is_not_named(settings, tmp_path, kind):
    """W014: a new project has a folder for templates in nobody's list; the message names it."""
    folder = tmp_path / "templates" / "openrouter_auth"
    folder.mkdir(parents=True)
    (folder / "base.html").touch()
    settings.BASE_DIR = kind(tmp_path)
    (warning,) = setup_checks.check_templates()
    assert "openrouter_auth/base.html of this project is not used" in warning.msg
    assert told([warning]) == [("W014", 'Put BASE_DIR / "templates" into the DIRS of TEMPLATES.')]
    settings.TEMPLATES = [settings.TEMPLATES[0] | {"DIRS": [tmp_path / "templates"]}]
    assert setup_checks.check_templates() == []


def test_broken_templates_setting(settings):
    """A setting that is broken is Django's to report."""
    settings.TEMPLATES = [{"BACKEND": "no.such.Engine"}]
    assert setup_checks.check_templates() == []


def test_static_files(settings):
    """W016: without an app that serves it, the stylesheet is missing; the message names it."""
    assert setup_checks.check_static_files() == []
    settings.INSTALLED_APPS = without(settings.INSTALLED_APPS, "django.contrib.staticfiles")
    ((name, hint),) = told(setup_checks.check_static_files())
    assert (name, hint[:32]) == ("W016", 'Add "django.contrib.staticfiles"')


# Signing in


@pytest.mark.parametrize("url", ["/accounts/login/x/", "/nowhere", "nowhere", "a/b/"])
def test_no_login_page(settings, url):
    """W015: a LOGIN_URL that leads nowhere is reported with one that does in a new project."""
    settings.LOGIN_URL = url
    ((name, hint),) = told(setup_checks.check_login())
    assert (name, hint.endswith('LOGIN_URL = "admin:login".')) == ("W015", True)


@pytest.mark.parametrize(
    "url",
    [
        "admin:login",
        "/accounts/login/",
        "/accounts/login",
        "/admin/login/?x=1",
        "https://id.example/nowhere/",
    ],
)
def test_login_page(settings, url):
    """W015: names, paths and addresses elsewhere are in order."""
    settings.LOGIN_URL = url
    assert setup_checks.check_login() == []


def test_login_page_below_a_prefix(settings, monkeypatch):
    """W015: a site below a path is looked at from there."""
    monkeypatch.setattr(setup_checks, "get_script_prefix", lambda: "/app/")
    settings.LOGIN_URL = "/app/accounts/login/"
    assert setup_checks.check_login() == []


def test_login_page_without_a_slash(settings):
    """W015: a path may end without a slash, and then has to be asked for without."""
    urls = [path("login", lambda request: HttpResponse())]
    settings.ROOT_URLCONF = type("Urls", (), {"urlpatterns": urls})
    settings.LOGIN_URL = "/login"
    assert setup_checks.check_login() == []
    # Django adds a slash where one is missing, and takes none away.
    settings.LOGIN_URL = "/login/"
    assert [name for name, hint in told(setup_checks.check_login())] == ["W015"]


@pytest.mark.parametrize("url", ["log-in", "/登录/"])
def test_login_page_in_another_script(settings, url):
    """W015: a path may have any letters, by its URL name as well."""
    urls = [path("登录/", lambda request: HttpResponse(), name="log-in")]
    settings.ROOT_URLCONF = type("Urls", (), {"urlpatterns": urls})
    settings.LOGIN_URL = url
    assert setup_checks.check_login() == []


def test_login_page_with_a_language(settings):
    """W015: where paths begin with a language, a path without one is in order."""
    from django.conf.urls.i18n import i18n_patterns

    patterns = i18n_patterns(path("login/", lambda request: HttpResponse()))
    settings.ROOT_URLCONF = type("Urls", (), {"urlpatterns": patterns})
    settings.LOGIN_URL = "/login/"
    assert setup_checks.check_login() == []


def test_broken_urls(settings):
    """URLs that cannot be loaded are Django's to report."""
    settings.ROOT_URLCONF, settings.LOGIN_URL = "no.such.module", "/login/"
    assert setup_checks.check_login() == []
    assert sandbox_checks.check_sandbox() == []


def test_worker_without_urls(settings):
    """A process that serves no pages needs no templates, login page, stylesheet or sandbox."""
    settings.ROOT_URLCONF, settings.LOGIN_URL = None, "/nowhere/"
    settings.INSTALLED_APPS = without(settings.INSTALLED_APPS, "django.contrib.staticfiles")
    settings.TEMPLATES = []
    assert setup_checks.check_templates() == []
    assert setup_checks.check_static_files() == []
    assert setup_checks.check_login() == []
    assert sandbox_checks.check_sandbox() == []


# The sandbox


def at(settings: Any, address: str, api: str = "") -> None:
    """Let the settings lead to an address."""
    settings.OPENROUTER_AUTH_AUTHORIZE_URL = f"{address}/auth"
    settings.OPENROUTER_AUTH_API_URL = f"{api or address}/api/v1"


HERE = "http://localhost:8000/openrouter-sandbox"


@pytest.fixture
def runserver(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Let this process look as if it were ``manage.py runserver``."""

    def run(*arguments: str) -> None:
        monkeypatch.setattr(sys, "argv", ["manage.py", "runserver", *arguments])

    return run


def test_sandbox_without_urls(settings):
    """W017: a sandbox whose URLs are not included is reported with the line."""
    urls = [path("openrouter/", include("django_openrouter_auth.urls"))]
    settings.ROOT_URLCONF = type("Urls", (), {"urlpatterns": urls})
    ((name, hint),) = told(sandbox_checks.check_sandbox())
    assert (name, f'include("{SANDBOX}.urls")' in hint) == ("W017", True)


@pytest.mark.parametrize(
    ("arguments", "port"),
    [
        ([], 8000),
        (["8000"], 8000),
        (["0.0.0.0:8000", "--noreload"], 8000),
        (["--settings", "tests.settings", "[::1]:8000"], 8000),
    ],
)
def test_settings_that_lead_to_the_sandbox(settings, runserver, arguments, port):
    """W018: settings that name this server's port and path are in order, by either name of it."""
    runserver(*arguments)
    at(settings, HERE, HERE.replace("localhost", "127.0.0.1"))
    assert sandbox_checks.check_sandbox() == []


@pytest.mark.parametrize(
    ("address", "api"),
    [
        (HERE, ""),
        (HERE.replace("8000", "8001"), HERE),
        ("http://localhost:8001/sandbox", ""),
        ("https://openrouter.ai", ""),
        ("http://localhost/openrouter-sandbox", ""),
    ],
)
def test_settings_that_lead_elsewhere(settings, runserver, address, api):
    """W018: another port, another path or OpenRouter itself: the message has lines to copy."""
    runserver("8001")
    at(settings, address, api)
    ((name, hint),) = told(sandbox_checks.check_sandbox())
    assert name == "W018"
    assert hint.startswith(
        'Set OPENROUTER_AUTH_AUTHORIZE_URL = "http://localhost:8001/openrouter-sandbox/auth" and '
        'OPENROUTER_AUTH_API_URL = "http://localhost:8001/openrouter-sandbox/api/v1"'
    )


@pytest.mark.parametrize("arguments", [["check"], ["runserver_plus"], []])
def test_other_processes(settings, monkeypatch, arguments):
    """W018: only a server knows its port; other processes hear nothing about it."""
    monkeypatch.setattr(sys, "argv", ["manage.py", *arguments])
    at(settings, "http://localhost:8001/sandbox")
    assert sandbox_checks.check_sandbox() == []


def test_port_that_is_none(settings, runserver):
    """Django refuses such an argument itself."""
    runserver("somewhere")
    at(settings, "http://localhost:8001/sandbox")
    assert sandbox_checks.check_sandbox() == []


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("http://localhost:8000/openrouter-sandbox", ["W018"]),
        ("http://localhost:8400/sandbox", []),
        ("https://openrouter.ai", []),
        ("https://provider.example:8000/sandbox", []),
        ("http://127.0.0.1:8000/openrouter", []),
    ],
)
def test_sandbox_that_is_not_there(settings, runserver, address, expected):
    """W018: settings that lead to this server, which has no sandbox, are reported."""
    urls = [path("openrouter/auth", lambda request: HttpResponse())]
    settings.ROOT_URLCONF = type("Urls", (), {"urlpatterns": urls})
    settings.INSTALLED_APPS = without(settings.INSTALLED_APPS, SANDBOX)
    runserver()
    at(settings, address)
    assert [name for name, hint in told(sandbox_checks.check_sandbox())] == expected


def test_own_page_below_a_prefix(settings, runserver, monkeypatch):
    """W018: a site below a path is looked at from there."""
    monkeypatch.setattr(sandbox_checks, "get_script_prefix", lambda: "/app/")
    urls = [path("openrouter/auth", lambda request: HttpResponse())]
    settings.ROOT_URLCONF = type("Urls", (), {"urlpatterns": urls})
    settings.INSTALLED_APPS = without(settings.INSTALLED_APPS, SANDBOX)
    runserver()
    at(settings, "http://localhost:8000/app/openrouter")
    assert sandbox_checks.check_sandbox() == []


def test_sandbox_that_waits_for_itself(settings, runserver):
    """W019: a server without threads cannot be its own sandbox; the message names the option."""
    runserver("--nothreading")
    at(settings, HERE)
    assert told(sandbox_checks.check_sandbox()) == [("W019", "Leave out --nothreading.")]
