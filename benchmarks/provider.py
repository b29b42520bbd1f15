"""A stand-in for OpenRouter that costs next to nothing: it answers with bytes made beforehand.

It runs in a process of its own and counts its own processor time, which the measurements take
away again.

A code ends in the number of a user, and so does the user's id in the answer to it. Every exchange
brings another key, as it does at OpenRouter.
"""

import contextlib
import datetime as dt
import ipaddress
import json
import multiprocessing
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import certifi
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

HOST = "127.0.0.1"
START_SECONDS = 30
CODE = b"auth_code_"
DIGITS = 16
# Replaced in the answer, which stays as long as it was.
KEY_END, USER_END = b"f" * DIGITS, b"0" * DIGITS
EXCHANGED = {
    "key": "sk-or-v1-" + "0123456789abcdef" * 3 + KEY_END.decode(),
    "user_id": "user_2yOPcMpKoQ" + USER_END.decode(),
}
KEY_INFO = {
    "data": {
        "label": "sk-or-v1-012...def",
        "limit": 10,
        "limit_remaining": 9.25,
        "limit_reset": "monthly",
        "usage": 0.75,
        "usage_daily": 0.25,
        "usage_weekly": 0.5,
        "usage_monthly": 0.75,
        "is_free_tier": False,
        "is_management_key": False,
        "expires_at": None,
        "rate_limit": {"requests": -1, "interval": "10s", "note": "deprecated"},
    }
}


def code(number: int) -> str:
    """Return the code that the user with a number brings back."""
    return f"{CODE.decode()}{number:0{DIGITS}}"


@dataclass
class Provider:
    """A running stand-in.

    Attributes:
        api_url: what ``OPENROUTER_AUTH_API_URL`` is to be.
    """

    api_url: str
    _busy: Any
    _answers: Any

    def read(self, answers: int) -> float:
        """Return the processor seconds spent so far, once so many requests are answered."""
        deadline = time.monotonic() + START_SECONDS
        while self._answers.value < answers:
            if time.monotonic() > deadline:
                raise TimeoutError("the stand-in did not answer")
            time.sleep(0.0001)
        return float(self._busy.value)

    @property
    def answers(self) -> int:
        """How many requests are answered so far."""
        return int(self._answers.value)


def _rendered(answer: dict[str, Any]) -> bytes:
    body = json.dumps(answer).encode()
    head = (
        f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


def _serve(
    ready: Connection, certificate: Path | None, threads: bool, busy: Any, answers: Any
) -> None:
    """Answer one connection after the other, or each in a thread; run in a process of its own."""
    by_start = {
        b"POST /api/v1/auth/keys ": _rendered(EXCHANGED),
        b"GET /api/v1/key ": _rendered(KEY_INFO),
    }
    context = None
    if certificate is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate)

    def converse(plain: socket.socket) -> None:
        started = time.thread_time()
        # A client that goes away without a word is none of our business.
        with contextlib.suppress(OSError):
            connection = context.wrap_socket(plain, server_side=True) if context else plain
            with connection:
                while request := _read_request(connection):
                    connection.sendall(_answer_to(request, by_start, answers.value))
                    busy.value += time.thread_time() - started
                    started = time.thread_time()
                    answers.value += 1

    with socket.create_server((HOST, 0), backlog=100) as listener:
        ready.send(listener.getsockname()[1])
        while True:
            plain, _ = listener.accept()
            plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if threads:
                threading.Thread(target=converse, args=(plain,), daemon=True).start()
            else:
                converse(plain)


def _answer_to(request: bytes, by_start: dict[bytes, bytes], number: int) -> bytes:
    answer = next(answer for start, answer in by_start.items() if request.startswith(start))
    _, found, rest = request.partition(CODE)
    if not found:
        return answer
    return answer.replace(USER_END, rest[:DIGITS]).replace(KEY_END, b"%016d" % number)


def _read_request(connection: socket.socket) -> bytes:
    """Return one request, or nothing when the client has closed."""
    received = b""
    while b"\r\n\r\n" not in received:
        more = connection.recv(65536)
        if not more:
            return b""
        received += more
    head, _, body = received.partition(b"\r\n\r\n")
    length = 0
    for line in head.split(b"\r\n"):
        name, _, value = line.partition(b":")
        if name.lower() == b"content-length":
            length = int(value)
    while len(body) < length:
        body += connection.recv(65536)
    return head + body


@contextlib.contextmanager
def running(certificate: Path | None = None, *, threads: bool = False) -> Iterator[Provider]:
    """Start a stand-in, over TLS where a certificate is given, and stop it afterwards.

    Args:
        threads: serve several clients at once; its own time is then not counted exactly.
    """
    processes = multiprocessing.get_context("spawn")
    busy, answers = processes.Value("d", 0.0, lock=False), processes.Value("q", 0, lock=False)
    ours, theirs = processes.Pipe(duplex=False)
    process = processes.Process(
        target=_serve, args=(theirs, certificate, threads, busy, answers), daemon=True
    )
    process.start()
    try:
        if not ours.poll(START_SECONDS):
            raise TimeoutError("the stand-in did not start")
        scheme = "http" if certificate is None else "https"
        yield Provider(f"{scheme}://{HOST}:{ours.recv()}/api/v1", busy, answers)
    finally:
        process.terminate()
        process.join()


def make_certificate(folder: Path) -> tuple[Path, Path]:
    """Make an authority and a certificate; return the certificate and a bundle that trusts it.

    The bundle is certifi's with one more authority, so that reading it costs what it costs a site.
    """
    authority_key, authority = _certificate("Benchmark authority", None)
    key, certificate = _certificate(HOST, (authority_key, authority))
    pem = serialization.Encoding.PEM
    served = folder / "server.pem"
    served.write_bytes(
        key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        + certificate.public_bytes(pem)
    )
    bundle = folder / "bundle.pem"
    bundle.write_bytes(Path(certifi.where()).read_bytes() + b"\n" + authority.public_bytes(pem))
    return served, bundle


def _certificate(
    name: str, issuer: tuple[ec.EllipticCurvePrivateKey, x509.Certificate] | None
) -> tuple[ec.EllipticCurvePrivateKey, x509.Certificate]:
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    signing_key, issuer_name = (issuer[0], issuer[1].subject) if issuer else (key, subject)
    now = dt.datetime.now(dt.UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer_name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(hours=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(x509.BasicConstraints(ca=issuer is None, path_length=None), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(signing_key.public_key()),
            critical=False,
        )
    )
    if issuer is None:
        usage = x509.KeyUsage(
            digital_signature=True,
            content_commitment=False,
            key_encipherment=False,
            data_encipherment=False,
            key_agreement=False,
            key_cert_sign=True,
            crl_sign=True,
            encipher_only=False,
            decipher_only=False,
        )
        builder = builder.add_extension(usage, critical=True)
    else:
        address = x509.IPAddress(ipaddress.ip_address(HOST))
        builder = builder.add_extension(x509.SubjectAlternativeName([address]), critical=False)
    return key, builder.sign(signing_key, hashes.SHA256())
