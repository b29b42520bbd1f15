"""The parts of the benchmarks by name; imported once Django is set up."""

import argparse
from collections.abc import Callable
from pathlib import Path

from django.core.wsgi import get_wsgi_application

from . import abandoned, admin_list, connecting, rotation, setting_up, storage, throughput, wheel
from .figures import Part


def flow(arguments: argparse.Namespace, folder: Path) -> list[Part]:
    """Connect over HTTP."""
    return connecting.measure_http(get_wsgi_application(), arguments.versions, arguments.runs)


def https(arguments: argparse.Namespace, folder: Path) -> list[Part]:
    """Connect over HTTPS."""
    return connecting.measure_https(
        get_wsgi_application(), arguments.versions, arguments.tls_runs, folder
    )


def gunicorn(arguments: argparse.Namespace, folder: Path) -> list[Part]:
    """Finish callbacks under gunicorn."""
    return throughput.measure(
        get_wsgi_application(),
        arguments.versions,
        folder,
        rounds=arguments.rounds,
        callbacks=arguments.callbacks,
    )


PARTS: dict[str, Callable[[argparse.Namespace, Path], list[Part]]] = {
    "flow": flow,
    "https": https,
    "gunicorn": gunicorn,
    "session": lambda given, _: abandoned.measure(get_wsgi_application(), given.versions),
    "storage": lambda given, _: storage.measure(given.keys),
    "admin": lambda given, _: admin_list.measure(get_wsgi_application(), given.pages),
    "setup": lambda given, folder: setting_up.measure(given.processes, folder),
    "wheel": lambda _, folder: wheel.measure(folder),
    "rotation": lambda given, _: rotation.measure_speed(given.rotated, given.passes),
    "memory": lambda given, _: rotation.measure_memory(given.rows),
}
