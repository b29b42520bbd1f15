"""A stand-in for OpenRouter that answers as late as it is told, to any number at once.

A code is the challenge and a number, so that nobody needs to tell which codes there are. Each is
taken once, and only with the verifier that belongs to its challenge.
"""

import asyncio
import contextlib
import json
import multiprocessing
from base64 import urlsafe_b64encode
from collections import Counter
from collections.abc import Iterator
from hashlib import sha256
from multiprocessing.connection import Connection
from typing import Any

HOST = "127.0.0.1"
START_SECONDS = 30
STATUS_LINES = {
    200: "200 OK",
    400: "400 Bad Request",
    401: "401 Unauthorized",
    403: "403 Forbidden",
}

Answer = tuple[int, dict[str, Any]]


def key_of(code: str) -> str:
    """Return the key that a code is exchanged for."""
    return "sk-or-v1-" + sha256(code.encode()).hexdigest()


class Provider:
    """A running stand-in.

    Attributes:
        api_url: what ``OPENROUTER_AUTH_API_URL`` is to be.
    """

    def __init__(self, pipe: Connection) -> None:
        self._pipe = pipe
        self.api_url = f"http://{HOST}:{pipe.recv()}/api/v1"

    def answer_after(self, seconds: float) -> None:
        """Let each answer from now on take so long."""
        self._tell("latency", seconds)

    def release(self) -> None:
        """Answer everything that waits at once."""
        self._tell("release", 0.0)

    def counts(self) -> Counter[str]:
        """Return how many were exchanged, refused, used twice or checked, and how many wait."""
        return self._tell("counts", 0.0)

    def _tell(self, order: str, seconds: float) -> Counter[str]:
        self._pipe.send((order, seconds))
        if not self._pipe.poll(START_SECONDS):
            raise TimeoutError("the stand-in does not listen")
        counts: Counter[str] = self._pipe.recv()
        return counts


class _OpenRouter:
    """What the stand-in knows.

    Attributes:
        abandoned: set when the measuring process is gone.
    """

    def __init__(self, pipe: Connection) -> None:
        self.abandoned = asyncio.Event()
        self._pipe = pipe
        self._latency = 0.0
        self._spent: set[str] = set()
        self._keys: set[str] = set()
        self._counts: Counter[str] = Counter()
        self._late: dict[asyncio.TimerHandle, tuple[asyncio.WriteTransport, bytes]] = {}

    def obey(self) -> None:
        """Carry out an order of the measuring process; answer with the counts."""
        try:
            order, seconds = self._pipe.recv()
        except EOFError:
            self.abandoned.set()
            return
        if order == "latency":
            self._latency = seconds
        elif order == "release":
            for timer in list(self._late):
                timer.cancel()
                self._send(timer)
        self._pipe.send(Counter(self._counts, waiting=len(self._late)))

    def answer(self, transport: asyncio.WriteTransport, head: bytes, body: bytes) -> None:
        """Answer a request, when it is time."""
        status, answer = self._exchange(body) if head.startswith(b"POST") else self._check(head)
        text = json.dumps(answer).encode()
        response = (
            f"HTTP/1.1 {STATUS_LINES[status]}\r\nContent-Type: application/json\r\n"
            f"Content-Length: {len(text)}\r\n\r\n"
        ).encode() + text
        if not self._latency:
            transport.write(response)
            return
        loop = asyncio.get_running_loop()
        timer = loop.call_later(self._latency, lambda: self._send(timer))
        self._late[timer] = transport, response

    def _send(self, timer: asyncio.TimerHandle) -> None:
        transport, response = self._late.pop(timer)
        transport.write(response)

    def _exchange(self, body: bytes) -> Answer:
        sent = json.loads(body)
        code, verifier = sent["code"], sent["code_verifier"]
        if code in self._spent:
            self._counts["used twice"] += 1
            return _refusal(400, "Invalid code")
        challenge = urlsafe_b64encode(sha256(verifier.encode()).digest()).rstrip(b"=").decode()
        if sent["code_challenge_method"] != "S256" or code.partition(".")[0] != challenge:
            self._counts["refused"] += 1
            return _refusal(403, "Invalid code or code_verifier")
        self._spent.add(code)
        self._counts["exchanged"] += 1
        api_key = key_of(code)
        self._keys.add(api_key)
        return 200, {"key": api_key, "user_id": "user_2yOPcMpKoQhcd4bVgSMlELRaIah"}

    def _check(self, head: bytes) -> Answer:
        api_key = _header(head, b"authorization").removeprefix(b"Bearer ").decode()
        if api_key not in self._keys:
            self._counts["refused"] += 1
            return _refusal(401, "User not found.")
        self._counts["checked"] += 1
        label = f"{api_key[:12]}...{api_key[-3:]}"
        amounts = {"limit": 10, "limit_remaining": 9.25, "limit_reset": "monthly", "usage": 0.75}
        more = {"is_free_tier": False, "is_management_key": False, "expires_at": None}
        return 200, {"data": {"label": label, **amounts, **more}}


class _Conversation(asyncio.Protocol):
    """One connection, with one request after the other."""

    def __init__(self, openrouter: _OpenRouter) -> None:
        self._openrouter = openrouter
        self._received = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.WriteTransport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._received += data
        head, end, body = self._received.partition(b"\r\n\r\n")
        if end and len(body) >= int(_header(head, b"content-length") or 0):
            self._received = b""
            self._openrouter.answer(self._transport, head, body)


def _header(head: bytes, name: bytes) -> bytes:
    for line in head.split(b"\r\n")[1:]:
        found, _, value = line.partition(b":")
        if found.lower() == name:
            return value.strip()
    return b""


def _refusal(status: int, message: str) -> Answer:
    return status, {"error": {"message": message, "code": status}}


async def _serve(pipe: Connection) -> None:
    openrouter = _OpenRouter(pipe)
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: _Conversation(openrouter), HOST, 0, backlog=512)
    pipe.send(server.sockets[0].getsockname()[1])
    loop.add_reader(pipe.fileno(), openrouter.obey)
    await openrouter.abandoned.wait()


def _run(pipe: Connection) -> None:
    # Ctrl-C reaches this process, too; the measuring one tells about it.
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(_serve(pipe))


@contextlib.contextmanager
def running() -> Iterator[Provider]:
    """Start a stand-in in a process of its own, and stop it afterwards."""
    processes = multiprocessing.get_context("spawn")
    ours, theirs = processes.Pipe()
    process = processes.Process(target=_run, args=(theirs,), daemon=True)
    process.start()
    try:
        if not ours.poll(START_SECONDS):
            raise TimeoutError("the stand-in did not start")
        yield Provider(ours)
    finally:
        process.terminate()
        process.join()
