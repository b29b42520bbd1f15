"""Keys and codes, and the only two forms in which the sandbox remembers them."""

import hashlib
import re
import secrets

KEY_PREFIX = "sk-or-v1-"
KEY = re.compile(rf"{KEY_PREFIX}[0-9a-f]{{64}}")


def new_key() -> str:
    """Return a fresh key: the prefix and 64 lowercase hexadecimal digits, 73 characters.

    Source: sample keys in the OpenRouter documentation.
    """
    return KEY_PREFIX + secrets.token_hex(32)


def new_code() -> str:
    """Return a fresh authorization code: 43 characters that mean nothing."""
    return secrets.token_urlsafe(32)


def digest(secret: str) -> str:
    """Return the lowercase hexadecimal SHA-256 of a key, a code or a challenge."""
    return hashlib.sha256(secret.encode(errors="surrogatepass")).hexdigest()


def mask(key: str) -> str:
    """Return a key as it may be shown, for example ``sk-or-v1-0e6...1c9``.

    Source: the example of ``label`` in the OpenRouter API reference, "Get current API key".
    """
    return f"{key[: len(KEY_PREFIX) + 3]}...{key[-3:]}"
