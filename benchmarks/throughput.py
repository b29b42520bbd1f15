"""Callbacks per second: gunicorn, the provider over HTTPS, and several browsers at once."""

import os
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from django.db import connection

from tests.processes import free_port, is_listening, running

from . import flow, provider
from .browser import HOST
from .environment import UnexpectedAnswerError
from .figures import Figure, Part, ratio_goal
from .versions import ALLAUTH, HANDWRITTEN, SOCIAL, Version

WORKERS, BROWSERS = 2, 4
WARM_UP = 20
GOAL = 3.0
PATIENCE = 60


def measure(
    application: Callable[..., Any],
    versions: tuple[Version, ...],
    folder: Path,
    *,
    rounds: int,
    callbacks: int,
) -> list[Part]:
    """Serve all versions from the same workers and return how many callbacks each finishes."""
    certificate, bundle = provider.make_certificate(folder)
    per_second: dict[str, list[float]] = {one.name: [] for one in versions}
    with (
        provider.running(certificate, threads=True) as standin,
        _served(standin.api_url, bundle, folder) as (port, pids),
    ):
        flow.use_provider(standin.api_url)
        cpu: dict[str, list[float]] = {one.name: [] for one in versions}
        for one in versions:
            _finish(port, one, [_started(application, one) for _ in range(WARM_UP)])
        for number in range(rounds):
            first = number % len(versions)
            for one in versions[first:] + versions[:first]:
                waiting = [_started(application, one) for _ in range(callbacks)]
                before = sum(map(_processor_seconds, pids))
                seconds = _finish(port, one, waiting)
                spent = sum(map(_processor_seconds, pids)) - before
                per_second[one.name].append(callbacks / seconds)
                cpu[one.name].append(spent / callbacks * 1000)
    figures = [
        Figure("callbacks per second", per_second),
        Figure("processor time of the workers for each", cpu, "ms"),
    ]
    goals = [
        ratio_goal(
            f"callbacks per second: of {one.name}", GOAL, figures[:1], one.name, at_least=True
        )
        for one in (HANDWRITTEN, ALLAUTH, SOCIAL)
    ]
    notes = (
        f"{rounds} rounds of {callbacks} callbacks, {BROWSERS} browsers at once.",
        "Stand-in and browsers share the processors with the workers.",
    )
    return [
        Part(
            f"Callbacks under gunicorn, {WORKERS} sync workers, the provider over HTTPS",
            figures,
            [goal for goal in goals if goal],
            list(notes),
        )
    ]


@contextmanager
def _served(api_url: str, bundle: Path, folder: Path) -> Iterator[tuple[int, list[int]]]:
    port = free_port()
    command = [
        *(sys.executable, "-m", "gunicorn", "benchmarks.wsgi:application"),
        *("--workers", str(WORKERS), "--worker-class", "sync"),
        *("--bind", f"127.0.0.1:{port}", "--worker-tmp-dir", str(folder), "--log-level", "warning"),
    ]
    environment = os.environ | {
        "PYTHONPATH": str(Path(__file__).resolve().parent.parent),
        "BENCHMARK_API_URL": api_url,
        "BENCHMARK_DATABASE": str(connection.settings_dict["NAME"]),
        "REQUESTS_CA_BUNDLE": str(bundle),
    }
    with running(command, folder / "gunicorn.log", lambda: is_listening(port), env=environment) as (
        process
    ):
        yield port, _children(process.pid)


def _children(pid: int) -> list[int]:
    """Return the workers, once all have started."""
    path = Path(f"/proc/{pid}/task/{pid}/children")
    deadline = time.monotonic() + PATIENCE
    while len(found := path.read_text().split()) < WORKERS:
        if time.monotonic() > deadline:
            raise TimeoutError("gunicorn's workers did not start")
        time.sleep(0.05)
    return [int(one) for one in found]


def _processor_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _started(application: Callable[..., Any], version: Version) -> bytes:
    """Start an attempt in this process and return the request with which the browser returns."""
    journey = flow.Journey(application, version)
    path = journey.start()
    head = f"GET {path} HTTP/1.1\r\nHost: {HOST}\r\nCookie: {journey.browser.cookie_header}\r\n\r\n"
    return head.encode()


def _finish(port: int, version: Version, waiting: list[bytes]) -> float:
    """Let all browsers return, a few at once, and return the seconds that it took."""
    wrong: list[bytes] = []
    end = f"Location: {version.page}\r\n".encode()

    def browse() -> None:
        while True:
            try:
                request = waiting.pop()  # atomic
            except IndexError:
                return
            with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE) as browser:
                browser.sendall(request)
                answer = b"".join(iter(lambda: browser.recv(65536), b""))
            if end not in answer:
                wrong.append(answer[:200])

    threads = [threading.Thread(target=browse) for _ in range(BROWSERS)]
    began = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    seconds = time.perf_counter() - began
    if wrong:
        raise UnexpectedAnswerError(f"{version.name}: {wrong[0]!r}")
    return seconds
