"""The processes around a site with background work: a broker, workers, and OpenRouter."""

import json
import os
import signal
import sys
import threading
from collections import Counter
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from tests.databases.with_server import find_program
from tests.example_site import ROOT
from tests.processes import free_port, is_listening, running

ANSWER = json.dumps({"data": {"label": "sk-or-v1-0e6...1c9", "usage": 1.25}}).encode()


class CountingOpenRouter(ThreadingHTTPServer):
    """OpenRouter's ``GET /key``: it accepts every key and counts how often it was asked.

    Attributes:
        asked: the number of requests by key.
        busy: keys that are answered with 429 when they are asked about for the first time.
    """

    daemon_threads = True
    request_queue_size = 128

    def __init__(self):
        super().__init__(("127.0.0.1", 0), _Handler)
        self.asked = Counter()
        self.busy = set()
        self.url = f"http://127.0.0.1:{self.server_port}/api/v1"
        self._lock = threading.Lock()

    def count(self, api_key):
        """Count a request; return whether it is to come again later."""
        with self._lock:
            self.asked[api_key] += 1
            return api_key in self.busy and self.asked[api_key] == 1

    @contextmanager
    def serving(self):
        """Answer while the block lasts."""
        thread = threading.Thread(target=self.serve_forever, args=(0.05,), daemon=True)
        thread.start()
        try:
            yield self
        finally:
            self.shutdown()
            thread.join()
            self.server_close()

    def handle_error(self, request, client_address):
        """Keep quiet about a client that was killed."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    # Without it the last packet of an answer waits for the client.
    disable_nagle_algorithm = True

    def do_GET(self):
        is_early = self.server.count(self.headers["Authorization"].removeprefix("Bearer "))
        self.send_response(429 if is_early else 200)
        if is_early:
            self.send_header("Retry-After", "2")
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(ANSWER)))
        self.end_headers()
        self.wfile.write(ANSWER)

    def log_message(self, format, *args):
        """Print nothing."""


@contextmanager
def redis_server(folder):
    """Run Redis without persistence; yield its URL.

    Raises:
        NotInstalledError: there is no redis-server.
    """
    port = free_port()
    # fmt: off
    command = [
        find_program("redis-server", "/usr/sbin", "/usr/local/sbin"), "--bind", "127.0.0.1",
        "--port", str(port), "--save", "", "--appendonly", "no", "--dir", str(folder),
    ]
    # fmt: on
    with running(command, folder / "redis.log", lambda: is_listening(port)):
        yield f"redis://127.0.0.1:{port}/0"


@contextmanager
def worker(name, env, log):
    """Run a Celery worker of two processes; yield its process once it takes tasks."""
    # fmt: off
    command = [
        sys.executable, "-m", "celery", "--app", "site_with_workers", "worker",
        "--hostname", f"{name}@%h", "--concurrency", "2", "--loglevel", "DEBUG",
        # Neither of them has to know that there is another one.
        "--without-gossip", "--without-mingle", "--without-heartbeat",
    ]
    # fmt: on
    with running(command, log, lambda: " ready." in log.read_text(), env=env, cwd=ROOT) as process:
        yield process


def kill(process):
    """Kill a process with its children, as a machine that loses its power does."""
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
