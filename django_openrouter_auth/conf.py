"""The site's settings, read through on every access and never cached.

A value of the wrong kind never switches a limit off: the default is used instead, and
``manage.py check`` names the setting (see ``checks.py``).
"""

import math
import re
from collections.abc import Callable, Mapping
from datetime import timedelta
from decimal import Decimal
from types import NoneType
from typing import Any, Generic, TypeGuard, TypeVar
from urllib.parse import SplitResult, urlsplit

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.utils.functional import Promise

T = TypeVar("T")

PREFIX = "OPENROUTER_AUTH_"
LOOPBACK_HOSTS = ("localhost", "127.0.0.1")
API_KEY = re.compile(r"[\x21-\x7e]{20,512}")
CONTROL_OR_SPACE = re.compile(r"[\x00-\x20\x7f]")


def _split_url(value: object) -> SplitResult | None:
    """Return the parts of an absolute URL without credentials, or ``None`` for anything else."""
    if not isinstance(value, str) or CONTROL_OR_SPACE.search(value):
        return None
    try:
        parts = urlsplit(value)
        is_whole = bool(parts.hostname and parts.port != 0 and "@" not in parts.netloc)
    except ValueError:
        return None
    return parts if is_whole and parts.scheme in {"http", "https"} else None


def _is_url(value: object) -> bool:
    """Return whether a value is a URL to which a key may be sent."""
    parts = _split_url(value)
    if parts is None or "#" in str(value):
        return False
    return parts.scheme == "https" or parts.hostname in LOOPBACK_HOSTS


def _is_origin(value: object) -> bool:
    parts = _split_url(value)
    if parts is None:
        return value is None
    return parts.path in {"", "/"} and not set("?#") & set(str(value))


def _is_seconds(value: object) -> bool:
    return (
        isinstance(value, (int, float))
        and not isinstance(value, bool)
        and math.isfinite(value)
        and 0 < value <= 600
    )


def _is_timeout(value: object) -> bool:
    return isinstance(value, (tuple, list)) and len(value) == 2 and all(map(_is_seconds, value))


def _is_attempt_age(value: object) -> bool:
    return isinstance(value, timedelta) and timedelta() < value <= timedelta(days=1)


def _is_small_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= 100


def _is_method(value: object) -> bool:
    return value in ("S256", "plain", None)


def _is_label(value: object) -> bool:
    return value is None or callable(value) or (isinstance(value, (str, Promise)))


def _is_parameters(value: object) -> bool:
    return isinstance(value, Mapping) and all(
        isinstance(name, str)
        and isinstance(item, (str, int, float, Decimal, NoneType, Promise))
        and not (isinstance(item, (float, Decimal)) and not math.isfinite(item))
        for name, item in value.items()
    )


def _is_target(value: object) -> bool:
    if not isinstance(value, str):
        return value is None or isinstance(value, Promise)
    # What else has a slash or a dot would be taken for a path relative to the callback.
    return value.startswith("/") or bool(_split_url(value)) or not set("/.:") & set(value)


def _is_title(value: object) -> bool:
    return value is None or (
        isinstance(value, str) and value.isprintable() and value == value.strip()
    )


def _is_address(value: object) -> bool:
    parts = _split_url(value)
    return value is None if parts is None else str(value).isascii()


def is_api_key(value: object) -> TypeGuard[str]:
    """Return whether a value can be sent as a key: 20 to 512 printable ASCII characters.

    Source: the prefix that all keys seen so far share is not documented, so it is not asked for.
    """
    return isinstance(value, str) and bool(API_KEY.fullmatch(value))


def _is_site_key(value: object) -> bool:
    return value is None or callable(value) or is_api_key(value)


def _is_switch(value: object) -> bool:
    return isinstance(value, bool)


def _is_check_age(value: object) -> bool:
    return isinstance(value, timedelta) and timedelta() < value <= timedelta(days=365)


class Setting(Generic[T]):
    """One setting: its default, what it must look like, and how a person is told so."""

    def __init__(self, default: T, is_valid: Callable[[object], bool], expects: str) -> None:
        self.default = default
        self.is_valid = is_valid
        self.expects = expects

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = PREFIX + name

    def __get__(self, instance: object, owner: type) -> T:
        return self.default if self.is_wrong() else getattr(settings, self.name, self.default)

    def is_wrong(self) -> bool:
        """Return whether the site gave a value that cannot be used."""
        return not self.is_valid(getattr(settings, self.name, self.default))


class AppSettings:
    """Every ``OPENROUTER_AUTH_*`` setting, without the prefix."""

    SITE_URL = Setting[str | None](
        None, _is_origin, "a public origin such as https://app.example, without a path, or None"
    )
    AUTHORIZE_URL = Setting[str](
        "https://openrouter.ai/auth", _is_url, "an https URL (http only for localhost)"
    )
    API_URL = Setting[str](
        "https://openrouter.ai/api/v1", _is_url, "an https URL (http only for localhost)"
    )
    CODE_CHALLENGE_METHOD = Setting[str | None]("S256", _is_method, '"S256", "plain" or None')
    KEY_LABEL = Setting[str | Callable[[Any], str] | None](
        None, _is_label, "a string, a callable that takes the request, or None"
    )
    AUTHORIZE_PARAMS = Setting[Mapping[str, str | float | Decimal | bool | None]](
        {}, _is_parameters, "a dict of query parameters: strings and numbers"
    )
    TIMEOUT = Setting[tuple[float, float]](
        (5, 30), _is_timeout, "two numbers of seconds above 0 and up to 600: (connect, read)"
    )
    ATTEMPT_MAX_AGE = Setting[timedelta](
        timedelta(minutes=30), _is_attempt_age, "a timedelta above 0 and up to one day"
    )
    MAX_PENDING_ATTEMPTS = Setting[int](5, _is_small_count, "an integer from 1 to 100")
    CONNECTED_URL = Setting[str | None](
        None, _is_target, "a URL, a path that begins with a slash, a URL name or None"
    )
    DISCONNECTED_URL = Setting[str | None](
        None, _is_target, "a URL, a path that begins with a slash, a URL name or None"
    )
    APP_TITLE = Setting[str | None](
        None, _is_title, "a string of printable characters without outer spaces, or None"
    )
    APP_URL = Setting[str | None](None, _is_address, "an http or https URL in ASCII, or None")
    SITE_KEY = Setting[str | Callable[[], str | None] | None](
        None, _is_site_key, "an API key, a callable that returns one, or None"
    )
    ALLOW_PASTED_KEYS = Setting[bool](True, _is_switch, "True or False")
    ALLOW_CODE_ENTRY = Setting[bool](True, _is_switch, "True or False")
    CHECK_MAX_AGE = Setting[timedelta](
        timedelta(minutes=5), _is_check_age, "a timedelta above 0 and up to 365 days"
    )

    @property
    def web_url(self) -> str:
        """OpenRouter's web site, to which links for people lead: where the consent page is."""
        return self.AUTHORIZE_URL.split("?")[0].removesuffix("/").removesuffix("/auth")

    @property
    def attribution_headers(self) -> dict[str, str]:
        """The headers by which OpenRouter knows whose app a call comes from.

        Source: OpenRouter app attribution.
        """
        headers = {"HTTP-Referer": self.APP_URL, "X-OpenRouter-Title": self.APP_TITLE}
        return {name: value for name, value in headers.items() if value}


def declared_settings() -> dict[str, Setting[Any]]:
    """Return every declared setting by its full name."""
    return {item.name: item for item in vars(AppSettings).values() if isinstance(item, Setting)}


app_settings = AppSettings()


def uses_time_zones() -> bool:
    """Return ``USE_TZ``."""
    return settings.USE_TZ


def user_model_name() -> str:
    """Return ``AUTH_USER_MODEL``."""
    return settings.AUTH_USER_MODEL


def session_cookie_name() -> str:
    """Return ``SESSION_COOKIE_NAME``."""
    return settings.SESSION_COOKIE_NAME


def encryption_keys() -> tuple[str | bytes, ...]:
    """Return the keys that encrypt, newest first: ``FERNET_KEYS``, else Django's secret keys.

    Raises:
        ImproperlyConfigured: where a key is empty or neither text nor bytes. fernet-fields
            would take such a list and encrypt with a key that anybody can guess.
    """
    keys = getattr(settings, "FERNET_KEYS", None)
    if keys is None:
        keys = list(_secret_keys())
    # fernet-fields 0.9 walks through a lone string and encrypts with its first character.
    if isinstance(keys, (str, bytes)):
        keys = [keys]
    if not isinstance(keys, (list, tuple)) or not keys:
        raise ImproperlyConfigured("FERNET_KEYS must be a list of strings, newest first.")
    if not all(isinstance(key, (str, bytes)) and key for key in keys):
        raise ImproperlyConfigured("FERNET_KEYS holds an entry that is empty or not a string.")
    return tuple(keys)


def _secret_keys() -> tuple[str | bytes, ...]:
    return (settings.SECRET_KEY, *(settings.SECRET_KEY_FALLBACKS or ()))


def borrows_secret_key() -> bool:
    """Return whether the key that encrypts is one of Django's own secret keys.

    Further back in ``FERNET_KEYS`` it belongs: there it reads what was stored before.
    """
    return encryption_keys()[0] in _secret_keys()


def has_urls() -> bool:
    """Return whether this process has URLs at all; a worker's settings may have none."""
    return bool(getattr(settings, "ROOT_URLCONF", None))


def uses_key_derivation() -> bool:
    """Return ``FERNET_USE_HKDF``: whether a Fernet key is derived from each encryption key."""
    return bool(getattr(settings, "FERNET_USE_HKDF", True))


def has_own_encryption_keys() -> bool:
    """Return whether ``FERNET_KEYS`` is set, rather than ``SECRET_KEY`` used in its place."""
    return getattr(settings, "FERNET_KEYS", None) is not None


def accepts_any_host() -> bool:
    """Return whether the visitor can choose the host that Django believes to have."""
    return "*" in settings.ALLOWED_HOSTS or settings.USE_X_FORWARDED_HOST


def site_setting(name: str) -> Any:
    """Return one of the site's own settings; ``None`` where there is none by that name."""
    return getattr(settings, name, None)


def unknown_settings() -> list[str]:
    """Return the names that look like settings of ours and are none."""
    ours = {name for name in dir(settings) if name.startswith(PREFIX)}
    return sorted(ours - set(declared_settings()))


def middleware_paths() -> list[str]:
    """Return the import paths in ``MIDDLEWARE``, in their order."""
    found = getattr(settings, "MIDDLEWARE", None)
    if not isinstance(found, (list, tuple)):
        return []
    return [path for path in found if isinstance(path, str)]


def debug_is_on() -> bool:
    """Return ``DEBUG``."""
    return settings.DEBUG
