"""Run a command with a throw-away database server behind DATABASE_URL.

    python tests/databases/with_server.py {postgresql,mariadb} COMMAND [ARGUMENT ...]

The server listens on a free port of 127.0.0.1, keeps its data in a temporary directory and has a
random password. It is stopped when the command ends, whose exit status becomes this script's.
Where the server is not installed the command is skipped with the reason, but with CI=true this
is a failure. Standard library only.
"""

import contextlib
import os
import pwd
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

START_SECONDS = 60
STOP_SECONDS = 30


class NotInstalledError(Exception):
    """A program of the server is neither on PATH nor where its package puts it."""


def find_program(name: str, *folders: str) -> str:
    """Return the path of a program, looked for on PATH and then in the folders."""
    path = os.pathsep.join([os.environ.get("PATH", ""), *folders])
    if found := shutil.which(name, path=path):
        return found
    raise NotInstalledError(name)


def free_port() -> int:
    """Return a port of 127.0.0.1 that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def unprivileged() -> dict[str, Any]:
    """Return the arguments that make a subprocess drop root: both servers refuse to run as root."""
    if os.geteuid() != 0:
        return {}
    nobody = pwd.getpwnam("nobody")
    return {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": []}


@dataclass
class Server:
    """What tells one kind of server from another."""

    scheme: str
    database: str
    make: list[str]
    serve: list[str]
    ready: str
    stop_signal: signal.Signals


def postgresql(folder: Path, port: int, password: str) -> Server:
    """Describe a PostgreSQL server with its data in the folder."""
    # Debian keeps these programs off PATH; the newest version wins.
    folders = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=_version, reverse=True)
    initdb = find_program("initdb", *map(str, folders))
    server = str(Path(initdb).resolve().with_name("postgres"))
    data = str(folder / "data")
    password_file = folder / "password"
    password_file.write_text(password)
    # fmt: off
    make = [
        initdb, "--pgdata", data, "--username", "tests", "--pwfile", str(password_file),
        "--auth", "scram-sha-256", "--encoding", "UTF8", "--no-locale", "--no-sync",
    ]
    serve = [
        server, "-D", data, "-h", "127.0.0.1", "-p", str(port), "-k", "", "-F",
        "-c", "full_page_writes=off", "-c", "synchronous_commit=off",
    ]
    # fmt: on
    ready = "database system is ready to accept connections"
    # SIGINT is a "fast" stop: it does not wait for clients to leave.
    return Server("postgres", "postgres", make, serve, ready, signal.SIGINT)


def mariadb(folder: Path, port: int, password: str) -> Server:
    """Describe a MariaDB server with its data in the folder."""
    folders = ("/usr/sbin", "/usr/local/sbin")
    data = f"--datadir={folder / 'data'}"
    init = folder / "init.sql"
    init.write_text(  # one statement a line, or the server takes none
        f"CREATE USER tests@127.0.0.1 IDENTIFIED BY '{password}';\n"
        "GRANT ALL ON *.* TO tests@127.0.0.1;\n"
    )
    install = find_program("mariadb-install-db", *folders)
    # fmt: off
    serve = [
        find_program("mariadbd", *folders), "--no-defaults", data, f"--init-file={init}",
        "--bind-address=127.0.0.1", f"--port={port}", "--skip-name-resolve",
        f"--socket={folder / 'socket'}", f"--pid-file={folder / 'pid'}",
        "--character-set-server=utf8mb4",
        "--innodb-flush-log-at-trx-commit=0", "--innodb-flush-method=nosync",
    ]
    # fmt: on
    make = [install, "--no-defaults", data, "--skip-test-db"]
    return Server("mysql", "mysql", make, serve, "ready for connections", signal.SIGTERM)


SERVERS = {"postgresql": postgresql, "mariadb": mariadb}


def _version(folder: Path) -> tuple[int, ...]:
    return tuple(int(number) for number in folder.parent.name.split(".") if number.isdigit())


@contextlib.contextmanager
def running(kind: str) -> Iterator[str]:
    """Start a server and yield its DATABASE_URL; stop it and remove its data afterwards."""
    options = unprivileged()
    with tempfile.TemporaryDirectory(prefix=f"{kind}-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        port, password = free_port(), secrets.token_hex(16)
        server = SERVERS[kind](folder, port, password)
        for path in (folder, *folder.iterdir()):
            os.chown(path, options.get("user", -1), options.get("group", -1))
        log = folder / "log"
        with log.open("wb") as output:
            # A session of its own: Ctrl-C ends the tests, then we end the server.
            options |= {
                "stdout": output,
                "stderr": output,
                "cwd": folder,
                "start_new_session": True,
            }
            if subprocess.run(server.make, check=False, **options).returncode:
                _give_up(kind, log)
            process = subprocess.Popen(server.serve, **options)
        try:
            _wait_until_ready(process, log, server.ready, kind)
            yield f"{server.scheme}://tests:{password}@127.0.0.1:{port}/{server.database}"
        finally:
            process.send_signal(server.stop_signal)
            try:
                process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _wait_until_ready(process: "subprocess.Popen[bytes]", log: Path, text: str, kind: str) -> None:
    deadline = time.monotonic() + START_SECONDS
    while text not in log.read_text(errors="replace"):
        if process.poll() is not None or time.monotonic() > deadline:
            _give_up(kind, log)
        time.sleep(0.05)


def _give_up(kind: str, log: Path) -> NoReturn:
    sys.exit(f"{kind} did not start:\n{log.read_text(errors='replace')}")


def main(kind: str, *command: str) -> int:
    """Run the command beside the server and return its exit status."""
    # Told to stop, stop the server too: `finally` runs on SystemExit, not on a signal.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    try:
        with running(kind) as url:
            print(f"{kind} is listening on {url.rpartition('@')[2]}", flush=True)
            environment = {**os.environ, "DATABASE_URL": url}
            status = subprocess.run(command, check=False, env=environment).returncode
    except NotInstalledError as error:
        if os.environ.get("CI") == "true":
            print(f"{error} not found, and CI=true allows no skipping")
            return 1
        print(f"SKIPPED: {error} not found, so nothing was tested on {kind}")
        return 0
    return status if status >= 0 else 128 - status


if __name__ == "__main__":
    if len(sys.argv) < 3 or sys.argv[1] not in SERVERS:
        sys.exit(__doc__)
    sys.exit(main(*sys.argv[1:]))
