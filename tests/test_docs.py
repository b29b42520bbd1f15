"""The documentation says what the code does: everything that has a name is compared."""

import json
import re
import textwrap
from collections.abc import Callable
from datetime import timedelta
from importlib import import_module
from inspect import signature
from pathlib import Path
from typing import Any

import pytest
from asgiref.sync import async_to_sync, sync_to_async
from django.conf import settings as site_settings
from django.core import mail
from django.core.checks import run_checks
from django.core.management import find_commands, load_command_class
from django.core.management.base import BaseCommand
from django.db import connection
from django.dispatch import Signal
from django.template import engines
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

import django_openrouter_auth
from django_openrouter_auth import (
    checks,
    decorators,
    doctor,
    exceptions,
    fields,
    middleware,
    mixins,
    models,
    services,
    shortcuts,
    signals,
    urls,
)
from django_openrouter_auth.conf import declared_settings
from django_openrouter_auth.sandbox import urls as sandbox_urls
from django_openrouter_auth.sandbox.models import SandboxSwitches
from django_openrouter_auth.templatetags import openrouter_auth as tags

from .connecting import API, CODE, KEY, OTHER_KEY, start
from .test_layout import LAYERS
from .test_limits import statements

DOCS = Path(__file__).resolve().parent.parent / "docs"
PACKAGE = Path(django_openrouter_auth.__file__).resolve().parent
PAGES = {
    path.relative_to(DOCS).with_suffix("").as_posix(): path.read_text()
    for path in DOCS.rglob("*.rst")
}
# Guides are sites in themselves, each with a test module of its own.
GUIDES = [name for name in PAGES if name.startswith(("howto/", "tutorial", "comparison"))]
EVERYTHING = "\n".join(PAGES.values())


def described(page: str, directive: str) -> dict[str, str]:
    """What a page describes by a directive: names and the indented text below each."""
    pattern = rf"^\.\. {directive}:: (\S+)\n((?:\n| +.*\n)*)"
    return {name: plain(text) for name, text in re.findall(pattern, PAGES[page], re.MULTILINE)}


def plain(text: str) -> str:
    """Join the lines of a text."""
    return " ".join(text.split())


def tables(page: str) -> list[list[list[str]]]:
    """The list-tables of a page: rows of cells, without the header."""
    found = []
    for table in re.findall(r"\.\. list-table::\n((?:\n| +.*\n)*)", PAGES[page]):
        rows = re.split(r"^ +\* - ", table, flags=re.MULTILINE)[1:]
        cells = [[plain(cell) for cell in re.split(r"\n +- ", row)] for row in rows]
        found.append(cells[1:] if ":header-rows:" in table else cells)
    return found


def table(page: str, first: str) -> dict[str, list[str]]:
    """The table of a page that has a cell in its first column, by that column."""
    (rows,) = [rows for rows in tables(page) if literal(first) in [row[0] for row in rows]]
    names = [unquote(row[0]) for row in rows]
    assert len(set(names)) == len(names)
    return {name: row[1:] for name, row in zip(names, rows, strict=True)}


def literal(text: str) -> str:
    """Return a text as a literal."""
    return f"``{text}``"


def unquote(cell: str) -> str:
    """Return the text of a literal."""
    match = re.fullmatch(r"``(.+)``", cell)
    assert match, cell
    return match[1]


def literals(text: str) -> set[str]:
    """The literals in a text."""
    return set(re.findall(r"``([^`]+)``", text))


# Settings

SETTINGS = described("reference/settings", "setting")
FOREIGN = {"FERNET_KEYS", "FERNET_USE_HKDF"}


def test_every_setting_is_described():
    """The page of settings has every setting, and none that does not exist."""
    assert set(SETTINGS) == set(declared_settings()) | FOREIGN


@pytest.mark.parametrize("name", declared_settings())
def test_setting_is_described_as_it_is(name):
    """What a setting must be, and its default, are those of the code."""
    setting = declared_settings()[name]
    assert f"Must be {setting.expects}." in SETTINGS[name]
    (default,) = re.findall(r"Default: ``(.+?)``\.", SETTINGS[name])
    assert eval(default, {"timedelta": timedelta}) == setting.default


def test_no_other_setting_is_named():
    """No page names a setting of ours that does not exist."""
    named = set(re.findall(r"OPENROUTER_AUTH_[A-Z]\w*", EVERYTHING))
    assert named <= set(declared_settings())


# URLs


def test_every_url_is_described():
    """The page of URLs has every name, with its path and its methods."""
    found = described("reference/urls", "urlname")
    named = {f"openrouter_auth:{p.name}": str(p.pattern) for p in urls.urlpatterns if p.name}
    assert set(found) == set(named)
    for name, path in named.items():
        assert f'| Path: ``"{path}"`` | Methods: ' in found[name]


@pytest.mark.parametrize("name", [pattern.name for pattern in urls.urlpatterns if pattern.name])
def test_methods_are_those_that_are_answered(name, client):
    """The methods of a page are those that its 405 names."""
    path = "callback/x/" if name == "callback" else f"{name}/" if name != "manage" else ""
    text = described("reference/urls", "urlname")[f"openrouter_auth:{name}"]
    methods = re.findall(r"Methods: ((?:[A-Z]+(?:, )?)+)", text)
    assert [client.put(f"/openrouter/{path}")["Allow"]] == methods


def test_every_url_of_the_sandbox_is_described():
    """The page of the sandbox has every name and path."""
    found = {name: unquote(row[0]) for name, row in table("reference/sandbox", "home").items()}
    assert found == {p.name: f'"{p.pattern}"' for p in sandbox_urls.urlpatterns}


def test_links_lead_to_urls_that_exist():
    """A URL name in a template, in a text or in code exists."""
    named = set(re.findall(r"openrouter_auth:(\w+)", EVERYTHING))
    assert named == {pattern.name for pattern in urls.urlpatterns if pattern.name}


def documented_json() -> list[Any]:
    """The examples of JSON, in their order."""
    return [json.loads(block) for block in code_blocks("json")]


def test_status_has_the_documented_shape(browser, connected):
    """The example of ``status`` has the names that the answer has."""
    documented, _ = documented_json()
    answer = browser.get("/openrouter/status/").json()
    assert list(answer) == list(documented)
    assert list(answer["urls"]) == list(documented["urls"])
    assert [type(answer[name]) for name in ("connected", "usage", "connected_at")] == [
        type(documented[name]) for name in ("connected", "usage", "connected_at")
    ]


def test_problem_is_the_documented_one(client, db):
    """The example of problem details is what an anonymous visitor of ``status`` gets."""
    response = client.get("/openrouter/status/")
    assert response["Content-Type"] == "application/problem+json"
    assert response.json() == documented_json()[1]


def test_requests_of_programs(browser, openrouter):
    """Each request of the table of JSON gets the answer that stands beside it."""
    values = {"next": "/", "code": CODE, "api_key": KEY}
    (rows,) = tables("reference/urls")
    for request, members, answer in rows:
        method, path = request.split()
        response = browser.generic(
            method,
            f"/openrouter/{unquote(path)}",
            json.dumps({name: values[name] for name in literals(members)}),
            content_type="application/json",
            headers={"Accept": "application/json"},
        )
        assert response.status_code == 200, request
        started = {"authorization_url"}
        names = started if "authorization_url" in answer else set(documented_json()[0])
        assert set(response.json()) == names, request


# Templates


def test_every_tag_and_filter_is_described():
    """The page of templates has every tag and filter."""
    assert set(described("reference/templates", "templatetag")) == set(tags.register.tags)
    assert set(described("reference/templates", "templatefilter")) == set(tags.register.filters)


def test_arguments_of_the_button_are_described():
    """Every argument of the button is described, and every variant and size."""
    text = described("reference/templates", "templatetag")["openrouter_button"]
    arguments = set(signature(tags.openrouter_button).parameters) - {"context"}
    assert literals(text) == arguments | set(tags.VARIANTS) | set(tags.SIZES)


def test_looks_of_the_button_are_described():
    """The tables of variants and sizes are those of the code."""
    assert set(table("reference/templates", "minimal")) == set(tags.VARIANTS)
    assert set(table("reference/templates", "sm")) == set(tags.SIZES)


def test_every_template_and_block_is_described():
    """The table of templates has every template, with its blocks."""
    folder = PACKAGE / "templates"
    blocks = {
        path.relative_to(folder).as_posix(): set(re.findall(r"{% block ([\w-]+)", path.read_text()))
        for path in folder.rglob("*.html")
    }
    found = table("reference/templates", "openrouter_auth/base.html")
    assert {name: literals(row[0]) for name, row in found.items()} == blocks


def test_every_colour_is_described():
    """The table of custom properties is that of the stylesheet."""
    css = (PACKAGE / "static" / "openrouter_auth" / "style.css").read_text()
    properties = set(re.findall(r"^ +(--[\w-]+):", css, re.MULTILINE))
    assert set(table("reference/templates", "--openrouter-ink")) == properties


SITE_BASE = "Site {% block title %}{% endblock %}{% block content %}{% endblock %}"


def test_one_line_gives_the_pages_the_look_of_a_site(browser, settings, tmp_path):
    """The example of overriding the base template is enough for every page."""
    (line,) = [block for block in code_blocks("html+django") if "extends" in block]
    (tmp_path / "openrouter_auth").mkdir()
    (tmp_path / "openrouter_auth" / "base.html").write_text(line)
    (tmp_path / "base.html").write_text(SITE_BASE)
    (engine,) = settings.TEMPLATES
    settings.TEMPLATES = [engine | {"DIRS": [tmp_path, *engine["DIRS"]]}]
    for page in ("", "connect/", "code/", "key/", "disconnect/"):
        assert browser.get(f"/openrouter/{page}").content.startswith(b"Site ")


# Python


def test_every_shortcut_is_described():
    """Every public name of ``shortcuts`` is described as one of that module, and is there."""
    (part,) = re.findall(
        r"^\.\. currentmodule:: django_openrouter_auth\.shortcuts$(.*?)^\.\. currentmodule::",
        PAGES["reference/python"],
        re.MULTILINE | re.DOTALL,
    )
    shown = re.findall(r"^\.\. (?:autofunction|py:class):: (\w+)$", part, re.MULTILINE)
    assert sorted(shown) == sorted(shortcuts.__all__)
    assert all(hasattr(shortcuts, name) for name in shown)


def test_every_way_to_require_a_key_is_described():
    """Autodoc shows decorator, mixin and middleware."""
    shown = set(re.findall(r"auto(?:decorator|class):: (\w+)", PAGES["reference/python"]))
    assert shown >= {*decorators.__all__, *mixins.__all__, *middleware.__all__}


@pytest.mark.parametrize(
    ("page", "model", "first"),
    [
        ("reference/python", models.OpenRouterKey, "hint"),
        ("explanation/flow", models.ConnectAttempt, "state_hash"),
    ],
)
def test_every_field_is_described(page, model, first):
    """The tables of fields have every field of a model."""
    names = {field.name for field in model._meta.fields if not field.primary_key}
    assert set(table(page, first)) == names


def test_public_attributes_are_described():
    """The properties of a key, and what a sealed key reveals, are on the page by name."""
    key = vars(models.KeyFacts) | vars(models.OpenRouterKey)
    properties = {name for name, item in key.items() if isinstance(item, property)}
    assert set(re.findall(r"autoproperty:: (\w+)", PAGES["reference/python"])) == properties
    assert "autoclass:: SealedKey\n   :members: reveal\n" in PAGES["reference/python"]
    assert callable(fields.SealedKey.reveal)


def every_exception() -> dict[str, type[exceptions.OpenRouterAuthError]]:
    """The exceptions by name."""
    return {
        name: item
        for name, item in vars(exceptions).items()
        if isinstance(item, type) and issubclass(item, exceptions.OpenRouterAuthError)
    }


def test_table_of_codes():
    """The table of codes is that of the exceptions: code, status, level, way on and occasion."""
    (rows,) = [rows for rows in tables("reference/python") if rows[0][0].startswith("| ")]
    assert rows == [
        [
            f"| {literal(name)} | {literal(error.code)}",
            str(error.http_status),
            error.level,
            error.recovery,
            (error.__doc__ or "").splitlines()[0].removeprefix("Raised "),
        ]
        for name, error in every_exception().items()
    ]


def test_every_way_on_is_explained():
    """Each ``recovery`` is explained below the table."""
    (text,) = re.findall(r"Ways on\n~+\n(.+)\nMessages\n", PAGES["reference/python"], re.DOTALL)
    terms = "\n".join(line for line in text.splitlines() if line.startswith("``"))
    assert literals(terms) == {error.recovery for error in every_exception().values()}


def test_codes_in_texts_exist():
    """Each code that a page mentions with the HTTP status is one of ours."""
    codes = {error.code: error.http_status for error in every_exception().values()}
    named = re.findall(r"\b([1-5]\d\d) ``(\w+)``", PAGES["reference/urls"])
    assert named
    assert all(codes[code] == int(status) for status, code in named)


# Signals

SIGNALS = described("reference/signals", "signal")


def test_every_signal_is_described():
    """The page of signals has every signal, and no other."""
    names = {name for name, item in vars(signals).items() if isinstance(item, Signal)}
    assert set(SIGNALS) == names


@pytest.mark.parametrize("name", SIGNALS)
def test_arguments_of_signals_are_described(
    name, browser, openrouter, django_capture_on_commit_callbacks
):
    """Receivers are told what the page of signals says, by its names."""
    told = []

    def receive(sender, signal, **facts):
        told.append(set(facts))

    signal = getattr(signals, name)
    signal.connect(receive)
    with django_capture_on_commit_callbacks(execute=True):
        browser.get(start(browser).path, {"error": "access_denied"})
        browser.get(start(browser).path, {"code": CODE})
        openrouter.forgets()
        browser.post("/openrouter/check/")
        browser.post("/openrouter/disconnect/")
    signal.disconnect(receive)
    (arguments,) = re.findall(r"Arguments: (.+?)\.", SIGNALS[name])
    assert told == [literals(arguments)]


# Checks


def test_every_check_is_described():
    """The page of checks has every id of the table in the code, and no other."""
    ids = set(re.findall(r"django_openrouter_auth\.[EW]\d+", str(checks.__doc__)))
    found = described("reference/checks", "check")
    assert set(found) == ids
    assert all("Fix: " in text for text in found.values())


# Commands


def own_options(name: str) -> set[str]:
    """The options of a command that are not every command's."""
    everywhere = BaseCommand().create_parser("manage.py", name)
    parser = load_command_class("django_openrouter_auth", name).create_parser("manage.py", name)
    common, options = (
        {option for action in one._actions for option in action.option_strings}
        for one in (everywhere, parser)
    )
    return options - common


def test_every_command_is_described():
    """The page of commands has every command, each with all its own options and no other."""
    found = described("reference/commands", "command")
    assert set(found) == set(find_commands(str(PACKAGE / "management")))
    for name, text in found.items():
        named = {item.split()[0] for item in literals(text) if item.startswith("--")}
        assert named == own_options(name), name


def test_every_examination_is_described(db):
    """The table of examinations has each of the doctor's, in its order."""
    titles = [title for title, _ in doctor.examine(offline=True)]
    assert list(table("reference/commands", "settings")) == [*titles, "OpenRouter", "clock"]


# Sandbox


def test_every_switch_is_described():
    """The table of switches has every switch with its default."""
    found = {name: unquote(row[0]) for name, row in table("reference/sandbox", "key_fault").items()}
    switches = [field for field in SandboxSwitches._meta.fields if not field.primary_key]
    assert found == {field.name: repr(plain_value(field)) for field in switches}


def plain_value(field: Any) -> Any:
    """The default of a field, as it is stored."""
    return getattr(field.default, "value", field.default)


@pytest.mark.parametrize("name", ["exchange_fault", "key_fault", "chat_fault", "credits_mode"])
def test_every_position_of_a_switch_is_described(name):
    """What a switch can be set to stands below its name."""
    end = r"(?:\n\n[`\w]|\Z)"
    (text,) = re.findall(rf"``{name}``\n~+\n(.+?){end}", PAGES["reference/sandbox"], re.DOTALL)
    positions = re.findall(r"\* - ``(\w+)``", text)
    field = SandboxSwitches._meta.get_field(name)
    assert positions == [value for value, _ in field.choices or ()]


# Explanation


def test_statements_are_counted(browser, openrouter):
    """The table of costs has what each request takes."""
    rows = tables("explanation/flow")[-1]
    documented = {name: int(cost.split()[0].rstrip(",")) for name, cost in rows}
    start(browser)
    connects, fails = start(browser).path, start(browser).path

    def enter_code() -> None:
        browser.post("/openrouter/code/", {"code": CODE})

    counted = {
        "start": count(lambda: start(browser)),
        "callback that connects": count(lambda: browser.get(connects, {"code": CODE})),
        "callback that fails after the claim": count(lambda: browser.get(fails, {"error": "x"})),
        "callback that was used before": count(lambda: browser.get(connects, {"code": CODE})),
        "callback with a state that cannot be one": count(
            lambda: browser.get("/openrouter/callback/x/", {"code": CODE})
        ),
        "entered code that connects": browser.get("/openrouter/code/") and count(enter_code),
        "pasted key that connects": count(
            lambda: browser.post("/openrouter/key/", {"api_key": OTHER_KEY})
        ),
        "``check``": count(lambda: browser.post("/openrouter/check/")),
        "``manage``, ``status``": count(lambda: browser.get("/openrouter/status/")),
        "page with any number of tags": count(lambda: browser.get("/")) - 2,
    }
    assert counted == documented
    assert count(lambda: browser.get("/openrouter/")) == documented["``manage``, ``status``"]


def count(request: Callable[[], object]) -> int:
    """Count the statements of a request."""
    with CaptureQueriesContext(connection) as queries:
        request()
    return statements(queries)


def test_inventory_has_every_field():
    """What is stored of a key is listed whole, with who sees it."""
    (rows,) = [rows for rows in tables("explanation/flow") if rows[1][0] == "``secret``"]
    listed = [name for row in rows for name in re.findall(r"``(\w+)``", row[0])]
    fields = [item.name for item in models.OpenRouterKey._meta.fields if not item.primary_key]
    assert sorted(listed) == sorted(fields)


def test_picture_of_the_flow_is_told_in_words():
    """The sequence diagram has a number for each sentence below it, and no colour of its own."""
    picture = (DOCS / "images" / "flow.svg").read_text()
    messages = re.findall(r"<tspan[^>]*>(\d+)</tspan>", picture)
    (words,) = re.findall(r"The same in words:\n\n((?:#\. .+\n)+)", PAGES["explanation/flow"])
    assert messages == [str(number + 1) for number in range(len(words.splitlines()))]
    assert "currentColor" in picture
    assert set(re.findall(r'(?:fill|stroke)="([^"]+)"', picture)) == {"none", "currentColor"}
    assert re.findall(r"https?://\S+?(?=\")", picture) == ["http://www.w3.org/2000/svg"]


def test_groups_of_the_catalogue():
    """The table of groups explains the numbers in the docstrings of tests."""
    groups = {
        name: range(*map(int, row[0].split("–"))) for name, row in table("security", "FI").items()
    }
    found = [
        (group, int(number))
        for path in Path(__file__).parent.rglob("*.py")
        for docstring in re.findall(r'^ +"""([A-Z]{2} \d.*)', path.read_text(), re.MULTILINE)
        for group, number in re.findall(r"\b([A-Z]{2}) (\d+)", docstring.partition(":")[0])
    ]
    assert {group for group, _ in found} == set(groups)
    assert [one for one in found if one[1] not in (*groups[one[0]], groups[one[0]].stop)] == []


# Words


def test_words_in_nine_languages():
    """Each word that users see stands once in each of the two tables, in each language."""
    first, second = tables("glossary")
    assert {len(row) for row in first + second} == {5}
    assert all(cell for row in first + second for cell in row)
    words = [row[0] for row in first]
    assert [row[0] for row in second] == words
    assert len(set(words)) == len(words)


# Links


def test_every_page_is_reachable():
    """The front page's tables of contents have every page, once."""
    entries = re.findall(r"^   ([\w/-]+)$", PAGES["index"], re.MULTILINE)
    assert sorted(entries) == sorted(set(PAGES) - {"index"})


@pytest.mark.parametrize("name", PAGES)
def test_links_between_pages_are_roles(name):
    """A link without a role leads to another site: Sphinx would not miss a page behind it."""
    targets = re.findall(r"`[^`]*<([^>`]+)>`_", PAGES[name])
    targets += re.findall(r"^\.\. _[^:\n]+: (.+)$", PAGES[name], re.MULTILINE)
    assert [target for target in targets if not target.startswith("https://")] == []


def test_import_graph_is_the_one_that_is_enforced():
    """The table of modules says who may import whom as ``test_layout`` does."""
    found = table("explanation/architecture", "conf")
    assert {name: literals(row[1]) for name, row in found.items()} == LAYERS


# Code


def code_blocks(language: str) -> list[str]:
    """The code blocks of a language on all pages."""
    found = re.findall(
        rf"^( *)\.\. code-block:: {re.escape(language)}\n\n((?:\1   .*\n|\n)+)",
        "\n".join(text for name, text in PAGES.items() if name not in GUIDES),
        re.MULTILINE,
    )
    return [textwrap.dedent(text).strip() + "\n" for _, text in found]


def blocks_of(file: str) -> list[str]:
    """The Python blocks that belong into a file of a site, as their first line says."""
    return [block for block in code_blocks("python") if block.startswith(f"# {file}\n")]


def block_with(file: str, text: str) -> str:
    """The block of a site's file that has a text."""
    (block,) = (block for block in blocks_of(file) if text in block)
    return block


def run(block: str, **names: Any) -> dict[str, Any]:
    """Execute a block below the names that a site's file already has."""
    names["__name__"] = "docs"
    exec(compile(block, "docs", "exec"), names)
    return names


def test_every_python_block_runs():
    """Each Python block names its file, and the tests below run the blocks of each file."""
    # tests/testing/test_site.py runs those of ``chat``, together as a site.
    chat = ("chat/views.py", "chat/tests.py", "chat/test_views.py")
    # tests/celery/ runs those of a site with workers.
    workers = ("celery.py", "tasks.py")
    files = ("settings.py", "urls.py", "views.py", "receivers.py", "tests.py", *chat, *workers)
    assert sum(len(blocks_of(file)) for file in files) == len(code_blocks("python"))
    assert all(blocks_of(file) for file in files)


def test_no_block_is_missed():
    """Other blocks are JSON and templates, which are tested too, and these, which cannot run."""
    others = "\n".join(text for name, text in PAGES.items() if name not in GUIDES)
    languages = set(re.findall(r"code-block:: (\S+)", others))
    assert languages == {"python", "html+django", "json", "shell", "css"}
    # The installation is walked by the quickstart's test; the other makes a random key.
    assert sorted(code_blocks("shell")) == [
        'python -c "import secrets; print(secrets.token_urlsafe(32))"\n',
        "python -m pip install django-openrouter-auth\n",
    ]
    # A custom property of the stylesheet.
    assert len(code_blocks("css")) == 1


@pytest.mark.parametrize("name", GUIDES)
def test_every_block_of_a_guide_is_run(name):
    """The test module of a guide takes each of its blocks, or the block says why it cannot run."""
    module = import_module(f"tests.guides.test_{Path(name).name.replace('-', '_')}")
    assert module.PAGE.name == name
    assert module.PAGE.forgotten() == []


@pytest.mark.parametrize("name", [name for name in GUIDES if " templates/" in PAGES[name]])
def test_guides_with_templates_of_the_project_name_the_setting(name):
    """A new project finds no folder of templates: a guide that uses one says where to name it."""
    assert "``DIRS``" in PAGES[name]


@pytest.mark.parametrize("name", [name for name in GUIDES if "# mysite/urls.py" in PAGES[name]])
def test_guides_with_urls_say_what_becomes_of_the_others(name):
    """A guide's ``urlpatterns`` are the whole file, or the reader is told to keep the others."""
    assert re.search(r"whole file:\n\n.+\n\n +# mysite/urls|Keep the URLs", PAGES[name])


@pytest.mark.parametrize("block", blocks_of("settings.py"))
def test_settings_blocks(block, settings, monkeypatch, db):
    """The examples of settings raise no complaint of the checks."""
    monkeypatch.setenv("OPENROUTER_ENCRYPTION_KEY", "x" * 43)
    for name, value in run(block, INSTALLED_APPS=[]).items():
        if name == "INSTALLED_APPS":
            assert set(value) <= set(site_settings.INSTALLED_APPS)
        elif name.isupper():
            setattr(settings, name, value)
    assert [item for item in run_checks() if "openrouter" in str(item.id)] == []


def test_urls_blocks():
    """The examples of URLs include the package and the sandbox where other examples expect them."""
    included = {}
    for block in blocks_of("urls.py"):
        (resolver,) = run(block, urlpatterns=[])["urlpatterns"]
        included[resolver.namespace] = f"/{resolver.pattern}"
    assert included == {
        "openrouter_auth": reverse("openrouter_auth:manage"),
        "openrouter_sandbox": reverse("openrouter_sandbox:home"),
    }


def test_view_block(user, connected, openrouter, other_user):
    """The example of a call answers, with the user's key or with what to do."""
    answer = run(block_with("views.py", "def answer("))["answer"]
    openrouter.mock.post(f"{API}/chat/completions", json={"choices": []})
    assert answer(user, "Hello?").content == b'{"choices": []}'
    refused = answer(other_user, "Hello?")
    assert (refused.status_code, b"not_connected" in refused.content) == (403, True)


@pytest.mark.parametrize(
    ("end", "words"),
    [
        ("data: [DONE]", "Grüß Gott"),
        ('data: {"error": {"code": 502}}', "Grüß Gott (OpenRouter broke off here.)"),
    ],
)
def test_stream_block(rf, user, connected, openrouter, end, words):
    """The example of a stream yields its words, comments and umlauts included, and its end."""
    lines = [": OPENROUTER PROCESSING", *map(chunk, ("Grüß", " Gott")), end]
    openrouter.mock.post(
        f"{API}/chat/completions",
        body="\n\n".join(lines).encode(),
        content_type="text/event-stream",
    )
    assert b"".join(stream(rf, user)).decode() == words


def test_stream_block_on_a_bad_day(rf, user, connected, openrouter):
    """The example of a stream answers in words or with the way to connect, before it begins."""
    openrouter.mock.post(f"{API}/chat/completions", status=402)
    assert stream(rf, user).status_code == 503
    openrouter.mock.upsert("POST", f"{API}/chat/completions", status=401)
    openrouter.forgets()
    assert stream(rf, user)["Location"] == "/openrouter/connect/?next=%2F%3Fquestion%3DHello%253F"


def stream(rf, user):
    """Call the example of a stream."""
    request = rf.get("/", {"question": "Hello?"})
    request.user = user
    return run(block_with("views.py", "def words("))["stream"](request)


@pytest.mark.usefixtures("pools")
@pytest.mark.parametrize("name", ["ask", "aask"])
def test_sdk_block(name, rf, user, connected, openrouter):
    """The examples of the SDKs answer."""
    openrouter.answers("Hi")
    view = run(block_with("views.py", "def aask("))[name]
    request = rf.get("/", {"question": "Hello?"})
    request.user, request.auser = user, sync_to_async(lambda: user)
    response = async_to_sync(view)(request) if name == "aask" else view(request)
    assert response.content == b'{"answer": "Hi"}'


def test_site_key_block(user, connected, other_user, settings):
    """The example of a site's key tells who pays."""
    settings.OPENROUTER_AUTH_SITE_KEY = "sk-or-v1-" + "8" * 64
    who_pays = run(block_with("views.py", "def who_pays("))["who_pays"]
    assert (who_pays(user), who_pays(other_user)) == ("You pay.", "We pay.")


@pytest.mark.parametrize("name", ["chat", "models", "Settings"])
def test_requiring_block(name, rf, user, connected, other_user):
    """The examples of required keys let in who has one, and send others to connect."""
    view = run(block_with("views.py", "OpenRouterKeyRequiredMixin"))[name]
    if name == "models":
        view = async_to_sync(view)
    elif name == "Settings":
        view = view.as_view()
    request = rf.get("/")
    request.user, request.auser = user, sync_to_async(lambda: user)
    assert view(request).status_code == 200
    request.user = other_user
    assert view(request).status_code == 303


def test_receivers_block(user, connected, openrouter, settings, django_capture_on_commit_callbacks):
    """The example of a receiver tells the owner of a key that was rejected."""
    # Django 6.1 warns of a site that has not said how it sends; Django 5.2 does not look at it.
    settings.MAILERS = {"default": {"BACKEND": "django.core.mail.backends.locmem.EmailBackend"}}
    user.email = "ann@app.example"
    user.save()
    (block,) = blocks_of("receivers.py")
    receive = run(block)["tell_owner"]
    openrouter.forgets()
    with django_capture_on_commit_callbacks(execute=True), pytest.raises(exceptions.KeyRejected):
        services.check(user)
    signals.key_rejected.disconnect(receive)
    (message,) = mail.outbox
    assert message.to == ["ann@app.example"]
    assert connected.hint in message.body
    assert "https://app.example/openrouter/" in message.body


def chunk(word: str) -> str:
    """Return a line of a stream."""
    return f"data: {json.dumps({'choices': [{'delta': {'content': word}}]}, ensure_ascii=False)}"


@pytest.mark.parametrize("name", ["test_connecting", "test_bad_day_of_openrouter"])
def test_tests_block(name, client, live_server, settings, django_user_model):
    """The examples of tests against the sandbox pass."""
    (block,) = blocks_of("tests.py")
    names = run(block)
    assert names[name](client, live_server, settings, django_user_model) is None


@pytest.mark.parametrize(
    "block", [block for block in code_blocks("html+django") if "extends" not in block]
)
def test_template_blocks(block, rf, user):
    """The examples of templates render; the one that inherits has a test of its own."""
    request = rf.get("/")
    request.user = user
    template = engines["django"].from_string("{% load openrouter_auth %}" + block)
    assert "user|" not in template.render({}, request)
