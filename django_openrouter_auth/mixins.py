"""``OpenRouterKeyRequiredMixin``: a class-based view for people who have connected OpenRouter."""

from typing import Any

from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.utils.decorators import method_decorator
from django.views.generic.base import View

from .decorators import openrouter_key_required

__all__ = ["OpenRouterKeyRequiredMixin"]


# As a View it guards in whatever order a class names its bases.
class OpenRouterKeyRequiredMixin(View):
    """Let only visitors with a usable OpenRouter key see a class-based view.

    For synchronous and asynchronous handlers; does what
    :func:`~django_openrouter_auth.decorators.openrouter_key_required` does.
    """

    @method_decorator(openrouter_key_required)
    def dispatch(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        return super().dispatch(request, *args, **kwargs)
