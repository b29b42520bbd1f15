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
    "key_info": {"conf"},
    "transport": set(),
    "client": {"__init__", "conf", "exceptions", "key_info", "transport"},
    "fields": {"conf", "exceptions"},
    "models": {"conf", "fields"},
    "authorization": {"conf", "exceptions"},
    "attempts": {"models", "fields", "conf", "exceptions"},
    "keys": {"client", "models", "exceptions"},
    "storing": {"attempts", "exceptions", "key_info", "keys", "models"},
    "services": {
        "attempts",
        "authorization",
        "conf",
        "exceptions",
        "keys",
        "models",
        "pkce",
        "storing",
    },
    "shortcuts": {"keys"},
    "redirects": set(),
    "answers": {"conf", "exceptions"},
    "views": {
        "services",
        "attempts",
        "keys",
        "answers",
        "redirects",
        "conf",
        "exceptions",
        "models",
    },
    "urls": {"views"},
    "templatetags.openrouter_auth": {"keys", "redirects"},
    "admin": {"services", "models"},
    "checks": {"conf", "fields"},
    "apps": {"checks"},
}
FOREIGN = {
    "requests": {"client"},
    "urllib3": {"client", "transport"},
    "fernet_fields": {"fields"},
    "cryptography": {"fields"},
    "django.conf": {"conf"},
}


def modules() -> dict[str, ast.Module]:
    """Every module of the core by its dotted name: without migrations and sandbox."""
    paths = [*ROOT.glob("*.py"), *ROOT.glob("templatetags/openrouter_auth.py")]
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


def test_every_module_has_its_place():
    """A new module is given a layer before it is written."""
    assert set(modules()) == set(LAYERS)


@pytest.mark.parametrize("name", LAYERS)
def test_no_upward_import(name):
    """Modules import from the layers below them only."""
    ours = {
        imported.lstrip(".").split(".")[0] or "__init__"
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
    """Rows are written by four modules alone, so that writes keep their promises."""
    writes = {"save", "create", "update", "delete", "bulk_create", "bulk_update"}
    for name, tree in modules().items():
        if name in {"services", "attempts", "keys", "storing"}:
            continue
        calls = {
            node.func.attr
            for node in ast.walk(tree)
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)
        }
        # Sets and dicts have an update() too: only a queryset's would be preceded by a manager.
        assert not (calls & (writes - {"update"})), name


def test_setting_up_imports_no_network_library():
    """Loading the app costs no import of ``requests``: it is imported when it is used."""
    script = (
        "import django, sys; django.setup(); from django.contrib import admin;"
        "import django_openrouter_auth.urls;"
        "print([name for name in ('requests', 'urllib3') if name in sys.modules])"
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

    assert {"get_api_key", "aget_api_key", "get_session"} == set(shortcuts.__all__)
    for name in ("NotConnected", "KeyRejected", "KeyUnreadable"):
        assert issubclass(getattr(exceptions, name), exceptions.OpenRouterAuthError)
