"""What a database says about tables that are not there, in words that name the fix."""

from collections.abc import Iterator
from contextlib import contextmanager

from django.core.exceptions import ImproperlyConfigured
from django.db import DatabaseError

# PostgreSQL's codes and MySQL's numbers for a table and for a column that do not exist.
MISSING = {"42P01", "42703", 1146, 1054}
# The app and how the names of its tables begin.
OUR_TABLES = ("django_openrouter_auth", "django_openrouter_auth_")
# SQLite has no codes for them.
MISSING_IN_SQLITE = ("no such table", "no such column", "has no column named")


@contextmanager
def migrated(app: str, prefix: str) -> Iterator[None]:
    """Say that ``migrate`` has to run where a query fails for want of a table or a column.

    Every other error of the database passes as it is. It costs no query, neither when all is well
    nor afterwards, when the transaction may be broken.

    Args:
        app: the app whose tables are queried, as ``INSTALLED_APPS`` names it.
        prefix: how the names of its tables begin.

    Raises:
        ImproperlyConfigured: a table or a column of the app is missing.
    """
    try:
        yield
    except DatabaseError as error:
        if not (_is_missing(error) and prefix in str(error)):
            raise
        raise ImproperlyConfigured(
            f"The database lacks tables or columns of {app}. Run: python manage.py migrate"
        ) from error


def _is_missing(error: DatabaseError) -> bool:
    cause = error.__cause__
    codes = {getattr(cause, "sqlstate", None), getattr(cause, "pgcode", None), *error.args[:1]}
    return bool(codes & MISSING) or any(text in str(error) for text in MISSING_IN_SQLITE)
