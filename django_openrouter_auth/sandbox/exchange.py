"""``POST /api/v1/auth/keys``: a code becomes a key, once.

Source: OpenRouter OAuth PKCE guide, step 2, and API reference, "Exchange authorization code".
"""

import json
from dataclasses import dataclass

from django.http import HttpRequest, HttpResponse, JsonResponse

from django_openrouter_auth.pkce import METHODS

from .api import ApiError, api_view, error, owner_id
from .faults import RETRY_AFTER, ConnectionCut, html_page, stall
from .journal import json_object
from .models import SandboxCode, SandboxKey
from .switches import ExchangeFault, ReusedCodeStatus, SandboxSwitches
from .tokens import digest

FOLLOWED = "followed"
"""Query parameter by which a client shows that it followed the redirect."""


@dataclass(frozen=True, repr=False)
class ExchangeRequest:
    """The three fields of the body, of the right types."""

    code: str
    code_verifier: str | None
    method: str

    @classmethod
    def parse(cls, body: dict[str, object]) -> "ExchangeRequest":
        """Check the shape of a body.

        Raises:
            ApiError: 400 in the shape that OpenRouter's schema checker gives it.
        """
        issues: list[dict[str, object]] = []
        code = body.get("code")
        if not isinstance(code, str):
            issues.append(_issue("code", "expected string"))
        verifier = body.get("code_verifier")
        if "code_verifier" in body and not isinstance(verifier, str):
            issues.append(_issue("code_verifier", "expected string"))
        method = body.get("code_challenge_method")
        if method is not None and method not in METHODS:
            issues.append(_issue("code_challenge_method", 'expected one of "S256"|"plain"'))
        if issues:
            failure = {"name": "ZodError", "message": json.dumps(issues, indent=2)}
            raise ApiError(JsonResponse({"success": False, "error": failure}, status=400))
        return cls(
            code=str(code),
            code_verifier=None if verifier is None else str(verifier),
            method=str(method or ""),
        )


def _issue(field: str, expected: str) -> dict[str, object]:
    return {"code": "invalid_type", "path": [field], "message": f"Invalid input: {expected}"}


@api_view("POST", cors=True)
def exchange(request: HttpRequest) -> HttpResponse:
    """Exchange an authorization code for a fresh key."""
    if request.content_type != "application/json":
        raise ApiError(error(405, "Method Not Allowed", headers={"Allow": "POST"}))
    switches = SandboxSwitches.load()
    early = fault_before(request, switches)
    if early is not None:
        return early
    key, plaintext = redeem(ExchangeRequest.parse(json_object(request)), switches)
    return fault_after(switches, key, plaintext)


def redeem(asked: ExchangeRequest, switches: SandboxSwitches) -> tuple[SandboxKey, str]:
    """Spend a code and mint its key.

    Returns:
        The row of the key and the key in plain text.

    Raises:
        ApiError: the refusal, checked in OpenRouter's order: code, method, age, verifier.
    """
    code = SandboxCode.objects.filter(code_hash=digest(asked.code)).first()
    if code is None:
        raise ApiError(error(400, "Invalid code"))
    if code.spent_at is not None:
        raise ApiError(_reused(switches))
    if asked.method != code.method:
        raise ApiError(error(400, "Invalid code_challenge_method"))
    if code.is_expired:
        raise ApiError(error(403, "Authorization code expired"))
    if not code.accepts(asked.code_verifier):
        if switches.burn_code_on_wrong_verifier:
            code.spend()
        raise ApiError(error(403, "Invalid code or code_verifier"))
    if not code.spend():
        raise ApiError(_reused(switches))
    return SandboxKey.mint(
        account=code.account,
        name=code.name,
        limit=code.limit,
        limit_reset=code.limit_reset,
        expires_at=code.key_expires_at,
    )


def _reused(switches: SandboxSwitches) -> JsonResponse:
    if switches.reused_code_status == ReusedCodeStatus.INVALID_CODE:
        return error(400, "Invalid code")
    return error(403, "Invalid code or code_verifier")


def fault_before(request: HttpRequest, switches: SandboxSwitches) -> HttpResponse | None:
    """Play the faults that strike before a code is looked at; ``None`` to go on."""
    match switches.exchange_fault:
        case ExchangeFault.SLOW:
            stall(switches)
        case ExchangeFault.SERVER_ERROR:
            return error(500, "Internal Server Error")
        case ExchangeFault.BAD_GATEWAY:
            return html_page(502)
        case ExchangeFault.UNAVAILABLE:
            return html_page(503)
        case ExchangeFault.RATE_LIMITED:
            return error(429, "Rate limit exceeded", headers={"Retry-After": RETRY_AFTER})
        case ExchangeFault.CUT_BEFORE:
            raise ConnectionCut
        case ExchangeFault.REDIRECT if FOLLOWED not in request.GET:
            return HttpResponse(status=307, headers={"Location": f"{request.path}?{FOLLOWED}=1"})
    return None


def fault_after(switches: SandboxSwitches, key: SandboxKey, plaintext: str) -> HttpResponse:
    """Answer with the new key, unless a fault spoils the answer; the key exists by now."""
    body: dict[str, object] = {"key": plaintext, "user_id": owner_id(key)}
    match switches.exchange_fault:
        case ExchangeFault.CUT_AFTER:
            raise ConnectionCut
        case ExchangeFault.EMPTY:
            return HttpResponse(content_type="application/json")
        case ExchangeFault.INVALID_JSON:
            return HttpResponse(json.dumps(body)[:-20], content_type="application/json")
        case ExchangeFault.NO_KEY:
            del body["key"]
        case ExchangeFault.KEY_WITH_NEWLINE:
            body["key"] = f"{plaintext[:30]}\n{plaintext[30:]}"
        case ExchangeFault.HUGE:
            body["padding"] = "x" * 1024 * 1024
        case ExchangeFault.NO_USER_ID:
            body["user_id"] = None
        case ExchangeFault.EXTRA_FIELDS:
            body |= {"userId": body["user_id"], "scopes": ["inference"], "label": key.label}
    return JsonResponse(body)
