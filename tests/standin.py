"""A stand-in for OpenRouter over real sockets: it keeps a journal and answers as it is told."""

import contextlib
import json
import secrets
import select
import socket
import ssl
import struct
import threading
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from http.client import HTTPMessage, parse_headers
from io import BufferedReader
from typing import Any, Self

import pytest

EXCHANGE = "/api/v1/auth/keys"
STATUS = "/api/v1/key"
PATIENCE = 10


@dataclass(frozen=True)
class Seen:
    """A request as it came in; ``connection`` counts the TCP connections from 1."""

    method: str
    path: str
    headers: HTTPMessage
    body: bytes
    connection: int

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class Wire:
    """The connection on which an answer is played."""

    def __init__(self, sock: socket.socket, request: Seen) -> None:
        self.sock, self.request, self.is_open = sock, request, True

    def send(self, data: bytes) -> None:
        self.sock.sendall(data)

    def drip(self, data: bytes, every: float) -> None:
        """Send byte by byte until the other side has had enough."""
        for byte in data:
            self.send(bytes([byte]))
            if self.is_left(within=every):
                break
        self.hang_up()

    def is_left(self, within: float) -> bool:
        """Return whether the other side closed the connection, waiting so many seconds for it."""
        return bool(select.select([self.sock], [], [], within)[0])

    def hang_up(self) -> None:
        self.sock.close()
        self.is_open = False

    def reset(self) -> None:
        """Break the connection off with a TCP reset."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.hang_up()


Answer = bytes | Callable[[Wire], None]


def reply(
    body: object = b"",
    *,
    status: int = 200,
    content_type: str | None = "application/json",
    **headers: str | int,
) -> bytes:
    """Return a whole answer; ``Content_Encoding="gzip"`` adds that header, or replaces it."""
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    lines: dict[str, str | int | None] = {
        "Content-Type": content_type,
        "Content-Length": len(data),
        **{name.replace("_", "-"): value for name, value in headers.items()},
    }
    head = "".join(f"{name}: {value}\r\n" for name, value in lines.items() if value is not None)
    return f"HTTP/1.1 {status} Whatever\r\n{head}\r\n".encode("latin-1") + data


def cut(data: bytes = b"") -> Answer:
    """Send this much and close the connection."""

    def play(wire: Wire) -> None:
        wire.send(data)
        wire.hang_up()

    return play


def reset(data: bytes = b"") -> Answer:
    """Send this much and reset the connection."""

    def play(wire: Wire) -> None:
        wire.send(data)
        wire.reset()

    return play


def drip(data: bytes, every: float = 0.05) -> Answer:
    """Send byte by byte."""
    return lambda wire: wire.drip(data, every)


def endless(head: bytes, chunk: bytes) -> Answer:
    """Send a chunk over and over, until the other side has had enough."""

    def play(wire: Wire) -> None:
        wire.send(head)
        while not wire.is_left(within=0):
            wire.send(chunk)
        wire.hang_up()

    return play


def silence(wire: Wire) -> None:
    """Say nothing until the other side has had enough."""
    wire.is_left(within=PATIENCE)
    wire.hang_up()


class Standin:
    """OpenRouter's side of the API, as far as the package uses it, on a free port of 127.0.0.1.

    It mints a key for every code, knows the keys that it minted, and answers everything else
    with 404. What was put in with :meth:`answer` comes first, one answer a request.

    Args:
        tls: the server's side of TLS; plain HTTP without one.
        host: the name under which ``url`` calls the server.
    """

    def __init__(self, tls: ssl.SSLContext | None = None, host: str = "127.0.0.1") -> None:
        self.journal: list[Seen] = []
        self.minted: list[str] = []
        self._tls = tls
        self._scripts: dict[str, deque[Answer]] = {}
        self._live: dict[int, socket.socket] = {}
        self._threads: list[threading.Thread] = []
        self._stopping = False
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self.url = f"{'https' if tls else 'http'}://{host}:{self.port}/api/v1"
        self._accepting = threading.Thread(target=self._accept, daemon=True)
        self._accepting.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self._stopping = True
        # Wakes accept(), which closing the listener would not do everywhere.
        socket.create_connection(("127.0.0.1", self.port)).close()
        self._accepting.join()
        self._listener.close()
        for sock in list(self._live.values()):
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join()

    def answer(self, path: str, *answers: Answer) -> None:
        """Give these answers to the next requests for a path."""
        self._scripts.setdefault(path, deque()).extend(answers)

    def asked(self, path: str) -> list[Seen]:
        """Return the requests for a path."""
        return [request for request in self.journal if request.path == path]

    @property
    def exchanges(self) -> list[Seen]:
        return self.asked(EXCHANGE)

    @property
    def status_checks(self) -> list[Seen]:
        return self.asked(STATUS)

    def _accept(self) -> None:
        for number in range(1, 10_000):
            sock, _ = self._listener.accept()
            if self._stopping:
                sock.close()
                return
            sock.settimeout(PATIENCE)
            thread = threading.Thread(target=self._serve, args=(sock, number), daemon=True)
            self._threads.append(thread)
            thread.start()

    def _serve(self, sock: socket.socket, number: int) -> None:
        # A client that leaves in the middle of things is what many tests are about.
        with contextlib.suppress(OSError), self._secure(sock) as secured:
            self._live[number] = secured
            with secured.makefile("rb") as reader:
                while request := _read(reader, number):
                    self.journal.append(request)
                    if not self._play(Wire(secured, request)):
                        break
        self._live.pop(number, None)

    def _secure(self, sock: socket.socket) -> socket.socket:
        return self._tls.wrap_socket(sock, server_side=True) if self._tls else sock

    def _play(self, wire: Wire) -> bool:
        script = self._scripts.get(wire.request.path)
        answer = script.popleft() if script else self._faithful(wire.request)
        if isinstance(answer, bytes):
            wire.send(answer)
        else:
            answer(wire)
        return wire.is_open

    def _faithful(self, request: Seen) -> Answer:
        """Return what OpenRouter would answer."""
        if (request.method, request.path) == ("POST", EXCHANGE):
            return self.mint()
        if (request.method, request.path) == ("GET", STATUS):
            is_known = request.headers["Authorization"] in {f"Bearer {key}" for key in self.minted}
            return known() if is_known else refusal(401, "User not found.")
        return refusal(404, "Not Found")

    def mint(self) -> bytes:
        """Return the answer that hands out a new key."""
        self.minted.append(f"sk-or-v1-{secrets.token_hex(32)}")
        return reply({"key": self.minted[-1], "user_id": "user_2yOPcMpKoQ"})


def refusal(status: int, message: str) -> bytes:
    """Return an error as OpenRouter words it."""
    return reply({"error": {"message": message, "code": status}}, status=status)


def known(**data: Any) -> bytes:
    """Return what OpenRouter says about a key that it knows."""
    usual = {
        "label": "sk-or-v1-0e6...1c9",
        "usage": 1.25,
        "limit": 10,
        "limit_remaining": 8.75,
        "limit_reset": "monthly",
        "is_free_tier": False,
        "is_management_key": False,
        "expires_at": "2099-01-02T03:04:05Z",
    }
    return reply({"data": usual | data})


def _read(reader: BufferedReader, number: int) -> Seen | None:
    line = reader.readline()
    if not line:
        return None
    method, path, _ = line.decode("latin-1").split(" ", 2)
    headers = parse_headers(reader)
    return Seen(method, path, headers, reader.read(int(headers["Content-Length"] or 0)), number)


AMBIENT = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY")
BUNDLES = ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "NETRC")


@pytest.fixture
def bare_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """The environment without the proxies and certificates of the machine that runs the tests."""
    for name in (*AMBIENT, *map(str.lower, AMBIENT), *BUNDLES):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def standin(settings: Any, bare_environment: None) -> Iterator[Standin]:
    """OpenRouter's API over plain HTTP."""
    with Standin() as server:
        settings.OPENROUTER_AUTH_API_URL = server.url
        settings.OPENROUTER_AUTH_TIMEOUT = (2, 3)
        yield server
