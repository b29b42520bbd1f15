"""What all pages of the sandbox share."""

from collections.abc import Callable
from functools import wraps
from urllib.parse import urlencode

from django.contrib.auth.decorators import login_not_required
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.urls import reverse
from django.views.decorators.cache import never_cache
from django.views.decorators.csrf import csrf_protect
from django.views.decorators.http import require_http_methods

from django_openrouter_auth.tables import migrated

from .identity import current_account

View = Callable[..., HttpResponse]


def page_view(*methods: str) -> Callable[[View], View]:
    """Turn a function into a page: no login of the site, CSRF protection, never cached."""

    def decorate(view: View) -> View:
        @login_not_required
        @require_http_methods(methods)
        @never_cache
        @csrf_protect
        @wraps(view)
        def wrapper(request: HttpRequest, *args: object, **kwargs: object) -> HttpResponse:
            with migrated("django_openrouter_auth.sandbox", "openrouter_sandbox_"):
                return view(request, *args, **kwargs)

        return wrapper

    return decorate


def account_view(view: View) -> View:
    """Pass the signed-in account as ``account``; send a visitor without one to sign in first."""

    @wraps(view)
    def wrapper(request: HttpRequest, *args: object, **kwargs: object) -> HttpResponse:
        account = current_account(request)
        if account is None:
            return sign_in_first(request)
        return view(request, *args, account=account, **kwargs)

    return wrapper


def sign_in_first(request: HttpRequest) -> HttpResponse:
    """Redirect to the sign-in page, and from there back to here with all parameters.

    Source: openrouter.ai sends signed-out visitors of ``/auth`` to ``/sign-up?redirect_url=…``.
    """
    query = urlencode({"redirect_url": request.get_full_path()})
    return HttpResponseRedirect(f"{reverse('openrouter_sandbox:sign_in')}?{query}")


def show(
    request: HttpRequest, template: str, context: dict[str, object], status: int = 200
) -> HttpResponse:
    """Render one of the sandbox's templates."""
    return render(
        request,
        f"openrouter_sandbox/{template}",
        {"account": current_account(request), **context},
        status=status,
    )
