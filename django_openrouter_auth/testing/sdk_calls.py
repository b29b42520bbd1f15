"""The way from httpx, with which the ``openai`` and ``openrouter`` packages call, to ``responses``.

``responses`` sees calls of ``requests`` only. Without this the SDKs would call the real OpenRouter
from a test that believes to have no network.
"""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from importlib import import_module
from typing import Any
from unittest.mock import patch

import requests
from requests.adapters import HTTPAdapter

# Newer versions of the SDKs use httpx2, which has the same interface.
LIBRARIES = ("httpx", "httpx2")


@contextmanager
def sdk_calls_as_requests() -> Iterator[None]:
    """In a block, send what the SDKs would send over the network as ``requests`` would."""
    with ExitStack() as stack:
        for name in LIBRARIES:
            try:
                library = import_module(name)
            except ImportError:
                continue
            _redirect(library, stack)
        yield


def _redirect(library: Any, stack: ExitStack) -> None:
    def send(transport: object, request: Any) -> Any:
        return _send(library, request, request.read())

    async def asend(transport: object, request: Any) -> Any:
        return _send(library, request, await request.aread())

    stack.enter_context(patch.object(library.HTTPTransport, "handle_request", send))
    stack.enter_context(patch.object(library.AsyncHTTPTransport, "handle_async_request", asend))


def _send(library: Any, request: Any, body: bytes) -> Any:
    asked = requests.Request(request.method, str(request.url), dict(request.headers), data=body)
    try:
        answer = HTTPAdapter().send(asked.prepare())
    except requests.Timeout as error:
        raise library.ReadTimeout(str(error), request=request) from None
    except requests.ConnectionError as error:
        raise library.ConnectError(str(error), request=request) from None
    headers = dict(answer.headers)
    return library.Response(
        answer.status_code, headers=headers, content=answer.content, request=request
    )
