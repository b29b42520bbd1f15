"""What OpenRouter can do wrong at the exchange: group PM of the threat model's catalogue.

Every case goes through :func:`come_back`, which also checks what all of them promise: one
exchange and no second try, a spent attempt, a message with the code, an old connection untouched
to the byte (RC 59), a clean answer, and nothing leaked.
"""

import gc
import gzip
import json
import re
import resource
import secrets
import socket
import sys
import warnings
import zlib
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import urllib3
from django.contrib.auth.models import User
from django.contrib.messages import get_messages
from django.test import Client
from django.utils import timezone
from requests.adapters import HTTPAdapter

from django_openrouter_auth.models import ConnectAttempt, OpenRouterKey
from django_openrouter_auth.shortcuts import get_api_key

from .connecting import OTHER_KEY, is_clean, message_text, outcome, row, start
from .faults.outcomes import record_answer
from .leakscan import LeakScan
from .standin import (
    EXCHANGE,
    Answer,
    Standin,
    Wire,
    cut,
    drip,
    endless,
    refusal,
    reply,
    reset,
    silence,
)

pytestmark = pytest.mark.django_db

KEY = "sk-or-v1-" + secrets.token_hex(32)
GOOD = {"key": KEY, "user_id": "user_2yOPcMpKoQ"}
# Stands for whatever OpenRouter says in an error: people and logs get to see none of it.
TEXT = "words-of-the-provider-" + secrets.token_hex(8)
HTML = f"<html><title>{TEXT}</title><form><input name='password'></form></html>".encode()
ORPHAN = "A key that nobody uses may now be in your OpenRouter account"


@pytest.fixture
def old_key(user: User) -> OpenRouterKey:
    """An existing connection of the user."""
    return OpenRouterKey.objects.create(
        user=user,
        **OpenRouterKey.derive(user.pk, OTHER_KEY),
        source="oauth",
        connected_at=timezone.now(),
    )


@pytest.fixture
def come_back(
    browser: Client,
    old_key: OpenRouterKey,
    standin: Standin,
    leaks: LeakScan,
    request: pytest.FixtureRequest,
) -> Callable[..., Any]:
    """Return from OpenRouter with a code to a stand-in that answers as it is told."""
    code = f"auth_code_{secrets.token_hex(16)}"

    def come_back(*answers: Answer) -> Any:
        standin.answer(EXCHANGE, *answers)
        started = start(browser)
        leaks.plant(key=KEY, old_key=OTHER_KEY, code=code, text=TEXT)
        verifier = ConnectAttempt.objects.latest("pk").code_verifier
        if verifier is not None:
            leaks.plant(verifier=verifier.reveal())
        response = browser.get(started.path, {"code": code})
        leaks.search_response("callback", response)
        leaks.search_browser("after the callback", browser)
        record_answer(request.node, response)
        return response

    return come_back


@pytest.fixture
def refused(
    come_back: Callable[..., Any], browser: Client, standin: Standin, leaks: LeakScan
) -> Callable[..., Any]:
    """Check all that an exchange promises that does not end with a key."""

    def refused(expected: str, *answers: Answer, orphan: bool = False, exchanges: int = 1) -> Any:
        before = row()
        response = come_back(*answers)
        assert outcome(response) == ("error", expected)
        assert (ORPHAN in message_text(response)) is orphan
        assert is_clean(response)
        assert response["Location"] == "/openrouter/"
        assert [request.path for request in standin.journal] == [EXCHANGE] * exchanges
        attempt = ConnectAttempt.objects.get()
        assert attempt.outcome == expected
        assert attempt.claimed_at is not None
        assert row() == before
        page = browser.get("/openrouter/")
        assert page.status_code == 200
        leaks.search_response("connection page", page)
        return response

    return refused


@pytest.fixture
def accepted(
    come_back: Callable[..., Any], standin: Standin, user: User
) -> Callable[..., OpenRouterKey]:
    """Check all that an exchange promises that ends with a key."""

    def accepted(*answers: Answer, key: str = KEY) -> OpenRouterKey:
        standin.minted.append(key)
        response = come_back(*answers)
        assert outcome(response) == ("success", "connected")
        assert is_clean(response)
        assert len(standin.exchanges) == 1
        assert ConnectAttempt.objects.get().outcome == "connected"
        assert get_api_key(user) == key
        return OpenRouterKey.objects.get()

    return accepted


# Statuses


@pytest.mark.parametrize(
    ("status", "message"),
    [
        (400, "Invalid code"),
        (400, "Invalid code_challenge_method"),
        (403, "Invalid code or code_verifier"),
        (403, "Authorization code expired"),
    ],
)
def test_refused_code(refused, status, message):
    """PM 87, 118: 400 and 403 are a refused code, told in the same words whatever the reason."""
    response = refused("exchange_rejected", refusal(status, message))
    assert "OpenRouter did not accept the code" in message_text(response)
    assert message not in message_text(response)


@pytest.mark.parametrize(
    "body",
    [
        {"success": False, "error": {"name": "ZodError", "message": f'["{TEXT}"]'}},
        {"error": TEXT},
        [TEXT],
        HTML,
        b"",
    ],
    ids=["Zod", "string", "list", "HTML", "empty"],
)
@pytest.mark.parametrize("status", [400, 403])
def test_the_body_of_a_refusal_does_not_matter(refused, status, body):
    """PM 87: only the status says that the code was refused."""
    refused("exchange_rejected", reply(body, status=status))


@pytest.mark.parametrize("status", [401, 402, 404, 405, 409, 410, 415, 418, 422, 451])
def test_other_client_errors(refused, status):
    """PM 88: no other 4xx is foreseen, so OpenRouter is not understood."""
    refused("provider_protocol", refusal(status, TEXT))


def test_request_timeout(refused):
    """PM 89: after 408 OpenRouter may have made a key all the same."""
    refused("provider_unavailable", refusal(408, TEXT), orphan=True)


@pytest.mark.parametrize("retry_after", ["7", "Wed, 21 Oct 2026 07:28:00 GMT", "-1", "9" * 400])
def test_too_many_requests(refused, retry_after):
    """PM 90: 429 asks for patience; nobody sleeps, and nothing is sent again."""
    answer = reply({"error": TEXT}, status=429, Retry_After=retry_after)
    refused("rate_limited", answer)


@pytest.mark.parametrize("status", [500, 502, 503, 504, 520, 524, 529, 599])
def test_server_errors(refused, status):
    """PM 91: any 5xx is OpenRouter being down, and its page stays unseen."""
    answer = reply(HTML, status=status, content_type="text/html")
    refused("provider_unavailable", answer, orphan=True)


def test_continue_comes_before_the_answer(accepted):
    """PM 92: ``100 Continue`` is not the answer yet."""
    accepted(b"HTTP/1.1 100 Continue\r\n\r\n" + reply(GOOD))


@pytest.mark.parametrize("status", [102, 103, 199, 206, 226, 600, 999])
def test_strange_statuses(refused, status):
    """PM 92: a status with no meaning here is no success, though a key may have been made."""
    refused("provider_protocol", reply(GOOD, status=status), orphan=200 <= status <= 299)


@pytest.mark.parametrize("status", [201, 200])
def test_success(accepted, status):
    """PM 96: 200 and 201 with a usable key connect."""
    accepted(reply(GOOD, status=status))


@pytest.mark.parametrize("status", [202, 204, 205])
def test_success_without_an_answer(refused, status):
    """PM 95: these successes promise no body, so they bring no key."""
    refused("provider_protocol", reply(status=status), orphan=True)


@pytest.mark.parametrize(
    ("status", "location"),
    [
        *((status, "{other}") for status in (300, 301, 302, 303, 304, 305, 307, 308)),
        *((307, where) for where in ("/api/v1/elsewhere", "", "//", "http://[::1", "http://a:b")),
        (302, "\xff\xfe"),
    ],
)
def test_redirects_are_not_followed(refused, status, location):
    """PM 97: code and verifier go to no second address, however the redirect is written."""
    with Standin(host="localhost") as other:
        answer = reply(GOOD, status=status, Location=location.format(other=other.url))
        refused("provider_protocol", answer)
        assert other.journal == []


# Kinds of content


@pytest.mark.parametrize(
    "content_type",
    [
        "text/html",
        "text/plain",
        "application/xml",
        "application/jsonp",
        "application/problem+json",
        "text/event-stream",
        "",
        "application/json, text/html",
        None,
    ],
)
def test_other_content_types(refused, content_type):
    """PM 93, 94: only ``application/json`` is JSON, even where the body would be."""
    refused("provider_protocol", reply(GOOD, content_type=content_type), orphan=True)


def test_login_page(refused):
    """PM 93: the login page of a captive portal is not OpenRouter."""
    refused("provider_protocol", reply(HTML, content_type="text/html; charset=utf-8"), orphan=True)


def test_html_called_json(refused):
    """PM 94: a page does not become JSON by its header."""
    refused("provider_protocol", reply(HTML), orphan=True)


@pytest.mark.parametrize(
    "content_type", ["application/json; charset=utf-8", "Application/JSON", " application/json ;x"]
)
def test_content_type_may_be_written_otherwise(accepted, content_type):
    """PM 96: letter case and parameters of the content type do not matter."""
    accepted(reply(GOOD, content_type=content_type))


@pytest.mark.parametrize("body", [b"", b" ", b"\n\n"])
def test_empty_body(refused, body):
    """PM 95: 200 with nothing in it brings no key."""
    refused("provider_protocol", reply(body), orphan=True)


WHOLE = json.dumps(GOOD).encode()


@pytest.mark.parametrize(
    "answer",
    [
        reply(WHOLE[:40]),
        reply(b"{"),
        reply('{"key": "é'.encode()[:-1]),
        cut(reply(WHOLE, Content_Length=len(WHOLE) + 1)),
        cut(reply(WHOLE)[:-20]),
        cut(reply(Content_Length=100)),
        reset(reply(WHOLE)[:-20]),
        cut(reply(b"50\r\n" + WHOLE[:40], Transfer_Encoding="chunked", Content_Length=0)),
        cut(reply(WHOLE, Transfer_Encoding="chunked")),
    ],
    ids=["JSON", "brace", "letter", "short", "cut", "no body", "reset", "chunk", "no chunks"],
)
def test_truncated_body(refused, answer):
    """PM 98: an answer that breaks off is OpenRouter being away; a key may have been made."""
    refused("provider_unavailable", answer, orphan=True)


# Shapes


@pytest.mark.parametrize("body", [b"[]", b'"sk"', b"1", b"null", b"true", b"{}", b"NaN", b"[{}]"])
def test_json_without_an_object(refused, body):
    """PM 99: only an object can hold a key."""
    refused("provider_protocol", reply(body), orphan=True)


@pytest.mark.parametrize(
    "body",
    [
        {"key": None},
        {"key": ""},
        {"key": 1},
        {"key": True},
        {"key": []},
        {"key": {}},
        {"key": {"key": KEY}},
        {"key": [KEY]},
        {"Key": KEY},
        {"data": GOOD},
        {"user_id": "user_1"},
        GOOD | {"error": "no"},
    ],
    ids=json.dumps,
)
def test_no_key(refused, body):
    """PM 100: without a text called ``key``, or beside an error, there is no key."""
    refused("provider_protocol", reply(body), orphan=True)


@pytest.mark.parametrize(
    "key",
    [
        "sk-or-v1-" + "a" * 10,
        "sk-or-v1-" + "a" * 504,
        KEY + "\n",
        KEY + "\r\nX-Evil: 1",
        " " + KEY,
        KEY.replace("v1", "v1 "),
        KEY + "\x00",
        KEY + "\x7f",
        KEY + "é",
        KEY + "\ud800",
        KEY + "\u200b",
        "sk-or-v1-" + "е" * 64,
    ],
    ids=ascii,
)
def test_unusable_key(refused, key):
    """PM 101: a key that fits no header, or is far too short or long, is none."""
    refused("provider_protocol", reply({"key": key}), orphan=True)


@pytest.mark.parametrize("key", ["x" * 40, "pk_" + "z~!" * 20, "a" * 20, "sk-or-" + "b" * 506])
def test_key_is_opaque(accepted, leaks, key):
    """PM 102: an unknown prefix is worth a line in the log, and no refusal."""
    accepted(reply({"key": key, "user_id": None}), key=key)
    warned = [record for record in leaks.records if "unknown prefix" in record.getMessage()]
    assert len(warned) == (0 if key.startswith("sk-or-") else 1)


def test_duplicate_names(refused):
    """PM 103: of two keys neither is taken."""
    body = f'{{"key": "{KEY}", "key": "{KEY[:-3]}abc"}}'.encode()
    refused("provider_protocol", reply(body), orphan=True)


@pytest.mark.parametrize(
    "body",
    [
        b"[" * 60_000,
        b'{"key":' * 8_000 + b"1" + b"}" * 8_000,
        b'{"key": ' + b"9" * 5_000 + b"}",
        b'{"key": 1e999999}',
        b'{"key": NaN}',
        b'{"key": Infinity, "error": null}',
    ],
    ids=["brackets", "objects", "digits", "exponent", "NaN", "Infinity"],
)
def test_json_that_harms_parsers(refused, body):
    """PM 104: neither depth nor figures stop the parser."""
    refused("provider_protocol", reply(body), orphan=True)


@pytest.mark.parametrize(
    "encoding", ["utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-32-le"]
)
def test_other_unicode_encodings(refused, encoding):
    """PM 105: JSON is UTF-8 without a mark; nothing else is guessed at."""
    refused("provider_protocol", reply(json.dumps(GOOD).encode(encoding)), orphan=True)


@pytest.mark.parametrize("odd", [b"\xff\xfe", b"\xe9", b"\xc0\x80", b"\xed\xa0\x80", b"\xf8"])
def test_invalid_utf8(refused, odd):
    """PM 105: bytes that are no UTF-8 are not mended."""
    refused("provider_protocol", reply(WHOLE[:-1] + b', "x": "' + odd + b'"}'), orphan=True)


def _bomb() -> Iterator[bytes]:
    """200 MB of zeros, gzipped, piece by piece."""
    squeeze = zlib.compressobj(9, zlib.DEFLATED, 31)
    piece = b"0" * 1_000_000
    yield squeeze.compress(b'{"key": "')
    for _ in range(200):
        yield squeeze.compress(piece)
    yield squeeze.flush()


@pytest.fixture(scope="module")
def bomb() -> bytes:
    """All of the bomb, which is 200 KB as long as nobody unpacks it."""
    return b"".join(_bomb())


@pytest.fixture
def flat_memory() -> Iterator[None]:
    """The process must not grow by more than 8 MB."""
    gc.collect()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    yield
    unit = 1 if sys.platform == "darwin" else 1024
    assert (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * unit < 8_000_000


@pytest.mark.parametrize("status", [200, 302, 400, 500])
def test_compressed_bomb(come_back, bomb, flat_memory, status):
    """PM 106: 200 MB in a small parcel are not unpacked, whatever the status."""
    headers = {"Content_Encoding": "gzip", "Location": "/api/v1/elsewhere"}
    response = come_back(reply(bomb, status=status, **headers))
    assert (
        outcome(response)[1]
        == {
            200: "provider_protocol",
            302: "provider_protocol",
            400: "exchange_rejected",
            500: "provider_unavailable",
        }[status]
    )


def _nested(times: int) -> bytes:
    data = WHOLE
    for _ in range(times):
        data = gzip.compress(data)
    return data


@pytest.mark.parametrize(
    ("encoding", "body"),
    [
        ("gzip", _nested(1)),
        (", ".join(["gzip"] * 10), _nested(10)),
        ("deflate", zlib.compress(WHOLE)),
        ("br", b"\x8b\x07\x80" + WHOLE),
        ("zstd", b"\x28\xb5\x2f\xfd" + WHOLE),
        ("identity, gzip", _nested(1)),
        ("unknown", WHOLE),
        ("gzip", WHOLE),
        ("", WHOLE),
    ],
    ids=["gzip", "nested", "deflate", "br", "zstd", "two", "unknown", "not gzip", "empty"],
)
def test_compressed_answers(refused, encoding, body):
    """PM 106: no compression was asked for, so none is taken."""
    refused("provider_protocol", reply(body, Content_Encoding=encoding), orphan=True)


def test_identity_is_no_compression(accepted):
    """PM 106: an answer that says it is not compressed is as good as one that does not."""
    accepted(reply(GOOD, Content_Encoding="Identity"))


CHUNKED = reply(Transfer_Encoding="chunked", Content_Length="0").replace(
    b"Content-Length: 0\r\n", b""
)


def test_endless_stream(refused, flat_memory):
    """PM 107: reading ends at 64 KiB, however much is sent."""
    chunk = b"10000\r\n" + b" " * 0x10000 + b"\r\n"
    refused("provider_protocol", endless(CHUNKED, chunk), orphan=True)


def test_chunk_of_negative_size(refused, flat_memory):
    """PM 107: a size of -1 makes Python read without end; reading ends all the same."""
    refused("provider_protocol", endless(CHUNKED + b"-1\r\n", b" " * 0x10000), orphan=True)


@pytest.mark.parametrize("size", ["-5", "x", ""])
def test_chunk_of_senseless_size(refused, size):
    """PM 107: a chunk whose size is no size."""
    answer = cut(CHUNKED + f"{size}\r\n{'{}'}\r\n0\r\n\r\n".encode())
    refused({"-5": "provider_protocol"}.get(size, "provider_unavailable"), answer, orphan=True)


def test_endless_100_continue(refused, flat_memory):
    """PM 92, PM 107: interim answers without end are an answer that is too long."""
    chunk = b"HTTP/1.1 100 Continue\r\n\r\n" * 1000
    refused("provider_protocol", endless(b"", chunk), orphan=True)


@pytest.mark.parametrize(
    "length", ["1000000000000", "9" * 5000, "65537", "-1", "+10", "1_0", "0x10", "ten", "٣", ""]
)
def test_strange_lengths(refused, length):
    """PM 107: a length that is too large or no number is refused before anything is read."""
    head, _, body = reply(GOOD).partition(b"\r\n\r\n")
    head = re.sub(rb"(?<=Content-Length: )\d+", length.encode(), head)
    refused("provider_protocol", cut(head + b"\r\n\r\n" + body), orphan=True)


@pytest.mark.parametrize("second", [str(len(WHOLE)), "5"])
def test_two_lengths(refused, second):
    """PM 107: two lengths leave it open where the answer ends."""
    answer = reply(GOOD).replace(b"\r\n\r\n", f"\r\nContent-Length: {second}\r\n\r\n".encode())
    refused("provider_protocol", answer, orphan=True)


@pytest.mark.parametrize("size", [64 * 1024, 64 * 1024 + 1])
def test_largest_answer(come_back, standin, size):
    """PM 107: 64 KiB are read, one byte more is refused, with or without a length."""
    standin.minted.append(KEY)
    body = WHOLE + b" " * (size - len(WHOLE))
    plain = come_back(cut(reply(body).replace(b"Content-Length", b"X-Length")))
    assert outcome(plain)[1] == ("connected" if size == 64 * 1024 else "provider_protocol")


# Time and transport


@pytest.fixture
def hurry(settings: Any) -> None:
    """A whole call may take 0.3 seconds."""
    settings.OPENROUTER_AUTH_TIMEOUT = (0.1, 0.2)


@pytest.mark.parametrize(
    "answer",
    [
        silence,
        drip(reply(GOOD)),
        drip(b"HTTP/1.1 200 OK\r\n" + b"X-Padding: 1\r\n" * 90),
        drip(b"HTTP/1.1 100 Continue\r\n\r\n" * 100),
        lambda wire: (wire.send(reply(GOOD)[:-90]), wire.drip(WHOLE, 0.05)),
        lambda wire: (wire.send(CHUNKED), wire.drip(b"1\r\n \r\n" * 40, 0.05)),
    ],
    ids=["silence", "status line", "headers", "continue", "body", "chunks"],
)
def test_slow_answers(refused, hurry, answer):
    """PM 108, 109: a call ends at its deadline, wherever the answer drips."""
    begun = timezone.now()
    refused("provider_unavailable", answer, orphan=True)
    assert (timezone.now() - begun).total_seconds() < 1.5


def test_slow_redirect(refused, hurry):
    """PM 108: the body of a redirect is not waited for either."""
    head = reply(status=302, Location="/api/v1/elsewhere", Content_Length=500)
    refused("provider_protocol", lambda wire: (wire.send(head), wire.drip(WHOLE, 0.05)))


@pytest.mark.parametrize(
    "answer",
    [
        reset(),
        cut(),
        cut(b"\x00\xff" * 500),
        cut(b"SSH-2.0-OpenSSH_9.9\r\n"),
        cut(b"HTTP/1.1 abc OK\r\n\r\n"),
        cut(b"HTTP/1.1 2000 OK\r\n\r\n"),
        reply(GOOD).replace(b"\r\n\r\n", b"\r\nX-Many: 1" * 101 + b"\r\n\r\n"),
        reply(GOOD, X_Long="x" * 70_000),
        cut(b"HTTP/1.1 200 " + b"x" * 70_000 + b"\r\n\r\n"),
    ],
    ids=["reset", "empty", "bytes", "ssh", "letters", "digits", "101 headers", "header", "line"],
)
def test_broken_transport(refused, answer):
    """PM 110: what is no HTTP is OpenRouter being away; the request did leave, though."""
    refused("provider_unavailable", answer, orphan=True)


def test_connection_refused(refused, settings):
    """PM 110: where nobody listens nothing was sent, so no key was made."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    settings.OPENROUTER_AUTH_API_URL = f"http://127.0.0.1:{port}/api/v1"
    refused("provider_unavailable", exchanges=0)


def test_unknown_host(refused, settings, monkeypatch):
    """PM 110: a name that cannot be resolved ends like a closed port."""

    def fail(*args: object, **kwargs: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    settings.OPENROUTER_AUTH_API_URL = "https://openrouter.invalid/api/v1"
    with monkeypatch.context() as patch:
        patch.setattr(socket, "getaddrinfo", fail)
        refused("provider_unavailable", exchanges=0)


def test_nobody_accepts(refused, monkeypatch):
    """PM 110: a connection that is not made in time brings no key either."""

    def fail(*args: object, **kwargs: object) -> None:
        raise TimeoutError("timed out")

    with monkeypatch.context() as patch:
        patch.setattr(socket.socket, "connect", fail)
        refused("provider_unavailable", exchanges=0)


# Everything else


def test_cookies_of_openrouter(accepted, browser, standin):
    """PM 112: a cookie is neither sent back to OpenRouter nor handed to the browser."""
    accepted(reply(GOOD, Set_Cookie=f"tracker={TEXT}; Path=/"))
    (check,) = standin.status_checks
    assert check.headers["Cookie"] is None
    assert "tracker" not in browser.cookies


@pytest.mark.parametrize("status", [400, 418, 500])
def test_words_of_openrouter(refused, leaks, status):
    """PM 113: nothing that OpenRouter says is shown; the log gets one short line."""
    message = f"<script>{TEXT}</script>\x1b[31m\n[CRITICAL] forged {TEXT}" + TEXT * 20_000
    response = refused(
        {400: "exchange_rejected", 418: "provider_protocol", 500: "provider_unavailable"}[status],
        refusal(status, message),
        orphan=status == 500,
    )
    assert "<script>" not in message_text(response)
    ours = [record for record in leaks.records if record.name == "django_openrouter_auth"]
    (line,) = [record.getMessage() for record in ours]
    assert line.isprintable()
    assert len(line) < 200


def test_words_in_headers(refused):
    """PM 113: the reason phrase and the headers of OpenRouter stay unseen as well."""
    answer = reply(status=418, X_Words=TEXT).replace(b"Whatever", TEXT.encode())
    refused("provider_protocol", answer)


@pytest.mark.parametrize("error", [{"code": 400, "message": TEXT}, TEXT, True, 0, {}, []])
def test_key_beside_an_error(refused, error):
    """PM 115: an answer that names an error brings no key."""
    refused("provider_protocol", reply(GOOD | {"error": error}), orphan=True)


@pytest.mark.parametrize("more", [{"error": None}, {"expires_at": 1, "data": [1]}])
def test_unknown_fields(accepted, more):
    """PM 114: fields that nobody knows are not looked at, nor is an error of ``null``."""
    accepted(reply(GOOD | more))


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ({"user_id": None}, ""),
        ({}, ""),
        ({"user_id": 17}, ""),
        ({"user_id": "u" * 10_000}, ""),
        ({"user_id": "user\x00"}, ""),
        ({"user_id": "<b>"}, ""),
        ({"user_id": "user_1\n"}, ""),
        ({"user_id": ["user_1"]}, ""),
        ({"user_id": "user_2yOPcMpKoQhcd4bVgSMlELRaIah"}, "user_2yOPcMpKoQhcd4bVgSMlELRaIah"),
    ],
    ids=lambda value: ascii(value)[:40],
)
def test_identifier_of_the_user(accepted, given, kept):
    """PM 116: who the key belongs to at OpenRouter is optional, and kept only if it is a name."""
    assert accepted(reply({"key": KEY, **given})).openrouter_user_id == kept


def test_another_account(accepted, old_key):
    """PM 119: connecting again with another OpenRouter account keeps the new one's name."""
    old_key.openrouter_user_id = "user_of_yesterday"
    old_key.save()
    assert accepted(reply(GOOD)).openrouter_user_id == GOOD["user_id"]


@pytest.mark.parametrize("method", ["S256", "plain", None])
def test_request(accepted, standin, settings, monkeypatch, tmp_path, method):
    """PM 111, 120: the exchange carries what it must, no credentials, no cookie, no referrer."""
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login me password secret\n")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))
    settings.OPENROUTER_AUTH_CODE_CHALLENGE_METHOD = method
    accepted(reply(GOOD))
    (request,) = standin.exchanges
    assert request.method == "POST"
    headers = {name.lower(): value for name, value in request.headers.items()}
    assert headers.pop("user-agent").startswith("django-openrouter-auth/")
    assert headers == {
        "host": f"127.0.0.1:{standin.port}",
        "accept": "application/json",
        "accept-encoding": "identity",
        "content-type": "application/json",
        "content-length": str(len(request.body)),
    }
    proof = {"code_verifier", "code_challenge_method"} if method else set()
    assert set(request.json) == {"code"} | proof
    assert request.json.get("code_challenge_method") == method


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError(TEXT),
        UnicodeError(TEXT),
        MemoryError(TEXT),
        KeyError(TEXT),
        RecursionError(TEXT),
        urllib3.exceptions.LocationParseError(TEXT),
    ],
    ids=lambda error: type(error).__name__,
)
def test_any_exception_of_the_transport(refused, monkeypatch, leaks, error):
    """PM 121: what nobody foresaw ends like everything else, and only its type is logged."""

    def fail(*args: object, **kwargs: object) -> None:
        raise error

    monkeypatch.setattr(HTTPAdapter, "send", fail)
    refused("internal", orphan=True, exchanges=0)
    lines = [record.getMessage() for record in leaks.records if record.name.endswith("_auth")]
    # The page that follows asks about the old key, which fails in the same way.
    told = [line for line in lines if "connect failed" in line]
    assert [type(error).__name__ in line for line in told] == [True]


def test_first_connection_fails(browser, user, standin, leaks):
    """PM 87: without an old connection there is none afterwards."""
    standin.answer(EXCHANGE, refusal(403, TEXT))
    response = browser.get(start(browser).path, {"code": "auth_code_abc"})
    assert outcome(response) == ("error", "exchange_rejected")
    assert not OpenRouterKey.objects.exists()


def test_failures_leave_nothing_open(browser, standin, hurry):
    """LK 188: every kind of failure closes its connection."""
    answers: list[Answer] = [
        refusal(403, ""),
        reply(HTML, status=500),
        reply(status=302, Location="/"),
        reply(b"x" * 70_000),
        endless(CHUNKED, b"1\r\n \r\n"),
        reply(WHOLE[:20]),
        cut(reply(WHOLE)[:-20]),
        reset(),
        silence,
        reply(GOOD),
    ]
    standin.answer(EXCHANGE, *answers)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", ResourceWarning)
        for _ in answers:
            list(get_messages(browser.get(start(browser).path, {"code": "abc"}).wsgi_request))
        gc.collect()
    assert len(standin.exchanges) == len(answers)
    assert [warning for warning in caught if warning.category is ResourceWarning] == []


def test_code_of_the_wire_is_the_code_of_the_url(come_back, standin):
    """PM 120: the code that came back is the code that goes out."""
    seen: list[str] = []

    def look(wire: Wire) -> None:
        seen.append(wire.request.json["code"])
        wire.send(reply(GOOD))

    come_back(look)
    assert re.fullmatch(r"auth_code_[0-9a-f]{32}", seen[0])
