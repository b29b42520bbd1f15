"""Made-up keys and codes, and what OpenRouter says about a key of a test."""

from typing import Any

from ..fields import mask

KEY = "sk-or-v1-0e6" + "f" * 58 + "1c9"
OTHER_KEY = "sk-or-v1-a1b" + "2" * 58 + "c3d"
CODE = "auth_code_abc123def456"
OPENROUTER_USER = "user_2yOPcMpKoQ"


def key_facts(api_key: str, facts: dict[str, Any]) -> dict[str, Any]:
    """Return the ``data`` of ``GET /key``: an unused key without a limit, changed by ``facts``."""
    usual = {"label": mask(api_key), "usage": 0, "limit": None, "limit_remaining": None}
    return usual | facts
