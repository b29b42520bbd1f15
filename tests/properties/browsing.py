"""What a browser makes of a ``Location``: the URL Standard as far as addresses of a site need it.

Python's ``urllib`` follows the RFC and takes a backslash for a character like any other; browsers
do not, and that difference is what attackers live on.
"""

import re
from urllib.parse import unquote, urlsplit

BASE = "https://app.example/openrouter/callback/x/"
C0_OR_SPACE = "".join(map(chr, range(0x21)))
DOUBLE_DOTS = {"..", ".%2e", "%2e.", "%2e%2e"}


def host_reached(location: str, base: str = BASE) -> str | None:
    """Return the host to which a browser goes from a page of https, or ``None`` for no host.

    Source: URL Standard (WHATWG), basic URL parser.
    """
    text = re.sub(r"[\t\n\r]", "", location.strip(C0_OR_SPACE))
    scheme = re.match(r"([A-Za-z][A-Za-z0-9+.-]*):(.*)", text, re.DOTALL)
    if scheme:
        name, text = scheme[1].lower(), scheme[2]
        if name not in {"http", "https", "ws", "wss", "ftp"}:
            return None
        # A special scheme other than the base's needs no slashes before its host.
        if name != "https":
            text = "//" + text
    path = re.split(r"[?#]", text)[0].replace("\\", "/")
    if not path.startswith("//"):
        return urlsplit(base).hostname
    authority = path.lstrip("/").split("/")[0]
    return authority.rpartition("@")[2].partition(":")[0].lower()


def path_reached(location: str) -> str:
    """Return the path of this site that a browser asks for, decoded as the server does."""
    path = re.split(r"[?#]", re.sub(r"[\t\n\r]", "", location))[0].replace("\\", "/")
    kept: list[str] = []
    for part in path.split("/")[1:]:
        if part.lower() in DOUBLE_DOTS:
            kept = kept[:-1]
        elif part.lower() not in {".", "%2e"}:
            kept.append(part)
    return unquote("/" + "/".join(kept))
