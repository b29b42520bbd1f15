"""DATABASE_URL, read by hand: three schemes are not worth a dependency."""

from typing import Any
from urllib.parse import SplitResult, unquote, urlsplit

ENGINES = {
    "postgres": "django.db.backends.postgresql",
    "mysql": "django.db.backends.mysql",
}


def parse_database_url(url: str) -> dict[str, Any]:
    """Return the entry of Django's DATABASES that a URL stands for.

    Args:
        url: ``sqlite://`` (in memory), ``sqlite:///relative/path``, ``sqlite:////absolute/path``,
            ``postgres://user:password@host:port/name`` or ``mysql://…`` (also MariaDB).

    Raises:
        ValueError: for any other scheme. The text does not quote the URL: it holds a password.
    """
    parts = urlsplit(url)
    if parts.scheme == "sqlite":
        return {"ENGINE": "django.db.backends.sqlite3", "NAME": parts.path[1:] or ":memory:"}
    if parts.scheme not in ENGINES:
        raise ValueError("DATABASE_URL starts with sqlite:, postgres: or mysql:")
    if parts.scheme == "mysql":
        # Django asks for MySQLdb, a C extension without wheels for Linux. PyMySQL stands in; it is
        # installed only where MariaDB is tested.
        import pymysql

        pymysql.install_as_MySQLdb()
    return {"ENGINE": ENGINES[parts.scheme], **_server(parts)}


def _server(parts: SplitResult) -> dict[str, Any]:
    return {
        "NAME": unquote(parts.path[1:]),
        "USER": unquote(parts.username or ""),
        "PASSWORD": unquote(parts.password or ""),
        "HOST": parts.hostname or "",
        "PORT": parts.port or "",
    }
