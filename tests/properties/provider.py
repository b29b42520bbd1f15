"""OpenRouter as a model: who approved what, which keys it gave to whom, and what it was asked."""

import hashlib
import json
from base64 import b64encode
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qs, urlsplit

import requests
import responses

from ..connecting import API

WELL = "well"
# What may be wrong with OpenRouter, and the code by which the site calls it.
TROUBLES = {
    "500": "provider_unavailable",
    "times out": "provider_unavailable",
    "429": "rate_limited",
    "nonsense": "provider_protocol",
}


@dataclass
class Grant:
    """A consent: whose it is, the challenge that came along, and whether its code is spent."""

    owner: str
    challenge: str
    is_spent: bool = False


@dataclass
class Exchange:
    """One request for a key, and what came of it: the key, or the site's code for the refusal."""

    code: str
    verifier: str
    key: str = ""
    refusal: str = ""


class ModelledProvider:
    """OpenRouter, which keeps to its own rules and remembers everything.

    Attributes:
        grants: by authorization code.
        owners: who was given each key.
        dead: keys that were deleted.
        management: keys that manage a whole account.
        exchanges: what it was asked to exchange.
        verdicts: what it said about keys: ``"well"``, or the site's code for what it said instead.
        weather: what is wrong at the moment with exchanges and with questions about keys.
        meanwhile: what happens once while the next request is under way.
    """

    def __init__(self) -> None:
        self.grants: dict[str, Grant] = {}
        self.owners: dict[str, str] = {}
        self.dead: set[str] = set()
        self.management: set[str] = set()
        self.exchanges: list[Exchange] = []
        self.verdicts: list[str] = []
        self.weather = (WELL, WELL)
        self.meanwhile: Callable[[], None] | None = None
        self.mock = responses.RequestsMock(assert_all_requests_are_fired=False)
        self.mock.add_callback("POST", f"{API}/auth/keys", self._exchange)
        self.mock.add_callback("GET", f"{API}/key", self._tell)

    @property
    def secrets(self) -> dict[str, str]:
        """What must not be seen anywhere, by name."""
        found = {f"key {number}": key for number, key in enumerate(self.owners)}
        found |= {f"code {number}": code for number, code in enumerate(self.grants)}
        return found

    def approve(self, location: str, owner: str) -> str:
        """Say yes on the consent page; return the code for the site that sent the user there."""
        asked = parse_qs(urlsplit(location).query)
        assert asked["code_challenge_method"] == ["S256"]
        code = f"auth_code_{_digest('code', len(self.grants))}"
        [challenge] = asked["code_challenge"]
        self.grants[code] = Grant(owner, challenge)
        return code

    def make_key(self, owner: str, *, is_management: bool = False) -> str:
        """Make a key for somebody."""
        key = f"sk-or-v1-{_digest('key', len(self.owners))}"
        self.owners[key] = owner
        if is_management:
            self.management.add(key)
        return key

    def _interrupt(self) -> None:
        event, self.meanwhile = self.meanwhile, None
        if event:
            event()

    def _exchange(self, request: Any) -> tuple[int, dict[str, str], Any]:
        body = json.loads(request.body)
        exchange = Exchange(body["code"], body["code_verifier"])
        self.exchanges.append(exchange)
        weather = self.weather[0]
        self._interrupt()
        grant = self.grants.get(exchange.code)
        if weather in {"500", "429", "nonsense"}:
            exchange.refusal = TROUBLES[weather]
            return _trouble(weather)
        if not grant or grant.is_spent or grant.challenge != _challenge(exchange.verifier):
            exchange.refusal = "exchange_rejected"
            return _answer(403, {"error": {"message": "Invalid code or code_verifier"}})
        grant.is_spent = True
        key = self.make_key(grant.owner, is_management=weather == "management")
        if weather == "times out":
            # The worst time for it: the key is made, and nobody learns of it.
            exchange.refusal = TROUBLES[weather]
            raise requests.ReadTimeout
        exchange.key = key
        if weather == "dead":
            self.dead.add(key)
        return _answer(200, {"key": key, "user_id": f"user-{key}"})

    def _tell(self, request: Any) -> tuple[int, dict[str, str], Any]:
        key = request.headers["Authorization"].removeprefix("Bearer ")
        weather = self.weather[1]
        self._interrupt()
        if weather != WELL:
            self.verdicts.append(TROUBLES[weather])
            return _trouble(weather)
        if key in self.dead or key not in self.owners:
            self.verdicts.append("key_rejected")
            return _answer(401, {"error": {"message": "User not found.", "code": 401}})
        self.verdicts.append("management_key" if key in self.management else WELL)
        # As indiscreet as can be: every text repeats the key.
        facts = {"label": key, "limit_reset": f"see {key}", "usage": 0.5, "limit": 2}
        facts["is_management_key"] = key in self.management
        return _answer(200, {"data": facts})


def _digest(kind: str, number: int) -> str:
    return hashlib.sha256(f"{kind} {number}".encode()).hexdigest()


def _challenge(verifier: str) -> str:
    digest = hashlib.sha256(verifier.encode()).digest()
    return b64encode(digest, altchars=b"-_").decode().rstrip("=")


def _answer(status: int, body: object) -> tuple[int, dict[str, str], str]:
    return status, {"Content-Type": "application/json"}, json.dumps(body)


def _trouble(weather: str) -> tuple[int, dict[str, str], str]:
    if weather == "times out":
        raise requests.ReadTimeout
    if weather == "nonsense":
        return 200, {"Content-Type": "text/html"}, "<!doctype html><title>Hello</title>"
    return _answer(int(weather), {"error": {"message": "Sorry."}})
