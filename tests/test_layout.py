"""Who may import whom, and what the public modules offer."""

import ast
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

import django_openrouter_auth

ROOT = Path(django_openrouter_auth.__file__).parent
LAYERS = {
    "__init__": set(),
    "conf": set(),
    "exceptions": set(),
    "pkce": set(),
    "tables": set(),
    "signals": set(),
    "key_info": {"conf"},
    "transport": set(),
    "client": {"__init__", "conf", "exceptions", "key_info", "transport"},
    "session": {"client", "conf", "exceptions"},
    "fields": {"conf", "exceptions"},
    "money": set(),
    "wording": {"money"},
    "models": {"conf", "fields", "wording"},
    "authorization": {"conf", "exceptions", "pkce"},
    "attempt_table": {"models"},
    "attempts": {"attempt_table", "authorization", "models", "fields", "conf", "exceptions"},
    "pruning": {"attempts", "conf", "models"},
    "rotation": {"fields", "models"},
    "keys": {"client", "models", "exceptions", "tables"},
    "announcements": {"keys", "models", "signals"},
    "introspection": {"announcements", "exceptions", "key_info", "keys", "models"},
    "bulk_introspection": {"introspection", "exceptions", "key_info", "keys", "models"},
    "selection": {"introspection", "exceptions", "key_info", "keys"},
    "contrib.celery": {"introspection", "exceptions", "keys", "models"},
    "credentials": {"introspection", "conf", "exceptions", "keys", "session"},
    "storing": {"attempt_table", "attempts", "exceptions", "key_info", "keys", "models"},
    "finishing": {
        "announcements",
        "attempts",
        "introspection",
        "exceptions",
        "key_info",
        "keys",
        "models",
        "storing",
    },
    "services": {
        "announcements",
        "attempts",
        "authorization",
        "introspection",
        "conf",
        "exceptions",
        "finishing",
        "keys",
        "models",
    },
    "sdks": {"__init__", "conf", "exceptions", "credentials"},
    "openai_sdk": {"conf", "exceptions", "keys", "sdks", "credentials"},
    "openrouter_sdk": {"conf", "keys", "sdks", "credentials"},
    "shortcuts": {"keys", "openai_sdk", "openrouter_sdk", "credentials"},
    "redirects": set(),
    "status": {"models"},
    "answers": {"attempts", "conf", "exceptions", "finishing", "models", "tables", "wording"},
    "pages": {"answers", "authorization", "conf", "exceptions", "keys", "redirects"},
    "requiring": {"answers", "introspection", "exceptions", "keys", "models", "redirects"},
    "decorators": {"requiring"},
    "mixins": {"decorators"},
    "middleware": {"requiring"},
    "views": {
        "services",
        "keys",
        "answers",
        "attempts",
        "pages",
        "redirects",
        "status",
        "conf",
        "exceptions",
        "models",
    },
    "entry_views": {
        "services",
        "finishing",
        "keys",
        "answers",
        "pages",
        "redirects",
        "status",
        "conf",
        "exceptions",
    },
    "urls": {"entry_views", "views"},
    "templatetags.openrouter_auth": {"keys", "money", "redirects", "wording"},
    "admin_columns": {"attempts", "exceptions", "models", "money", "wording"},
    "admin_filters": {"attempts", "models"},
    "admin_pages": {"models"},
    "admin_actions": {"admin_pages", "exceptions", "models", "selection", "services"},
    "admin_set_key": {
        "admin_pages",
        "exceptions",
        "finishing",
        "keys",
        "models",
        "services",
        "wording",
    },
    "admin": {
        "admin_actions",
        "admin_columns",
        "admin_filters",
        "admin_pages",
        "admin_set_key",
        "keys",
        "models",
        "services",
    },
    "csp": {"conf"},
    "site_checks": {"conf", "csp"},
    "setup_checks": {"conf"},
    "sandbox_checks": {"conf"},
    "checks": {
        "authorization",
        "conf",
        "fields",
        "sandbox_checks",
        "setup_checks",
        "site_checks",
    },
    "doctor": {
        "authorization",
        "checks",
        "conf",
        "csp",
        "exceptions",
        "keys",
        "models",
        "sandbox_checks",
        "setup_checks",
        "site_checks",
    },
    "apps": {"checks"},
    "management.base": set(),
    "management.progress": set(),
    "management.commands.openrouter_auth_check_keys": {
        "bulk_introspection",
        "management.base",
        "management.progress",
    },
    "management.commands.openrouter_auth_doctor": {"conf", "doctor", "management.base"},
    "management.commands.openrouter_auth_prune_attempts": {"management.base", "pruning"},
    "management.commands.openrouter_auth_rotate_keys": {
        "management.base",
        "management.progress",
        "models",
        "rotation",
    },
    # The only door to the sandbox, which runs in a process of its own.
    "management.commands.openrouter_auth_sandbox": {"conf", "management.base", "sandbox"},
    "testing.facts": {"fields"},
    "testing.users": {"testing.facts", "key_info", "keys", "models"},
    "testing.provider": {"testing.facts", "testing.sdk_calls", "conf"},
    "testing.sdk_calls": set(),
    "testing.flow": {"testing.facts"},
    "testing.capture": set(),
    "testing.leaks": {"testing.capture", "testing.facts", "conf", "exceptions", "keys"},
    "testing.cases": {"testing.facts", "testing.leaks", "testing.provider"},
    "testing.__init__": {
        "testing.cases",
        "testing.facts",
        "testing.flow",
        "testing.leaks",
        "testing.users",
    },
    "pytest_plugin": {"testing"},
}
FOREIGN = {
    # The provider of the tests plays their errors.
    "requests": {"client", "session", "testing.provider", "testing.sdk_calls"},
    "urllib3": {"client", "transport", "testing.provider"},
    "responses": {"testing.provider"},
    "pytest": {"pytest_plugin"},
    "celery": {"contrib.celery"},
    "tqdm": {"management.progress"},
    "openai": {"openai_sdk"},
    "openrouter": {"openrouter_sdk"},
    "httpx": {"openrouter_sdk"},
    "fernet_fields": {"fields"},
    "cryptography": {"fields"},
    "django.conf": {"conf"},
}


@cache
def modules() -> dict[str, ast.Module]:
    """Every module of the core by its dotted name: without migrations and sandbox."""
    paths = [
        *ROOT.glob("*.py"),
        *ROOT.glob("templatetags/openrouter_auth.py"),
        *ROOT.glob("contrib/celery.py"),
        *ROOT.glob("management/**/[!_]*.py"),
        *ROOT.glob("testing/*.py"),
    ]
    return {
        ".".join(path.relative_to(ROOT).with_suffix("").parts): ast.parse(path.read_text())
        for path in paths
    }


def imports(tree: ast.Module) -> set[str]:
    """The full names of everything that a module imports when it runs."""
    typing_only = {
        node
        for guard in ast.walk(tree)
        if isinstance(guard, ast.If) and getattr(guard.test, "id", "") == "TYPE_CHECKING"
        for node in ast.walk(guard)
    }
    found: set[str] = set()
    for node in ast.walk(tree):
        if node in typing_only:
            continue
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = ("." * node.level) + (node.module or "")
            found |= {base} if node.module else {base + alias.name for alias in node.names}
    return found


def absolute(imported: str, name: str) -> str:
    """The module behind a relative import, as in ``LAYERS``; below a package only the package."""
    module = imported.lstrip(".")
    folder = name.split(".")[: len(module) - len(imported)]
    return ".".join([*folder, module.split(".")[0]])


def test_every_module_has_its_place():
    """A new module is given a layer before it is written."""
    assert set(modules()) == set(LAYERS)


@pytest.mark.parametrize("name", LAYERS)
def test_no_upward_import(name):
    """Modules import from the layers below them only."""
    ours = {
        absolute(imported, name)
        for imported in imports(modules()[name])
        if imported.startswith(".")
    }
    ours = {"__init__" if module == "__version__" else module for module in ours}
    assert ours == LAYERS[name]


@pytest.mark.parametrize("library", FOREIGN)
def test_libraries_have_one_door(library):
    """Each foreign library is known to one module."""
    users = {
        name
        for name, tree in modules().items()
        if any(module == library or module.startswith(f"{library}.") for module in imports(tree))
    }
    assert users == FOREIGN[library]


def test_sandbox_knows_next_to_nothing():
    """The sandbox is a stranger to the app: it shares PKCE's arithmetic and a word on migrate."""
    shared = {"django_openrouter_auth.pkce", "django_openrouter_auth.tables"}
    for path in ROOT.glob("sandbox/**/*.py"):
        text = path.read_text()
        inside = {name for name in imports(ast.parse(text)) if name.startswith("django_openrouter")}
        assert all(name in shared or ".sandbox" in name for name in inside), path


def test_who_writes_rows():
    """Rows are written by eight modules alone, so that writes keep their promises.

    And by ``testing.users``, for tests that need a row without the flow that makes it;
    ``tests/testing/test_users.py`` compares its rows with those of the flow.
    """
    writes = {"save", "create", "update", "delete", "bulk_create", "bulk_update"}
    writes |= {"execute", "executemany"}  # SQL
    for name, tree in modules().items():
        if name in {
            "services",
            "attempts",
            "attempt_table",
            "introspection",
            "keys",
            "pruning",
            "rotation",
            "storing",
            "testing.users",
        }:
            continue
        calls = {
            node.func.attr
            for node in ast.walk(tree)
            if isinstance(node, ast.Call)
            and isinstance(node.func, ast.Attribute)
            # Sets and dicts have an update() too: only a queryset's takes names.
            and (node.func.attr != "update" or node.keywords)
        }
        assert not (calls & writes), name


def test_setting_up_imports_no_network_library():
    """Loading and checking the app imports no ``requests`` and no SDK: they come with their use."""
    libraries = ("requests", "urllib3", "httpx", "httpx2", "aiohttp", "openai", "openrouter")
    script = (
        "import django, sys; django.setup(); from django.contrib import admin;"
        "import django_openrouter_auth.urls, django_openrouter_auth.shortcuts;"
        "from django.core.checks import run_checks; run_checks(include_deployment_checks=True);"
        f"print([name for name in {libraries} if name in sys.modules])"
    )
    result = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", script],
        env={"DJANGO_SETTINGS_MODULE": "tests.settings", "PYTHONPATH": str(Path.cwd())},
        capture_output=True,
        text=True,
        check=True,
    )
    assert result.stdout.strip() == "[]"


def test_one_base_of_exceptions():
    """What a site catches has one base class."""
    from django_openrouter_auth import exceptions

    for name in ("NotConnected", "KeyRejected", "KeyUnreadable"):
        assert issubclass(getattr(exceptions, name), exceptions.OpenRouterAuthError)
