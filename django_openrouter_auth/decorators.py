"""``@openrouter_key_required``: a view for people who have connected OpenRouter."""

from collections.abc import Awaitable, Callable
from functools import wraps
from typing import Any, TypeVar

from asgiref.sync import iscoroutinefunction, sync_to_async
from django.contrib.auth.decorators import login_not_required
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.utils.cache import patch_vary_headers

from .requiring import NO_USABLE_KEY, answer_without_key, refuse, savepoint

__all__ = ["openrouter_key_required"]

View = TypeVar("View", bound=Callable[..., HttpResponseBase | Awaitable[HttpResponseBase]])


def openrouter_key_required(view: View) -> View:
    """Let only visitors with a usable OpenRouter key see a view.

    Others are sent to the page that connects, or to the login page first, and then back; see
    :ref:`requiring`. The same happens when the view raises ``NotConnected``, ``KeyRejected`` or
    ``KeyUnreadable``; under ``ATOMIC_REQUESTS`` what it wrote is then rolled back.

    Args:
        view: a view, synchronous or ``async def``; for class-based views ``method_decorator``
            makes a decorator of methods from this one.
    """
    guarded: Any = _guard_async(view) if _is_asynchronous(view) else _guard(view)
    # Strangers are answered here, and programs among them with 401 instead of a login page.
    outermost: View = login_not_required(guarded)
    return outermost


def _is_asynchronous(view: Any) -> bool:
    # method_decorator hands over a partial of the bound dispatch(), which is a plain function
    # and returns a coroutine where the handlers of its class are asynchronous.
    owner = getattr(getattr(view, "func", None), "__self__", None)
    return iscoroutinefunction(view) or getattr(owner, "view_is_async", False)


def _guard(view: Any) -> Any:
    @wraps(view)
    def answer(request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
        refusal = refuse(request)
        if refusal is not None:
            return refusal
        try:
            with savepoint(request):
                response = view(request, *args, **kwargs)
        except NO_USABLE_KEY as error:
            return answer_without_key(request, error)
        return _for_this_visitor(response)

    return answer


def _guard_async(view: Any) -> Any:
    @wraps(view)
    async def answer(request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
        refusal = await sync_to_async(refuse)(request)
        if refusal is not None:
            return refusal
        try:
            response = await view(request, *args, **kwargs)
        except NO_USABLE_KEY as error:
            return await sync_to_async(answer_without_key)(request, error)
        return _for_this_visitor(response)

    return answer


def _for_this_visitor(response: Any) -> Any:
    """Keep a cache outside of the decorator from showing the page to somebody without a key."""
    # What else a view returns by mistake is Django's to complain about.
    if isinstance(response, HttpResponseBase):
        patch_vary_headers(response, ("Cookie",))
    return response
