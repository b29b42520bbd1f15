"""Who may import whom, and what the public modules offer."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import django_openrouter_auth

ROOT = Path(django_openrouter_auth.__file__).parent
LAYERS = {
    "__init__": set(),
    "conf": set(),
    "exceptions": set(),
    "pkce": set(),
    "signals": set(),
    "key_info": {"conf"},
    "transport": set(),
    "client": {"__init__", "conf", "exceptions", "key_info", "transport"},
    "fields": {"conf", "exceptions"},
    "models": {"conf", "fields"},
    "authorization": {"conf", "exceptions", "pkce"},
    "attempts": {"authorization", "models", "fields", "conf", "exceptions"},
    "pruning": {"attempts", "conf", "models"},
    "rotation": {"fields", "models"},
    "keys": {"client", "models", "exceptions"},
    "announcements": {"keys", "models", "signals"},
    "checking": {"announcements", "exceptions", "key_info", "keys", "models"},
    "bulk_checking": {"checking", "exceptions", "key_info", "keys", "models"},
    "contrib.celery": {"checking", "exceptions", "keys", "models"},
    "using": {"checking", "client", "conf", "exceptions", "keys"},
    "storing": {"attempts", "exceptions", "key_info", "keys", "models"},
    "finishing": {
        "announcements",
        "attempts",
        "checking",
        "exceptions",
        "keys",
        "models",
        "storing",
    },
    "services": {
        "announcements",
        "attempts",
        "authorization",
        "checking",
        "conf",
        "exceptions",
        "finishing",
        "keys",
        "models",
        "storing",
    },
    "sdks": {"__init__", "conf", "exceptions", "using"},
    "openai_client": {"conf", "exceptions", "keys", "sdks", "using"},
    "openrouter_client": {"conf", "keys", "sdks", "using"},
    "shortcuts": {"keys", "openai_client", "openrouter_client", "using"},
    "redirects": set(),
    "status": {"models"},
    "answers": {"attempts", "conf", "exceptions", "finishing", "models"},
    "pages": {"answers", "conf", "exceptions", "keys", "redirects"},
    "requiring": {"answers", "checking", "exceptions", "keys", "models", "redirects"},
    "decorators": {"requiring"},
    "mixins": {"decorators"},
    "middleware": {"requiring"},
    "views": {
        "services",
        "keys",
        "answers",
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
    "templatetags.openrouter_auth": {"keys", "redirects"},
    "admin": {"services", "models"},
    "csp": {"conf"},
    "checks": {"authorization", "conf", "csp", "fields"},
    "doctor": {"checks", "conf", "exceptions", "keys", "models"},
    "apps": {"checks"},
    "testing.facts": {"fields"},
    "testing.users": {"testing.facts", "key_info", "keys", "models"},
    "testing.provider": {"testing.facts", "testing.sdk_calls", "conf"},
    "testing.sdk_calls": set(),
    "testing.flow": {"testing.facts"},
    "testing.leaks": {"testing.facts", "conf", "exceptions", "keys"},
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
    "requests": {"client", "testing.provider", "testing.sdk_calls"},
    "urllib3": {"client", "transport", "testing.provider"},
    "responses": {"testing.provider"},
    "pytest": {"pytest_plugin"},
    "celery": {"contrib.celery"},
    "openai": {"openai_client"},
    "openrouter": {"openrouter_client"},
    "httpx": {"openrouter_client"},
    "fernet_fields": {"fields"},
    "cryptography": {"fields"},
    "django.conf": {"conf"},
}


def modules() -> dict[str, ast.Module]:
    """Every module of the core by its dotted name: without migrations and sandbox."""
    paths = [
        *ROOT.glob("*.py"),
        *ROOT.glob("templatetags/openrouter_auth.py"),
        *ROOT.glob("contrib/celery.py"),
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


def test_sandbox_knows_only_pkce():
    """The sandbox is a stranger to the app: it shares the arithmetic of PKCE and nothing else."""
    for path in ROOT.glob("sandbox/**/*.py"):
        text = path.read_text()
        inside = {name for name in imports(ast.parse(text)) if name.startswith("django_openrouter")}
        assert all(
            name == "django_openrouter_auth.pkce" or ".sandbox" in name for name in inside
        ), path


def test_only_services_write_rows():
    """Rows are written by seven modules alone, so that writes keep their promises.

    And by ``testing.users``, for tests that need a row without the flow that makes it;
    ``tests/test_testing.py`` compares its rows with those of the flow.
    """
    writes = {"save", "create", "update", "delete", "bulk_create", "bulk_update"}
    writes |= {"execute", "executemany"}  # SQL
    for name, tree in modules().items():
        if name in {
            "services",
            "attempts",
            "checking",
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
    """Loading the app costs no import of ``requests`` or an SDK: they come when they are used."""
    libraries = ("requests", "urllib3", "httpx", "httpx2", "openai", "openrouter")
    script = (
        "import django, sys; django.setup(); from django.contrib import admin;"
        "import django_openrouter_auth.urls, django_openrouter_auth.shortcuts;"
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


def test_public_names():
    """What sites import is where the documentation says."""
    from django_openrouter_auth import exceptions, shortcuts

    assert set(shortcuts.__all__) == {
        "get_api_key",
        "aget_api_key",
        "resolve_api_key",
        "aresolve_api_key",
        "get_session",
        "get_openai_client",
        "aget_openai_client",
        "get_openrouter_client",
        "aget_openrouter_client",
    }
    for name in ("NotConnected", "KeyRejected", "KeyUnreadable"):
        assert issubclass(getattr(exceptions, name), exceptions.OpenRouterAuthError)
