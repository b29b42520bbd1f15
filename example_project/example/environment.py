"""What the settings read from the environment."""

import os
from pathlib import Path
from urllib.parse import parse_qsl, unquote, urlsplit

from django.core.exceptions import ImproperlyConfigured
from django.core.management.utils import get_random_secret_key


def switch(name, *, default):
    """Return whether a variable is on: ``1`` or ``0``, ``true`` or ``false``, ``yes`` or ``no``."""
    value = os.environ.get(name, "").strip().lower()
    if value not in {"", "0", "1", "false", "true", "no", "yes"}:
        raise ImproperlyConfigured(f"{name} must be 1 or 0.")
    return value in {"1", "true", "yes"} if value else default


def choice(name, *choices):
    """Return a variable that is one of a few words; the first is the default."""
    value = os.environ.get(name) or choices[0]
    if value not in choices:
        raise ImproperlyConfigured(f"{name} must be one of: {', '.join(choices)}.")
    return value


def secret(name, *, folder, generate):
    """Return a secret from the environment or, for development, one that is made here.

    Args:
        name: the variable.
        folder: where a generated secret is kept from one start to the next.
        generate: whether to make one; a site on the internet is given its secrets.
    """
    value = os.environ.get(name)
    if value:
        return value
    if not generate:
        raise ImproperlyConfigured(f"Set {name} to a long random string.")
    path = Path(folder) / name.lower()
    if not path.exists():
        path.touch(mode=0o600)
        path.write_text(get_random_secret_key())
    return path.read_text()


def database(url, *, otherwise):
    """Return the entry of ``DATABASES`` that a URL stands for.

    Args:
        url: ``postgres://user:password@host:port/name?sslmode=require``, with any part but the
            name left out; or ``sqlite:////absolute/path``; or nothing.
        otherwise: the path of the SQLite database that is used without a URL.

    Raises:
        ImproperlyConfigured: for another URL. The text leaves it out: it may hold a password.
    """
    parts = urlsplit(url or "")
    if not url or parts.scheme == "sqlite":
        name = unquote(parts.path[1:]) or otherwise
        return {"ENGINE": "django.db.backends.sqlite3", "NAME": name}
    if parts.scheme not in {"postgres", "postgresql"}:
        raise ImproperlyConfigured("DATABASE_URL must start with postgres:// or sqlite://.")
    return {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": unquote(parts.path[1:]),
        "USER": unquote(parts.username or ""),
        "PASSWORD": unquote(parts.password or ""),
        "HOST": unquote(parts.hostname or ""),
        "PORT": parts.port or "",
        "OPTIONS": dict(parse_qsl(parts.query)),
    }
