"""``OpenRouterKeyRequiredMiddleware``: the way to connect, wherever a view finds no usable key."""

from django.http import HttpRequest, HttpResponse
from django.utils.deprecation import MiddlewareMixin

from .requiring import NO_USABLE_KEY, answer_without_key

__all__ = ["OpenRouterKeyRequiredMiddleware"]


class OpenRouterKeyRequiredMiddleware(MiddlewareMixin):
    """Send visitors to connect OpenRouter when a view finds no key that it can use.

    It answers ``NotConnected``, ``KeyRejected`` and ``KeyUnreadable`` that a view raises, or the
    template of its ``TemplateResponse``; see :ref:`requiring`. Other exceptions are not touched.
    """

    def process_exception(self, request: HttpRequest, exception: Exception) -> HttpResponse | None:
        """Answer an exception that a view raised, if it is one of the three."""
        if isinstance(exception, NO_USABLE_KEY):
            return answer_without_key(request, exception)
        return None
