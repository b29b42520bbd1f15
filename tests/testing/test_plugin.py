"""The plugin of pytest, and what its page describes."""

import re
import textwrap

import pytest

from django_openrouter_auth import testing
from django_openrouter_auth.testing.provider import OpenRouter

from .running import DOCS, PLUGIN, python


def test_plugin_imports_nothing(tmp_path):
    """A run of pytest that uses no fixture pays for no import."""
    script = """
        import sys, pytest
        before = set(sys.modules)
        import django_openrouter_auth.pytest_plugin
        print(sorted(set(sys.modules) - before))
    """
    printed = python("-c", textwrap.dedent(script), folder=tmp_path)
    assert "['django_openrouter_auth', 'django_openrouter_auth.pytest_plugin']" in printed


BARE = ("-m", "pytest", "-W", "error", "-p", "no:django", "-p", "no:cacheprovider")


@pytest.mark.process
def test_plugin_without_django(tmp_path):
    """A run without settings, without pytest-django and without Django's models goes on."""
    (tmp_path / "test_it.py").write_text("def test_it():\n    pass\n")
    printed = python(*BARE, *PLUGIN, folder=tmp_path)
    assert "1 passed" in printed
    listed = python(*BARE, *PLUGIN, "--fixtures", folder=tmp_path)
    assert "openrouter_leaks" in listed


def test_plugin_is_registered_once(request):
    """The plugin is there once, however it was asked for."""
    manager = request.config.pluginmanager
    name = "django_openrouter_auth.pytest_plugin"
    assert [
        key for key, plugin in manager.list_name_plugin() if "openrouter" in key and plugin
    ] == [name]


def test_every_fixture_begins_with_our_name_and_is_described():
    """The table of fixtures is complete, and no name can surprise a site."""
    from django_openrouter_auth import pytest_plugin

    public = [
        name for name, item in vars(pytest_plugin).items() if hasattr(item, "_get_wrapped_function")
    ]
    described = re.findall(r"\* - ``(\w+)``\n     - ", DOCS.read_text())
    assert sorted(public) == sorted(described)
    assert all(name.startswith("openrouter") for name in public)


def test_every_helper_is_described():
    """Every public name of ``testing`` is on its page."""
    text = DOCS.read_text()
    described = set(re.findall(r"auto(?:function|class):: (\w+)", text)) - {"OpenRouter", "Call"}
    assert described | {"KEY", "OTHER_KEY", "CODE"} == set(testing.__all__)
    (members,) = re.findall(r"autoclass:: OpenRouter\(\)\n   :members: (.+)", text)
    public = {name for name in vars(OpenRouter) if not name.startswith("_")}
    assert set(members.split(", ")) == public
