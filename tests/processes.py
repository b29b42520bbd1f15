"""Programs that tests run beside themselves: each is awaited, and ended by its pid."""

import os
import signal
import socket
import subprocess
import time
from contextlib import contextmanager, suppress
from urllib.error import URLError
from urllib.request import urlopen

PATIENCE = 60
STOP_SECONDS = 20


def free_port():
    """Return a port that nothing listens on."""
    with socket.create_server(("localhost", 0)) as listener:
        return listener.getsockname()[1]


def is_listening(port):
    """Return whether something listens on a port of this machine."""
    try:
        socket.create_connection(("127.0.0.1", port), timeout=5).close()
    except OSError:
        return False
    return True


def answers(url):
    """Return whether a site answers, and with no error."""
    try:
        urlopen(url, timeout=5).close()
    except (URLError, ConnectionError, TimeoutError):
        return False
    return True


def wait_until(condition, seconds=PATIENCE):
    """Return whether a condition came true in time."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


@contextmanager
def running(command, log, is_ready, **options):
    """Run a program in a process group of its own; yield its process once it is ready.

    At the end it is asked to stop, and all of its group is killed that does not.

    Args:
        command: the program and its arguments.
        log: the path of the file that gets what it prints.
        is_ready: a function that tells whether it has started.
        options: further arguments of ``Popen``.

    Raises:
        AssertionError: it ended, or was not ready in time; with what it printed.
    """
    with log.open("wb") as output:
        # A session of its own: Ctrl-C ends the tests, then we end the program.
        process = subprocess.Popen(
            command, stdout=output, stderr=output, start_new_session=True, **options
        )

    def has_ended():
        return process.poll() is not None

    try:
        if not wait_until(lambda: has_ended() or is_ready()) or has_ended():
            raise AssertionError(f"{command} did not start:\n{log.read_text(errors='replace')}")
        yield process
    finally:
        process.terminate()
        with suppress(subprocess.TimeoutExpired):
            process.wait(STOP_SECONDS)
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
