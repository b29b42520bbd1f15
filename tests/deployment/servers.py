"""The processes of a deployment: each is awaited by its port and ended by its pid."""

import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

from tests.databases.with_server import NotInstalledError, find_program, free_port, unprivileged

CONFIGURATION = Path(__file__).with_name("nginx.conf")
PATIENCE = 60
STOP_SECONDS = 10


def find_nginx():
    """Return the path of nginx, which Debian keeps off PATH.

    Raises:
        NotInstalledError: as it says.
    """
    return find_program("nginx", "/usr/sbin", "/usr/local/sbin")


def require_gunicorn():
    """Raise ``NotInstalledError`` where this Python has no gunicorn."""
    if find_spec("gunicorn") is None:
        raise NotInstalledError("gunicorn")


@contextmanager
def gunicorn(env, folder, *options):
    """Serve an application that is loaded before the workers are forked; yield the port."""
    port = free_port()
    command = [sys.executable, "-m", "gunicorn", "--bind", f"127.0.0.1:{port}", "--preload"]
    # Newer ones put a socket into HOME, where two of them would meet.
    env = {**env, "HOME": str(folder)}
    with _running([*command, *options], port, folder / "gunicorn.log", env=env, cwd=folder):
        yield port


@contextmanager
def nginx(site_port, chain):
    """Take https requests on behalf of a site; yield the port.

    Args:
        site_port: where the site listens.
        chain: a file with the private key and the certificates of the site.
    """
    options = unprivileged()
    with tempfile.TemporaryDirectory(prefix="nginx in a ", ignore_cleanup_errors=True) as name:
        folder, port = Path(name), free_port()
        text = CONFIGURATION.read_text().replace("LISTEN_PORT", str(port))
        (folder / "nginx.conf").write_text(text.replace("SITE_PORT", str(site_port)))
        shutil.copy(chain, folder / "server.pem")
        for path in (folder, *folder.iterdir()):
            os.chown(path, options.get("user", -1), options.get("group", -1))
        command = [find_nginx(), "-e", "stderr", "-p", f"{folder}/", "-c", "nginx.conf"]
        with _running(command, port, folder / "log", cwd=folder, **options):
            yield port


@contextmanager
def _running(command, port, log, **options):
    with log.open("wb") as output:
        # A session of its own: Ctrl-C ends the tests, then we end the server.
        process = subprocess.Popen(
            command, stdout=output, stderr=output, start_new_session=True, **options
        )
    try:
        _wait_until_listening(process, port, log)
        yield
    finally:
        process.terminate()
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _wait_until_listening(process, port, log):
    def has_ended():
        return process.poll() is not None

    if not wait_until(lambda: has_ended() or _is_listening(port)) or has_ended():
        raise AssertionError(f"{process.args} does not listen:\n{log.read_text(errors='replace')}")


def _is_listening(port):
    try:
        socket.create_connection(("127.0.0.1", port), timeout=5).close()
    except OSError:
        return False
    return True


def wait_until(condition):
    """Return whether a condition came true in time."""
    deadline = time.monotonic() + PATIENCE
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True
