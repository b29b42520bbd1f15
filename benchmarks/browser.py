"""A browser for measurements: it calls the WSGI application itself, with all its middleware.

Django's test client would add work of its own to all versions, and so flatter the slower ones.
"""

import io
import time
from collections.abc import Callable
from dataclasses import dataclass
from http.cookies import SimpleCookie
from importlib import import_module
from typing import Any
from urllib.parse import urlencode

from django.conf import settings
from django.contrib.auth import BACKEND_SESSION_KEY, HASH_SESSION_KEY, SESSION_KEY, get_user_model
from django.http import HttpResponse

HOST = "localhost"


@dataclass(frozen=True)
class Timing:
    """Seconds that one request took: on the clock, and of this process's processor time."""

    wall: float
    cpu: float


def timed(function: Callable[..., Any], *arguments: Any) -> tuple[Any, Timing]:
    """Call a function and return what it returned, and how long it took."""
    wall, cpu = time.perf_counter(), time.process_time()
    result = function(*arguments)
    return result, Timing(time.perf_counter() - wall, time.process_time() - cpu)


class Browser:
    """A signed-in browser of a new user, with a session of its own."""

    def __init__(self, application: Callable[..., Any], username: str) -> None:
        self._application = application
        self.cookies: SimpleCookie = SimpleCookie()
        user = get_user_model().objects.create(username=username, password="!")
        self._store = import_module(settings.SESSION_ENGINE).SessionStore
        session = self._store()
        session[SESSION_KEY] = str(user.pk)
        session[BACKEND_SESSION_KEY] = settings.AUTHENTICATION_BACKENDS[0]
        session[HASH_SESSION_KEY] = user.get_session_auth_hash()
        session.save()
        self.cookies[settings.SESSION_COOKIE_NAME] = session.session_key

    def session(self) -> dict[str, Any]:
        """Return what the session holds."""
        key = self.cookies[settings.SESSION_COOKIE_NAME].value
        return dict(self._store(session_key=key).load())

    @property
    def cookie_header(self) -> str:
        """What this browser sends along."""
        return "; ".join(f"{one.key}={one.coded_value}" for one in self.cookies.values())

    def get(self, path: str) -> tuple[HttpResponse, Timing]:
        return self._send("GET", path, b"")

    def post(self, path: str) -> tuple[HttpResponse, Timing]:
        """Post an empty form, with the token that the page with the form had left in a cookie."""
        token = self.cookies[settings.CSRF_COOKIE_NAME].value
        return self._send("POST", path, urlencode({"csrfmiddlewaretoken": token}).encode())

    def _send(self, method: str, path: str, body: bytes) -> tuple[HttpResponse, Timing]:
        path, _, query = path.partition("?")
        environ = {
            "REQUEST_METHOD": method,
            "SCRIPT_NAME": "",
            "PATH_INFO": path,
            "QUERY_STRING": query,
            "SERVER_NAME": HOST,
            "SERVER_PORT": "80",
            "SERVER_PROTOCOL": "HTTP/1.1",
            "REMOTE_ADDR": "127.0.0.1",
            "HTTP_HOST": HOST,
            "HTTP_ACCEPT": "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8",
            "HTTP_ACCEPT_LANGUAGE": "en",
            "HTTP_COOKIE": self.cookie_header,
            "CONTENT_TYPE": "application/x-www-form-urlencoded",
            "CONTENT_LENGTH": str(len(body)),
            "wsgi.version": (1, 0),
            "wsgi.url_scheme": "http",
            "wsgi.input": io.BytesIO(body),
            "wsgi.errors": io.StringIO(),
            "wsgi.multithread": False,
            "wsgi.multiprocess": True,
            "wsgi.run_once": False,
        }
        response, timing = timed(self._answer, environ)
        for name, cookie in response.cookies.items():
            if cookie["max-age"] == 0:
                self.cookies.pop(name, None)
            else:
                self.cookies[name] = cookie.value
        return response, timing

    def _answer(self, environ: dict[str, Any]) -> HttpResponse:
        response = self._application(environ, _ignore)
        b"".join(response)
        response.close()
        return response


def _ignore(status: str, headers: list[tuple[str, str]], exc_info: object = None) -> None:
    """Take what a server would send out; the response object itself is at hand."""
