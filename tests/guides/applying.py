"""The settings of a guide on the test site."""

from typing import Any

from django.conf import settings as site_settings
from django.core.checks import run_checks

from tests.documented import Block

# Names that a block imports, and that are no settings.
IMPORTED = ("CSP", "SELF")


def apply(block: Block, settings: Any) -> dict[str, Any]:
    """Apply a block of settings, and return what it set."""
    names = block.run(MIDDLEWARE=list(site_settings.MIDDLEWARE))
    found = {name: value for name, value in names.items() if name.isupper()}
    found = {name: value for name, value in found.items() if name not in IMPORTED}
    for name, value in found.items():
        setattr(settings, name, value)
    return found


def complaints() -> list[str]:
    """Return the ids of our checks that complain."""
    return [str(item.id) for item in run_checks() if "openrouter" in str(item.id)]
