"""HTTP to OpenRouter: time, trust, credentials, and where a key may go."""

import os
import shutil
import ssl
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import requests
from django.utils import timezone

from django_openrouter_auth import client, transport
from django_openrouter_auth.client import (
    BearerAuth,
    ExchangedKey,
    OpenRouterConnection,
)
from django_openrouter_auth.exceptions import (
    KeyRejected,
    OpenRouterAuthError,
    ProviderProtocol,
    ProviderUnavailable,
    RateLimited,
    TLSError,
)
from django_openrouter_auth.key_info import read_identifier, read_key_info
from django_openrouter_auth.session import OpenRouterSession

from .authority import Authority
from .standin import EXCHANGE, STATUS, Standin, Wire, cut, drip, known, refusal, reply, silence

KEY = "sk-or-v1-" + "0123456789abcdef" * 4
CHAT = "/api/v1/chat/completions"


def exchange() -> ExchangedKey:
    """Exchange a code on a connection of its own."""
    with OpenRouterConnection() as connection:
        return connection.exchange_code("code", "verifier", "S256")


def failure() -> OpenRouterAuthError:
    """Exchange a code and return the exception that this must raise."""
    with pytest.raises(OpenRouterAuthError) as caught:
        exchange()
    return caught.value


@pytest.fixture
def netrc(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Credentials for every host, which requests would send of its own accord."""
    path = tmp_path / "netrc"
    path.write_text("default login me password secret\n")
    path.chmod(0o600)
    monkeypatch.setenv("NETRC", str(path))


# Time


@pytest.mark.parametrize(
    "answer",
    [
        silence,
        drip(b"HTTP/1.1 200 OK\r\nX-Drip: " + b"x" * 500),
        lambda wire: (wire.send(reply({"key": KEY})[:-60]), wire.drip(b"x" * 60, 0.05)),
    ],
    ids=["silence", "headers", "body"],
)
def test_deadline(standin, settings, answer):
    """A call ends when connect and read timeout together have passed, and says what it may cost."""
    settings.OPENROUTER_AUTH_TIMEOUT = (0.1, 0.2)
    standin.answer(EXCHANGE, answer)
    begun = time.monotonic()
    error = failure()
    assert 0.15 < time.monotonic() - begun < 1
    assert isinstance(error, ProviderUnavailable)
    assert error.outcome_unknown


def test_deadline_that_has_passed(standin, monkeypatch):
    """Once the time is over nothing more is read, even where it is there already."""
    clock = iter([0.0])
    monkeypatch.setattr(client, "time", SimpleNamespace(monotonic=lambda: next(clock, 1000.0)))
    assert failure().code == "provider_unavailable"


def test_patience_shortens_the_call(standin, settings):
    """``patience`` limits one call, whatever the setting allows."""
    settings.OPENROUTER_AUTH_TIMEOUT = (30, 30)
    standin.answer(STATUS, silence)
    begun = time.monotonic()
    with OpenRouterConnection() as connection, pytest.raises(ProviderUnavailable) as caught:
        connection.read_key(KEY, patience=0.1)
    assert time.monotonic() - begun < 1
    assert not caught.value.outcome_unknown


def test_patience_does_not_lengthen_the_call(standin, settings):
    """A short setting stays in force under a long patience."""
    settings.OPENROUTER_AUTH_TIMEOUT = (0.1, 0.1)
    standin.answer(STATUS, silence)
    begun = time.monotonic()
    with OpenRouterConnection() as connection, pytest.raises(ProviderUnavailable):
        connection.read_key(KEY, patience=30)
    assert time.monotonic() - begun < 1


def test_deadline_ends_with_the_call(standin):
    """The deadline of one call is none of the next one's."""
    assert exchange().api_key == standin.minted[0]
    assert transport.call_deadline.get() is None


# Connections


def test_one_connection(standin):
    """Exchange and first ``GET /key`` share a connection; the next conversation opens another."""
    for _ in range(2):
        with OpenRouterConnection() as connection:
            connection.read_key(connection.exchange_code("code", None, None).api_key)
    assert [request.connection for request in standin.journal] == [1, 1, 2, 2]


def test_no_retry_on_a_dead_connection(standin):
    """A connection that was closed between two calls fails the second one without a new try."""
    standin.answer(EXCHANGE, reply({"key": KEY}), reply({"key": KEY}))
    standin.answer(STATUS, cut())
    with OpenRouterConnection() as connection:
        connection.exchange_code("code", None, None)
        with pytest.raises(ProviderUnavailable):
            connection.read_key(KEY)
    assert len(standin.journal) == 2


# Trust


@pytest.fixture
def secure(authority: Authority, settings: Any, bare_environment: None) -> Iterator[Standin]:
    """OpenRouter's API over TLS, under an authority that nobody trusts yet."""
    transport.trust_store.cache_clear()
    with Standin(authority.context) as server:
        settings.OPENROUTER_AUTH_API_URL = server.url
        settings.OPENROUTER_AUTH_TIMEOUT = (2, 3)
        yield server
    transport.trust_store.cache_clear()


def test_unknown_authority(secure):
    """PM 110: a certificate of nobody we know ends the call before anything is sent."""
    error = failure()
    assert isinstance(error, TLSError)
    assert not error.outcome_unknown
    assert secure.journal == []


def test_wrong_name(authority, settings, monkeypatch, secure):
    """A good certificate of another host is none."""
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(authority.bundle))
    monkeypatch.setattr("socket.getaddrinfo", _resolve_to_loopback())
    settings.OPENROUTER_AUTH_API_URL = f"https://elsewhere.example:{secure.port}/api/v1"
    assert isinstance(failure(), TLSError)
    assert secure.journal == []


def _resolve_to_loopback() -> Any:
    import socket

    real = socket.getaddrinfo
    return lambda host, *args, **kwargs: real("127.0.0.1", *args, **kwargs)


@pytest.mark.parametrize("name", ["REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"])
def test_bundle_of_the_environment(authority, secure, monkeypatch, name):
    """An authority that the administrator named is trusted."""
    monkeypatch.setenv(name, str(authority.bundle))
    assert exchange().api_key == secure.minted[0]


def test_folder_of_certificates(authority, secure, monkeypatch, tmp_path):
    """The bundle may be a folder as OpenSSL makes it, one authority a file."""
    from cryptography import x509

    root = x509.load_pem_x509_certificate(authority.bundle.read_bytes())
    shutil.copy(authority.bundle, tmp_path / f"{_subject_hash(root.subject)}.0")
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(tmp_path))
    assert exchange().api_key == secure.minted[0]


def _subject_hash(subject: Any) -> str:
    """Return the name that OpenSSL gives a certificate in such a folder.

    It is the SHA-1 of the canonical subject: for each name a set of one pair of identifier and
    lower-case UTF-8 string, without the outer sequence.
    """
    import hashlib

    (attribute,) = subject
    text = attribute.value.lower().encode()
    identifier = bytes.fromhex("0603550403")
    pair = identifier + bytes([0x0C, len(text)]) + text
    encoded = bytes([0x31, len(pair) + 2, 0x30, len(pair)]) + pair
    digest = hashlib.sha1(encoded, usedforsecurity=False).digest()
    return f"{int.from_bytes(digest[:4], 'little'):08x}"


@pytest.mark.parametrize("content", [None, b"", b"no certificate"], ids=["none", "empty", "text"])
def test_unusable_bundle(secure, monkeypatch, tmp_path, content):
    """A bundle that cannot be read is a matter of trust: nothing was sent."""
    bundle = tmp_path / "bundle.pem"
    if content is not None:
        bundle.write_bytes(content)
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(bundle))
    error = failure()
    assert isinstance(error, TLSError)
    assert not error.outcome_unknown
    assert secure.journal == []


@pytest.fixture
def loads(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Every reading of a bundle."""
    found: list[Any] = []
    real = ssl.SSLContext.load_verify_locations

    def load(context: ssl.SSLContext, *args: Any, **kwargs: Any) -> None:
        found.append((args, kwargs))
        real(context, *args, **kwargs)

    monkeypatch.setattr(ssl.SSLContext, "load_verify_locations", load)
    return found


def test_trust_store_is_read_once(authority, secure, monkeypatch, loads):
    """Many conversations, in several threads, parse the bundle once."""
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(authority.bundle))
    exchange()
    loads_of_the_first = len(loads)
    threads = [threading.Thread(target=exchange) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    exchange()
    assert len(secure.exchanges) == 5
    assert loads_of_the_first == len(loads) == 1


def test_default_trust_store_is_read_once(secure, loads):
    """Without a bundle of one's own, too."""
    for _ in range(3):
        failure()
    assert len(loads) == 1


def test_renewed_bundle(authority, secure, monkeypatch, tmp_path):
    """A bundle that changes on disk is read again."""
    bundle = tmp_path / "bundle.pem"
    shutil.copy(requests.certs.where(), bundle)
    os.utime(bundle, ns=(1, 1))
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(bundle))
    assert isinstance(failure(), TLSError)
    shutil.copy(authority.bundle, bundle)
    os.utime(bundle, ns=(2, 2))
    assert exchange().api_key == secure.minted[0]


def test_deadline_over_tls(authority, secure, settings, monkeypatch):
    """The deadline holds under TLS as well."""
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(authority.bundle))
    settings.OPENROUTER_AUTH_TIMEOUT = (0.3, 0.2)
    secure.answer(EXCHANGE, drip(b"HTTP/1.1 200 OK\r\nX-Drip: " + b"x" * 500))
    begun = time.monotonic()
    assert failure().code == "provider_unavailable"
    assert time.monotonic() - begun < 1.5


# Credentials and ways


def test_netrc_is_ignored(standin, netrc):
    """PM 111: a netrc entry neither adds credentials nor replaces the key."""
    with OpenRouterConnection() as connection:
        connection.read_key(connection.exchange_code("code", None, None).api_key)
    sent = [request.headers["Authorization"] for request in standin.journal]
    assert sent == [None, f"Bearer {standin.minted[0]}"]


def test_proxy_of_the_environment(standin, settings, monkeypatch):
    """A proxy that the administrator set is used."""
    settings.OPENROUTER_AUTH_API_URL = "http://localhost:9/api/v1"
    monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{standin.port}")
    url = "http://localhost:9/api/v1/auth/keys"
    standin.answer(url, reply({"key": KEY}))
    assert exchange().api_key == KEY
    assert [request.path for request in standin.journal] == [url]


def test_deadline_by_way_of_a_proxy(standin, settings, monkeypatch):
    """The deadline holds for what a proxy passes on."""
    settings.OPENROUTER_AUTH_API_URL = "http://localhost:9/api/v1"
    settings.OPENROUTER_AUTH_TIMEOUT = (0.1, 0.2)
    monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{standin.port}")
    slow = drip(b"HTTP/1.1 200 OK\r\nX-Drip: " + b"x" * 500)
    standin.answer("http://localhost:9/api/v1/auth/keys", slow)
    begun = time.monotonic()
    assert failure().code == "provider_unavailable"
    assert time.monotonic() - begun < 1


def test_proxy_that_refuses(standin, settings, monkeypatch):
    """A proxy that opens no tunnel got nothing to pass on, so no key was made."""
    settings.OPENROUTER_AUTH_API_URL = "https://localhost:9/api/v1"
    monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{standin.port}")
    error = failure()
    assert error.code == "provider_unavailable"
    assert not error.outcome_unknown
    assert [request.method for request in standin.journal] == ["CONNECT"]


def test_cookies_are_dropped(standin):
    """PM 112: a cookie of the first answer does not come with the second request."""
    standin.answer(EXCHANGE, reply({"key": KEY}, Set_Cookie="a=b; Path=/"))
    standin.answer(STATUS, known())
    with OpenRouterConnection() as connection:
        connection.exchange_code("code", None, None)
        connection.read_key(KEY)
    assert [request.headers["Cookie"] for request in standin.journal] == [None, None]


@pytest.mark.parametrize(
    ("verifier", "method", "expected"),
    [
        ("v", "S256", {"code": "c", "code_verifier": "v", "code_challenge_method": "S256"}),
        ("v", "plain", {"code": "c", "code_verifier": "v", "code_challenge_method": "plain"}),
        (None, None, {"code": "c"}),
        ("v", None, {"code": "c"}),
    ],
)
def test_body_of_the_exchange(standin, verifier, method, expected):
    """Verifier and method go along where a challenge was sent, and only there."""
    with OpenRouterConnection() as connection:
        connection.exchange_code("c", verifier, method)
    assert standin.exchanges[0].json == expected


@pytest.mark.parametrize(
    ("given", "seconds"),
    [("7", 7), ("0", 0), ("", None), ("-1", None), ("9" * 9, None), ("x", None)],
)
def test_retry_after(standin, given, seconds):
    """PM 90: the wish of OpenRouter is passed on where it is a sensible number of seconds."""
    standin.answer(EXCHANGE, reply(status=429, Retry_After=given))
    error = failure()
    assert isinstance(error, RateLimited)
    assert (error.retry_after, error.stage, error.status_code) == (seconds, "exchange", 429)


@pytest.mark.parametrize(
    ("given", "seconds"),
    [
        ("Wed, 21 Oct 2026 07:29:30 GMT", 90),
        ("Wed, 21 Oct 2026 07:00:00 GMT", 0),
        ("Thu, 22 Oct 2026 11:14:39 GMT", 99_999),
        ("Thu, 22 Oct 2026 11:14:40 GMT", None),
        ("Wed, 21 Oct 2099 07:00:00 GMT", None),
        ("Wed, 99 Oct 2026 07:00:00 GMT", None),
    ],
)
@pytest.mark.parametrize("status", [429, 503])
def test_retry_after_a_date(standin, monkeypatch, given, seconds, status):
    """The wish may be a date, and come with a server error; one that is too far is none."""
    monkeypatch.setattr(client.time, "time", lambda: 1792567680.0)
    standin.answer(EXCHANGE, reply(status=status, Retry_After=given))
    assert failure().retry_after == seconds


def test_rejected_key(standin):
    """401 at ``GET /key`` is a dead key; at the exchange it is not understood."""
    with OpenRouterConnection() as connection, pytest.raises(KeyRejected) as caught:
        connection.read_key(KEY)
    assert caught.value.stage == "status"
    standin.answer(EXCHANGE, refusal(401, "x"))
    assert isinstance(failure(), ProviderProtocol)


def test_trailing_slash(standin, settings):
    """A slash at the end of ``API_URL`` makes no double slash."""
    settings.OPENROUTER_AUTH_API_URL += "/"
    exchange()
    assert len(standin.exchanges) == 1


# A session with a key


@pytest.fixture
def pool() -> Iterator[None]:
    """Connections of this thread, closed when the test ends."""
    vars(client._per_thread).clear()
    yield
    client.of_this_thread(client.OpenRouterAdapter).close()
    vars(client._per_thread).clear()


@pytest.fixture
def session(standin: Standin, pool: None) -> OpenRouterSession:
    """A session whose key is fine, whatever one call may answer."""
    standin.minted.append(KEY)
    return OpenRouterSession(KEY, confirm_rejection=lambda: None)


@pytest.mark.parametrize(
    "path",
    ["chat/completions", "/chat/completions", "//chat/completions", "{url}/chat/completions"],
)
def test_paths(session, standin, path):
    """A path, with or without a slash, is below the API; so is a full URL of it."""
    standin.answer(CHAT, reply({"id": "gen-1"}))
    assert session.post(path.format(url=standin.url), json={"model": "x"}).json() == {"id": "gen-1"}
    (request,) = standin.journal
    assert request.path == CHAT
    assert request.headers["Authorization"] == f"Bearer {KEY}"
    assert request.json == {"model": "x"}


def test_query_with_a_url(session, standin):
    """What looks like a scheme further on does not make a path a URL."""
    session.get("models/a:free/endpoints?next=https://x.example/", params={"a": "b"})
    assert standin.journal[0].path == "/api/v1/models/a:free/endpoints?next=https://x.example/&a=b"


def test_other_origins(session, standin, subtests):
    """A URL of another origin, however it is written, is refused before anything is sent."""
    with Standin(host="localhost") as other:
        host, port = "127.0.0.1", standin.port
        for url in (
            f"{other.url}/chat/completions",
            f"http://127.0.0.1:{other.port}/",
            f"https://{host}:{port}/api/v1/key",
            f"http://localhost:{port}/api/v1/key",
            f"http://{host}:{port}@localhost:{other.port}/",
            f"http://localhost:{other.port}\\@{host}:{port}/",
            f" http://localhost:{other.port}/",
            f"\thttp://localhost:{other.port}/",
            f"HTTP://LOCALHOST:{other.port}/",
            f"http://{host}:99999/",
            f"http://{host}:abc/",
            "http://[::1",
            "http:/localhost",
            "http:localhost",
            "http:",
            "file:///etc/passwd",
            "data:,x",
        ):
            with subtests.test(url=url), pytest.raises(requests.exceptions.RequestException):
                session.post(url, json={"prompt": "x"})
        assert other.journal == []
    assert {request.path.partition("/api/v1")[0] for request in standin.journal} <= {""}


def test_prepared_request_of_another_origin(session, standin):
    """A request that was prepared elsewhere does not get the key either."""
    prepared = requests.Request("GET", "http://localhost:9/", auth=session.auth).prepare()
    assert "Authorization" not in prepared.headers


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_redirects_to_another_origin(session, standin, status):
    """A redirect to another origin is handed to the caller, and not followed."""
    with Standin(host="localhost") as other:
        standin.answer(CHAT, reply(status=status, Location=f"{other.url}/key"))
        response = session.post("chat/completions", json={"prompt": "x"})
        assert other.journal == []
    assert response.status_code == status
    assert len(standin.journal) == 1


@pytest.mark.parametrize("location", ["http://[::1", "\xff\xfe", "http://127.0.0.1:99999/"])
def test_damaged_redirects(session, standin, location):
    """A redirect to nowhere is an answer like any other."""
    standin.answer(CHAT, reply(status=307, Location=location))
    assert session.post("chat/completions", json={}).status_code == 307


@pytest.mark.parametrize("location", ["/api/v1/key", "{url}/key"])
def test_redirects_inside_the_origin(session, standin, netrc, location):
    """A redirect inside the origin is followed with the key, whatever a netrc file says."""
    standin.answer(CHAT, reply(status=302, Location=location.format(url=standin.url)))
    response = session.get("chat/completions")
    assert response.json()["data"]["limit"] == 10
    sent = [request.headers["Authorization"] for request in standin.journal]
    assert sent == [f"Bearer {KEY}"] * 2


def test_session_ignores_netrc(session, standin, netrc):
    """A netrc entry does not replace the key."""
    session.get("key")
    assert standin.journal[0].headers["Authorization"] == f"Bearer {KEY}"


def test_session_drops_cookies(session, standin):
    """A cookie of one answer does not come with the next request."""
    standin.answer(CHAT, reply({}, Set_Cookie="a=b; Path=/"))
    session.post("chat/completions", json={})
    session.get("key")
    assert standin.journal[1].headers["Cookie"] is None


def test_default_time_limit(session, standin, settings):
    """Calls without a time limit get the one of the settings."""
    settings.OPENROUTER_AUTH_TIMEOUT = (0.1, 0.1)
    standin.answer(CHAT, silence)
    with pytest.raises(requests.Timeout):
        session.post("chat/completions", json={})


def test_own_time_limit(session, standin, settings):
    """A time limit of the caller wins."""
    settings.OPENROUTER_AUTH_TIMEOUT = (30, 30)
    standin.answer(CHAT, silence)
    with pytest.raises(requests.Timeout):
        session.post("chat/completions", json={}, timeout=0.1)


@pytest.mark.parametrize("title", ["Meine App", "写作助手", "Café ☕"])
def test_attribution(standin, pool, settings, title):
    """The names of the site go along, as UTF-8 where they need it."""
    settings.OPENROUTER_AUTH_APP_TITLE = title
    settings.OPENROUTER_AUTH_APP_URL = "https://app.example"
    OpenRouterSession(KEY, confirm_rejection=lambda: None).get("models")
    headers = standin.journal[0].headers
    assert headers["X-OpenRouter-Title"].encode("latin-1").decode() == title
    assert headers["HTTP-Referer"] == "https://app.example"
    assert headers["User-Agent"].startswith("django-openrouter-auth/")


def test_no_attribution(session, standin):
    """Without the settings no such header is sent."""
    session.get("models")
    headers = standin.journal[0].headers
    assert headers["X-OpenRouter-Title"] is None
    assert headers["HTTP-Referer"] is None
    assert headers["Referer"] is None


def test_confirmed_401(standin, pool):
    """After a confirmed 401 the session sends nothing more: one 401 must stop the loop."""
    asked: list[bool] = []

    def confirm() -> KeyRejected:
        asked.append(True)
        return KeyRejected(stage="use")

    session = OpenRouterSession(KEY, confirm_rejection=confirm)
    standin.answer(CHAT, refusal(401, "User not found."))
    for _ in range(3):
        with pytest.raises(KeyRejected) as caught:
            session.post("chat/completions", json={})
        assert caught.value.stage == "use"
    assert len(standin.journal) == len(asked) == 1


def test_unconfirmed_401(session, standin):
    """A 401 that ``GET /key`` does not confirm is an ordinary answer."""
    standin.answer(CHAT, refusal(401, "Provider says no"))
    response = session.post("chat/completions", json={})
    assert response.status_code == 401
    assert response.json()["error"]["message"] == "Provider says no"
    assert session.get("key").status_code == 200


@pytest.mark.parametrize("status", [400, 402, 403, 404, 429, 500, 503])
def test_other_statuses_are_not_looked_into(standin, pool, status):
    """Only a 401 raises the question whether the key is dead."""
    session = OpenRouterSession(KEY, confirm_rejection=lambda: pytest.fail("asked"))
    standin.answer(CHAT, refusal(status, "x"))
    assert session.post("chat/completions", json={}).status_code == status


def test_streaming(session, standin):
    """Answers can be read while they come in: the second part waits for the first to be seen."""
    seen = threading.Event()

    def play(wire: Wire) -> None:
        head = reply(content_type="text/event-stream", Transfer_Encoding="chunked")
        wire.send(head.replace(b"Content-Length: 0\r\n", b""))
        wire.send(b"9\r\ndata: 1\n\n\r\n")
        if seen.wait(2):
            wire.send(b"9\r\ndata: 2\n\n\r\n")
        wire.send(b"0\r\n\r\n")

    standin.answer(CHAT, play)
    found = []
    with session.post("chat/completions", json={"stream": True}, stream=True) as response:
        for line in response.iter_lines(chunk_size=1):
            found.append(line)
            seen.set()
    assert found == [b"data: 1", b"", b"data: 2", b""]


def test_connections_are_kept(session, standin):
    """Sessions of one thread share its connections, also when one of them was closed."""
    session.get("key")
    session.close()
    with OpenRouterSession(KEY, confirm_rejection=lambda: None) as another:
        another.get("key")
    session.get("key")
    assert [request.connection for request in standin.journal] == [1, 1, 1]


def test_connections_belong_to_a_thread(session, standin):
    """Another thread opens a connection of its own."""

    def elsewhere() -> None:
        OpenRouterSession(KEY, confirm_rejection=lambda: None).get("key")
        client.of_this_thread(client.OpenRouterAdapter).close()

    session.get("key")
    thread = threading.Thread(target=elsewhere)
    thread.start()
    thread.join()
    session.get("key")
    assert [request.connection for request in standin.journal] == [1, 2, 1]


def test_bearer_shows_nothing():
    """Credentials show no key."""
    assert KEY not in repr(BearerAuth(KEY)) + str(vars(BearerAuth(KEY)))
    assert KEY not in repr(ExchangedKey(KEY, "user_1"))


# What OpenRouter says about a key


@pytest.mark.parametrize(
    ("given", "read"),
    [
        (0, Decimal(0)),
        (1.5, Decimal("1.5")),
        ("2.50", Decimal("2.5")),
        (-3, Decimal(-3)),
        (0.1234567891, Decimal("0.123456789")),
        (1e-300, Decimal(0)),
        (10**9 - 1, Decimal(10**9 - 1)),
        (True, None),
        (None, None),
        ([1], None),
        ("ten", None),
        ("1e999999999999999999999", None),
        ("9" * 5000, None),
        (10**9, None),
        (float("inf"), None),
        (float("nan"), None),
        ("sNaN", None),
    ],
    ids=lambda value: ascii(value)[:30],
)
def test_amounts(given, read):
    """126: an amount is a number that fits the column, or unknown."""
    assert read_key_info({"usage": given}).usage == read


@pytest.mark.parametrize(
    ("given", "read"),
    [
        ("2099-01-02T03:04:05Z", datetime(2099, 1, 2, 3, 4, 5, tzinfo=UTC)),
        ("2099-01-02T03:04:05+02:00", datetime(2099, 1, 2, 1, 4, 5, tzinfo=UTC)),
        ("2099-01-02T03:04:05", datetime(2099, 1, 2, 3, 4, 5, tzinfo=UTC)),
        ("1970-01-01T00:00:00Z", datetime(1970, 1, 1, tzinfo=UTC)),
        ("1969-12-31T23:59:59Z", None),
        ("2099-02-30T00:00:00Z", None),
        ("9999-12-31T23:59:59-12:00", None),
        ("0001-01-01T00:00:00+14:00", None),
        ("soon", None),
        ("", None),
        (None, None),
        (1, None),
    ],
)
def test_moments(settings, given, read):
    """126: a time is one that every time zone can show, or unknown; without a zone it is ours."""
    settings.TIME_ZONE = "UTC"
    assert read_key_info({"expires_at": given}).expires_at == read


def test_moments_without_time_zones(settings):
    """A site without time zones gets its own local time, whatever zone a request has chosen."""
    settings.USE_TZ, settings.TIME_ZONE = False, "Europe/Berlin"
    with timezone.override("Asia/Tokyo"):
        found = read_key_info({"expires_at": "2099-01-02T03:04:05Z"}).expires_at
    assert found == datetime(2099, 1, 2, 4, 4, 5)  # noqa: DTZ001 - such a site has no zones


@pytest.mark.parametrize(
    ("given", "read"),
    [({"limit": None}, False), ({"limit": 5}, True), ({"limit": "x"}, None), ({}, None)],
)
def test_limited(given, read):
    """Only ``null`` says that there is no limit; what cannot be read says nothing."""
    assert read_key_info(given).is_limited is read


def test_texts():
    """126: a text is short and printable, or empty."""
    info = read_key_info({"label": "a\x00b\u202ec\ud800d\n" + "x" * 200, "limit_reset": ["daily"]})
    assert info.label == "abcd" + "x" * 92
    assert info.limit_reset == ""
    assert read_key_info({"limit_reset": "x" * 21}).limit_reset == "x" * 20


@pytest.mark.parametrize(("given", "read"), [(True, True), (False, False), (None, None), (1, None)])
def test_flags(given, read):
    """126: a flag is true or false, or unknown."""
    assert read_key_info({"is_free_tier": given}).is_free_tier is read


@pytest.mark.parametrize(
    ("given", "read"),
    [
        ("user_2yO.P-c:M", "user_2yO.P-c:M"),
        ("ü", ""),
        ("a\n", ""),
        ("x" * 256, ""),
        (1, ""),
        ("", ""),
    ],
    ids=lambda value: ascii(value)[:20],
)
def test_identifiers(given, read):
    """PM 116: an identifier is a word of ASCII, or nothing."""
    assert read_identifier(given) == read


def test_connections_are_not_shared_with_a_forked_process(monkeypatch):
    """After a fork a process opens connections of its own: answers would be mixed up."""
    mine = client.of_this_thread(client.OpenRouterAdapter)
    assert client.of_this_thread(client.OpenRouterAdapter) is mine
    monkeypatch.setattr(client.os, "getpid", lambda: -1)
    theirs = client.of_this_thread(client.OpenRouterAdapter)
    assert theirs is not mine
    monkeypatch.undo()


def test_socks_proxy_keeps_its_own_classes():
    """A SOCKS proxy works: its connections are made by the classes that know how."""
    adapter = client.OpenRouterAdapter()
    own = SimpleNamespace(pool_classes_by_scheme="theirs")
    adapter.proxy_manager["socks5h://127.0.0.1:1"] = own
    assert adapter.proxy_manager_for("socks5h://127.0.0.1:1").pool_classes_by_scheme == "theirs"


@pytest.mark.parametrize("proxy", ["http://", "http://["])
def test_unusable_proxy_has_sent_nothing(settings, monkeypatch, proxy):
    """A proxy setting that cannot be used is not followed by a warning about a lost key."""
    settings.OPENROUTER_AUTH_API_URL = "https://api.example/v1"
    monkeypatch.setenv("HTTPS_PROXY", proxy)
    with OpenRouterConnection() as connection, pytest.raises(Exception) as caught:  # noqa: PT011
        connection.exchange_code("code", None, None)
    assert not getattr(caught.value, "outcome_unknown", False)
