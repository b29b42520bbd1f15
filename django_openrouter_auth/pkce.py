"""Proof Key for Code Exchange: the code verifier and its challenge (RFC 7636)."""

import base64
import hashlib
import re
import secrets

S256 = "S256"
PLAIN = "plain"
METHODS = (S256, PLAIN)

CODE_VERIFIER = re.compile(r"[A-Za-z0-9._~-]{43,128}")


def make_code_verifier() -> str:
    """Return a fresh code verifier: 43 characters that carry 256 random bits.

    Source: RFC 7636, section 4.1.
    """
    return secrets.token_urlsafe(32)


def make_code_challenge(code_verifier: str, method: str) -> str:
    """Return the code challenge that belongs to a code verifier.

    Args:
        code_verifier: 43 to 128 of the unreserved characters ``A-Za-z0-9-._~``.
        method: ``"S256"`` or ``"plain"``; the spelling matters.

    Raises:
        ValueError: for a verifier or a method that RFC 7636 does not allow. The text never
            quotes the verifier.

    Source: RFC 7636, sections 4.1 and 4.2.
    """
    if not CODE_VERIFIER.fullmatch(code_verifier):
        raise ValueError("A code verifier has 43 to 128 characters out of A-Z a-z 0-9 - . _ ~")
    if method == S256:
        digest = hashlib.sha256(code_verifier.encode("ascii")).digest()
        return base64.urlsafe_b64encode(digest).rstrip(b"=").decode("ascii")
    if method == PLAIN:
        return code_verifier
    raise ValueError('A code challenge method is "S256" or "plain"')
