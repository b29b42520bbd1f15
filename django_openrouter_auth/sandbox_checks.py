"""System checks of a site that is its own sandbox: do the button and the settings lead to it?"""

import sys
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from django.apps import apps
from django.core.checks import CheckMessage, Warning
from django.core.management import get_commands, load_command_class
from django.urls import NoReverseMatch, Resolver404, get_script_prefix, resolve, reverse

from .conf import LOOPBACK_HOSTS, app_settings, has_urls

SANDBOX = "django_openrouter_auth.sandbox"


class Server(NamedTuple):
    """What ``runserver`` was told, when this process is one."""

    port: int
    has_threads: bool


def check_sandbox(**kwargs: Any) -> list[CheckMessage]:
    """Report that the way from the button to the sandbox, or back, leads nowhere."""
    if not has_urls():
        return []
    try:
        server = running_server()
        if not apps.is_installed(SANDBOX):
            return _check_own_address(server) if server else []
        home = reverse("openrouter_sandbox:home")
    except NoReverseMatch:
        return [
            Warning(
                "The sandbox is installed, and its URLs are not included.",
                hint=f'Add path("openrouter-sandbox/", include("{SANDBOX}.urls")) to your '
                f'urls.py, or remove "{SANDBOX}" from INSTALLED_APPS.',
                id="django_openrouter_auth.W017",
            )
        ]
    # A URLconf that cannot be loaded is Django's to report, with the place where it breaks.
    except Exception:  # noqa: BLE001 - Django's to report
        return []
    return _check_addresses(server, home) + _check_threads(server) if server else []


def _check_addresses(server: Server, home: str) -> list[CheckMessage]:
    urls = (app_settings.AUTHORIZE_URL, app_settings.API_URL)
    if [_place(url) for url in urls] == [
        (True, server.port, f"{home}{path}") for path in ("auth", "api/v1")
    ]:
        return []
    here = f"http://localhost:{server.port}{home}"
    return [
        Warning(
            f"The sandbox of this site is at {here}, and the settings lead elsewhere.",
            hint=f'Set OPENROUTER_AUTH_AUTHORIZE_URL = "{here}auth" and '
            f'OPENROUTER_AUTH_API_URL = "{here}api/v1", or remove "{SANDBOX}" from '
            "INSTALLED_APPS.",
            id="django_openrouter_auth.W018",
        )
    ]


def _check_own_address(server: Server) -> list[CheckMessage]:
    is_local, port, path = _place(app_settings.AUTHORIZE_URL)
    if not is_local or port != server.port:
        return []
    try:
        resolve(path.removeprefix(get_script_prefix().rstrip("/")))
    except Resolver404:
        return [
            Warning(
                "OPENROUTER_AUTH_AUTHORIZE_URL leads to this very server, which has no such page.",
                hint=f'Add "{SANDBOX}" to INSTALLED_APPS and its URLs to your urls.py, or run '
                '"python manage.py openrouter_auth_sandbox" and set what it prints.',
                id="django_openrouter_auth.W018",
            )
        ]
    return []


def _check_threads(server: Server) -> list[CheckMessage]:
    if server.has_threads:
        return []
    return [
        Warning(
            "The sandbox runs in this server, which answers one request after the other: a page "
            "that asks the sandbox waits for itself, until it gives up.",
            hint="Leave out --nothreading.",
            id="django_openrouter_auth.W019",
        )
    ]


def _place(url: str) -> tuple[bool, int, str]:
    parts = urlsplit(url)
    port = parts.port or {"http": 80, "https": 443}[parts.scheme]
    return parts.hostname in LOOPBACK_HOSTS, port, parts.path.removesuffix("/")


def running_server() -> Server | None:
    """Return what ``runserver`` was told; ``None`` where this process is another one."""
    if sys.argv[1:2] != ["runserver"]:
        return None
    command: Any = load_command_class(get_commands()["runserver"], "runserver")
    options = command.create_parser("manage.py", "runserver").parse_args(sys.argv[2:])
    port = (options.addrport or command.default_port).rpartition(":")[2]
    return Server(int(port), options.use_threading) if port.isdigit() else None
