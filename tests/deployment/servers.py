"""The processes of a deployment: each is awaited by its port and ended by its pid."""

import os
import shutil
import sys
import tempfile
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

from tests.databases.with_server import NotInstalledError, find_program, unprivileged
from tests.processes import free_port, is_listening, running

CONFIGURATION = Path(__file__).with_name("nginx.conf")


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
    log = folder / "gunicorn.log"
    with running([*command, *options], log, lambda: is_listening(port), env=env, cwd=folder):
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
        log = folder / "log"
        with running(command, log, lambda: is_listening(port), cwd=folder, **options):
            yield port
