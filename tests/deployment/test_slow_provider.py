"""An OpenRouter that does not answer, and the pages of those who do not wait for it."""

from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Event, Semaphore, Thread

import pytest

from tests.documented import Page

from .visitor import PATIENCE, SITE

pytestmark = pytest.mark.deployment

SERVER = Page("howto/going-live").take("# gunicorn.conf.py")
PAGES = 20


class Slow(BaseHTTPRequestHandler):
    def do_POST(self):
        self.rfile.read(int(self.headers["Content-Length"]))
        self.server.arrived.release()
        self.server.may_answer.wait(PATIENCE)
        self.send_error(503)

    def do_GET(self):
        self.send_error(401)

    def log_message(self, *arguments):
        """Print nothing."""


class SlowOpenRouter(ThreadingHTTPServer):
    """Takes exchanges, and answers none of them before it is told to."""

    request_queue_size = 64

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Slow)
        self.arrived, self.may_answer = Semaphore(0), Event()

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_port}/api/v1"


@pytest.fixture
def openrouter():
    """Yield a slow OpenRouter."""
    with SlowOpenRouter() as server:
        thread = Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.may_answer.set()
        server.shutdown()
        thread.join()


def test_pages_beside_waiting_callbacks(deploy, openrouter, tmp_path):
    """With the workers of the guide, all threads but one may wait: others still get their pages."""
    configuration = SERVER.run()
    number = configuration["workers"] * configuration["threads"] - 1
    path = tmp_path / "gunicorn.conf.py"
    path.write_text(SERVER.text)
    settings = {
        "OPENROUTER_AUTH_SITE_URL": SITE,
        "OPENROUTER_AUTH_API_URL": openrouter.url,
        "CSRF_TRUSTED_ORIGINS": [SITE],
    }
    with deploy("--config", str(path), **settings) as site:
        reader = site.visitor()
        reader.sign_in("reader")
        returning = []
        for one in range(number):
            visitor = site.visitor()
            _, callback = visitor.start(visitor.sign_in(f"waiting-{one}"))
            returning.append((visitor, f"{callback}?code=code-{one}"))
        with ThreadPoolExecutor(number) as pool:
            waiting = [pool.submit(visitor.get, url) for visitor, url in returning]
            try:
                assert all(openrouter.arrived.acquire(timeout=PATIENCE) for _ in waiting)
                assert [reader.get("/").status_code for _ in range(PAGES)] == [200] * PAGES
                assert not any(one.done() for one in waiting)
            finally:
                openrouter.may_answer.set()
    assert [one.result().status_code for one in waiting] == [303] * number
