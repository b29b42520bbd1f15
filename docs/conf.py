"""How Sphinx builds the documentation; see the environment ``docs`` in tox.ini."""  # noqa: INP001 - Sphinx reads this file by its path

import os
import sys
from pathlib import Path

import django
from sphinx.application import Sphinx

# For `tests.settings`: autodoc imports models, and those need a site to belong to.
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.settings")
django.setup()

from django_openrouter_auth import __version__  # noqa: E402 - after the line that finds it

project = "django-openrouter-auth"
author = "django-openrouter-auth contributors"
copyright = author  # noqa: A001 - the name that Sphinx wants
version = release = __version__

extensions = ["sphinx.ext.autodoc", "sphinx.ext.napoleon"]
exclude_patterns = ["_build"]
html_theme = "furo"
html_title = f"{project} {release}"
html_static_path = ["_static"]
html_css_files = ["tables.css"]
smartquotes_action = "D"  # dashes only: a quoted value is to be copied
highlight_language = "none"  # no guessing: each block names its language

autodoc_member_order = "bysource"
autodoc_typehints_format = "short"
python_use_unqualified_type_names = True

nitpicky = True
# The build uses no network, so that it gives the same result everywhere: there is no intersphinx,
# and the names of other projects lead nowhere.
nitpick_ignore_regex = [
    ("py:.*", r"(django|requests|cryptography|fernet_fields|openai|openrouter)\..*"),
    ("py:.*", r"(datetime|decimal|collections|typing)\..*"),
    ("py:class", r"Session"),  # requests.Session, imported for type checkers only
    ("py:func", r"owner_fingerprint"),  # not public, and named in a docstring for the next reader
]


def setup(app: Sphinx) -> None:
    """Add the kinds of things that a Django app has and Python has not.

    Each is a directive that describes one and a role that links to it, so that a link to a
    setting or a check that is not described fails the build.
    """
    for kind in (
        "setting",
        "urlname",
        "templatetag",
        "templatefilter",
        "signal",
        "check",
        "command",
    ):
        app.add_object_type(kind, kind, indextemplate=f"pair: %s; {kind}")
