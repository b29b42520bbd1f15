"""What an answer of OpenRouter means, in full: kind, stage, status, time to wait, lost key."""

from functools import partial

import pytest
import requests
from urllib3 import HTTPConnectionPool
from urllib3.connection import HTTPConnection
from urllib3.exceptions import MaxRetryError, NewConnectionError

from django_openrouter_auth.client import MAX_BODY, OpenRouterConnection, _was_never_sent
from django_openrouter_auth.exceptions import (
    ExchangeRejected,
    KeyRejected,
    OpenRouterAuthError,
    ProviderProtocol,
    ProviderUnavailable,
    RateLimited,
)

from .standin import EXCHANGE, STATUS, cut, endless, reply

KEY = "sk-or-v1-" + "0123456789abcdef" * 4
GOOD = {"key": KEY, "data": {"usage": 1}}
OPEN_END = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n"
POOL = HTTPConnectionPool("openrouter.ai")
UNREACHED = NewConnectionError(HTTPConnection("openrouter.ai"), "")


def ask(standin, path, answer):
    """Return what an answer to the exchange, or to ``GET /key``, is taken for."""
    standin.answer(path, answer)
    with OpenRouterConnection() as connection:
        exchange = partial(connection.exchange_code, "code", None, None)
        check = partial(connection.read_key, KEY)
        with pytest.raises(OpenRouterAuthError) as caught:
            exchange() if path == EXCHANGE else check()
    error = caught.value
    assert error.stage == ("exchange" if path == EXCHANGE else "status")
    return type(error), error.status_code, error.retry_after, error.outcome_unknown


@pytest.mark.parametrize(
    ("answer", "kind", "status", "wait"),
    [
        (reply(GOOD, content_type="text/html"), ProviderProtocol, 200, None),
        (reply(GOOD, content_type=None), ProviderProtocol, 200, None),
        (reply(GOOD, Content_Encoding="gzip"), ProviderProtocol, 200, None),
        (reply(GOOD, Content_Length="65537"), ProviderProtocol, 200, None),
        (reply(GOOD, status=202), ProviderProtocol, 202, None),
        (reply(GOOD, status=299), ProviderProtocol, 299, None),
        (reply([], status=201), ProviderProtocol, 201, None),
        (reply({"data": 1}), ProviderProtocol, 200, None),
        (reply(b'{"key": 1, "key": 2, "data": {}, "data": {}}'), ProviderProtocol, 200, None),
        (reply(b'{"key": }\n'), ProviderProtocol, 200, None),
        (reply('{"a": 1}'.encode("utf-16-le")), ProviderProtocol, 200, None),
        (endless(OPEN_END, b" " * 1024), ProviderProtocol, 200, None),
        (cut(reply(GOOD)[:-1]), ProviderUnavailable, 200, None),
        (reply(b' {"key": "sk-or', status=201), ProviderUnavailable, 201, None),
        (reply(status=408, Retry_After="7"), ProviderUnavailable, 408, 7),
        (reply(status=500, Retry_After="7"), ProviderUnavailable, 500, 7),
        (reply(status=599), ProviderUnavailable, 599, None),
    ],
)
@pytest.mark.parametrize("path", [EXCHANGE, STATUS])
def test_key_that_may_be_lost(standin, path, answer, kind, status, wait):
    """Whatever may have come after a success leaves open whether there is a key nobody has."""
    assert ask(standin, path, answer) == (kind, status, wait, path == EXCHANGE)


@pytest.mark.parametrize(
    ("path", "answer", "kind", "status", "wait"),
    [
        (EXCHANGE, reply(status=429, Retry_After="7"), RateLimited, 429, 7),
        (STATUS, reply(status=429, Retry_After="7"), RateLimited, 429, 7),
        (EXCHANGE, reply(status=400), ExchangeRejected, 400, None),
        (EXCHANGE, reply(status=403), ExchangeRejected, 403, None),
        (EXCHANGE, reply(status=401), ProviderProtocol, 401, None),
        (EXCHANGE, reply(status=409), ProviderProtocol, 409, None),
        (STATUS, reply(status=400), ProviderProtocol, 400, None),
        (STATUS, reply(status=401), KeyRejected, 401, None),
        (EXCHANGE, reply(status=199), ProviderProtocol, 199, None),
        (EXCHANGE, reply(status=300), ProviderProtocol, 300, None),
        (EXCHANGE, reply(status=499), ProviderProtocol, 499, None),
        (EXCHANGE, reply(status=600), ProviderProtocol, 600, None),
    ],
)
def test_no_key_is_lost(standin, path, answer, kind, status, wait):
    """An answer that says no has made no key."""
    assert ask(standin, path, answer) == (kind, status, wait, False)


def test_key_beside_an_error(standin):
    """A key that comes with an error is not taken."""
    answer = reply(GOOD | {"error": "no"})
    assert ask(standin, EXCHANGE, answer) == (ProviderProtocol, 200, None, True)


@pytest.mark.parametrize(("key", "warnings"), [(KEY, 0), ("x" * 40, 1)])
def test_unknown_prefix(standin, caplog, key, warnings):
    """A key of another shape is taken, with a line in the log."""
    standin.answer(EXCHANGE, reply({"key": key}))
    with OpenRouterConnection() as connection:
        assert connection.exchange_code("code", None, None).api_key == key
    assert [text for text in caplog.messages if "prefix" in text] == [
        "openrouter exchange gave a key with an unknown prefix"
    ] * warnings


def test_charset_and_case(standin):
    """Type and encoding may be written in any case, with blanks, and the type with a charset."""
    content_type = " Application/JSON ; charset=utf-8"
    answer = reply(GOOD, content_type=content_type, Content_Encoding=" Identity ")
    standin.answer(EXCHANGE, answer)
    with OpenRouterConnection() as connection:
        assert connection.exchange_code("code", None, None).api_key == KEY


def test_longest_answer(standin):
    """An answer of 64 KiB is read, and one byte more is too much."""
    body = b'{"data": {}}'.ljust(MAX_BODY)
    standin.answer(STATUS, cut(reply(body, Content_Length=None)), reply(body))
    for _ in range(2):
        with OpenRouterConnection() as connection:
            assert connection.read_key(KEY).usage is None
    longer = cut(reply(body + b" ", Content_Length=None))
    assert ask(standin, STATUS, longer) == (ProviderProtocol, 200, None, False)


def test_number_that_is_none(standin):
    """NaN, which is no JSON, does not stand for "no limit"."""
    standin.answer(STATUS, reply(b'{"data": {"limit": NaN, "usage": Infinity}}'))
    with OpenRouterConnection() as connection:
        info = connection.read_key(KEY)
    assert (info.limit, info.is_limited, info.usage) == (None, None, None)


def test_address(standin, settings):
    """Only slashes are taken away at the end of the address of the API."""
    settings.OPENROUTER_AUTH_API_URL += "/X/"
    with OpenRouterConnection() as connection, pytest.raises(ProviderProtocol):
        connection.read_key(KEY)
    assert standin.journal[0].path.endswith("/X/key")


def test_headers_of_a_request(standin):
    """OpenRouter is told who asks, and that the answer shall be plain JSON."""
    with OpenRouterConnection() as connection:
        connection.exchange_code("code", None, None)
    [request] = standin.journal
    assert request.method == "POST"
    assert request.headers["User-Agent"].startswith("django-openrouter-auth/")
    assert request.headers["Accept"] == "application/json"
    assert request.headers["Accept-Encoding"] == "identity"


@pytest.mark.parametrize("date", ["Sat, 21 Nov 2026 10:00:00 GMT", None])
def test_probe(standin, date):
    """The probe tells status and date of the answer, and sends no key."""
    standin.answer(STATUS, reply(status=401, Date=date))
    with OpenRouterConnection() as connection:
        assert connection.probe() == (401, date or "")
    assert standin.journal[0].headers["Authorization"] is None


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (requests.ConnectTimeout(), True),
        (requests.ConnectionError(MaxRetryError(POOL, "", UNREACHED)), True),
        (requests.ConnectionError(UNREACHED), True),
        (requests.ConnectionError(MaxRetryError(POOL, "", OSError())), False),
        (requests.ConnectionError("reset"), False),
        (OSError(), False),
    ],
    ids=repr,
)
def test_never_sent(error, expected):
    """Only where no connection came about it is certain that nothing was sent."""
    assert _was_never_sent(error) is expected
