"""Connections below ``requests``: a deadline for the whole call, and one trust store per process.

requests and urllib3 bound each wait for bytes, never the sum of the waits: a provider that drips
one byte a second would hold a worker for hours. And for every new TLS connection they parse the
whole CA bundle again.
"""

import io
import time
from contextvars import ContextVar
from functools import lru_cache
from http.client import HTTPResponse
from pathlib import Path
from ssl import SSLContext
from typing import Any

from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.util.ssl_ import create_urllib3_context

call_deadline: ContextVar[float | None] = ContextVar("openrouter_call_deadline", default=None)
"""When the call under way must be over, on the monotonic clock; ``None`` for no bound."""


MOST_BYTES = 512 * 1024


class AnswerTooLong(Exception):
    """Raised when a call's answer, headers and framing included, does not come to an end.

    No ``OSError``, so that urllib3 passes it on as it is.
    """


class _DeadlineReader(io.RawIOBase):
    """Read from a socket; stop when the call's deadline has passed or its answer is too long.

    Whoever reads the body cannot see to the length alone: ``http.client`` reads without bound for
    a chunk of negative size, and reads as many ``100 Continue`` as come.
    """

    def __init__(self, raw: io.RawIOBase, sock: Any, deadline: float) -> None:
        self._raw, self._sock, self._deadline = raw, sock, deadline
        self._left = MOST_BYTES

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        left = self._deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError("deadline")
        patience = self._sock.gettimeout()
        self._sock.settimeout(left if patience is None else min(left, patience))
        count = self._raw.readinto(buffer)
        self._left -= count or 0
        if self._left < 0:
            raise AnswerTooLong
        return count

    def close(self) -> None:
        self._raw.close()
        super().close()


class _DeadlineResponse(HTTPResponse):
    def __init__(self, sock: Any, *args: Any, **kwargs: Any) -> None:
        super().__init__(sock, *args, **kwargs)
        deadline = call_deadline.get()
        if deadline is not None:
            raw = self.fp.detach()
            self.fp = io.BufferedReader(_DeadlineReader(raw, sock, deadline))


class _HTTPConnection(HTTPConnection):
    response_class = _DeadlineResponse


class _HTTPSConnection(HTTPSConnection):
    response_class = _DeadlineResponse


class _HTTPConnectionPool(HTTPConnectionPool):
    ConnectionCls = _HTTPConnection


class _HTTPSConnectionPool(HTTPSConnectionPool):
    ConnectionCls = _HTTPSConnection


POOLS_BY_SCHEME = {"http": _HTTPConnectionPool, "https": _HTTPSConnectionPool}


@lru_cache(maxsize=4)
def trust_store(path: str, changed_at: int) -> SSLContext:
    """Return the trust store of a CA bundle, parsed once per process.

    Args:
        path: a file or a folder of certificates.
        changed_at: when it was changed on disk; a renewed bundle is parsed anew.

    Raises:
        OSError: the bundle cannot be used.
    """
    context = create_urllib3_context()
    if Path(path).is_dir():
        context.load_verify_locations(capath=path)
    else:
        context.load_verify_locations(cafile=path)
    return context
