"""What all API views share: error bodies, methods, keys, the journal."""

from collections.abc import Callable
from functools import wraps

from django.contrib.auth.decorators import login_not_required
from django.db import transaction
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.http.response import HttpResponseBase
from django.views.decorators.csrf import csrf_exempt

from .faults import NO_ANSWER, ConnectionCut, hang_up
from .journal import SandboxRequest, bearer_key
from .models import SandboxKey, user_id
from .switches import SandboxSwitches

View = Callable[..., HttpResponseBase]


def error(
    status: int,
    message: str,
    *,
    metadata: dict[str, object] | None = None,
    user: str | None = None,
    headers: dict[str, str] | None = None,
) -> JsonResponse:
    """Return an error in OpenRouter's envelope; ``message`` comes before ``code`` on the wire.

    Source: OpenRouter documentation, "Errors and debugging".
    """
    details: dict[str, object] = {"message": message, "code": status}
    if metadata is not None:
        details["metadata"] = metadata
    body: dict[str, object] = {"error": details}
    if user is not None:
        body["user_id"] = user
    return JsonResponse(body, status=status, headers=headers)


class ApiError(Exception):
    """Raised anywhere below a view to answer with ``response``."""

    def __init__(self, response: HttpResponse) -> None:
        super().__init__(f"HTTP {response.status_code}")
        self.response = response


def api_view(*methods: str, cors: bool = False) -> Callable[[View], View]:
    """Turn a function into a view of the API.

    It needs no session, no login and no CSRF token, writes every request down, and answers
    other methods with 405.

    Args:
        methods: the methods that the view answers.
        cors: whether browsers of other sites may call it, preflight included.
    """

    def decorate(view: View) -> View:
        def answer(request: HttpRequest, *args: object, **kwargs: object) -> HttpResponseBase:
            if cors and request.method == "OPTIONS":
                allowed = {
                    "Access-Control-Allow-Methods": ", ".join(methods),
                    "Access-Control-Allow-Headers": "*",
                }
                return HttpResponse(status=204, headers=allowed)
            if request.method not in methods:
                return error(405, "Method Not Allowed", headers={"Allow": ", ".join(methods)})
            try:
                return view(request, *args, **kwargs)
            except ApiError as refusal:
                return refusal.response

        # Programs call this, with a bearer key and no cookie that a foreign page could misuse.
        # Under ATOMIC_REQUESTS a slow answer would hold a transaction open, and a cut
        # connection would roll back the key that was minted before it.
        @transaction.non_atomic_requests
        @login_not_required
        @csrf_exempt
        @wraps(view)
        def wrapper(request: HttpRequest, *args: object, **kwargs: object) -> HttpResponseBase:
            try:
                response = answer(request, *args, **kwargs)
            except ConnectionCut:
                # First of all: whoever watches looks here as soon as the connection is gone.
                SandboxRequest.record(request, NO_ANSWER)
                return hang_up(request)
            SandboxRequest.record(request, response.status_code)
            if cors:
                response["Access-Control-Allow-Origin"] = "*"
            return response

        return wrapper

    return decorate


def authenticate(request: HttpRequest, switches: SandboxSwitches) -> SandboxKey:
    """Return the key that a request carries.

    Raises:
        ApiError: 401, in OpenRouter's words, without a key or with one that does not work.
    """
    plaintext = bearer_key(request)
    if not plaintext:
        raise ApiError(error(401, switches.no_key_wording))
    key = SandboxKey.find(plaintext)
    if key is None:
        raise ApiError(unknown_key())
    return key


def unknown_key() -> JsonResponse:
    """Return the refusal of an unknown, deleted or expired key; all three look the same."""
    return error(401, "User not found.")


def owner_id(key: SandboxKey) -> str:
    """Return the identifier of the account that owns a key."""
    return user_id(key.account)
