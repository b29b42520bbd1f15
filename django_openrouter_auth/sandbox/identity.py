"""Who is signed in to the sandbox: an account name in a signed cookie of its own."""

from urllib.parse import unquote, urlsplit

from django.http import HttpRequest, HttpResponse
from django.urls import reverse
from django.utils.http import url_has_allowed_host_and_scheme

COOKIE = "openrouter_sandbox_account"
SALT = "django_openrouter_auth.sandbox"
MAX_AGE = 30 * 24 * 60 * 60


def current_account(request: HttpRequest) -> str | None:
    """Return the signed-in account's e-mail address; the site's own users do not matter here."""
    account: str | None = request.get_signed_cookie(
        COOKIE, default=None, salt=SALT, max_age=MAX_AGE
    )
    return account


def sign_in(response: HttpResponse, request: HttpRequest, account: str) -> None:
    """Sign an account in, for the pages of the sandbox and no others."""
    response.set_signed_cookie(
        COOKIE,
        account,
        salt=SALT,
        max_age=MAX_AGE,
        path=reverse("openrouter_sandbox:home"),
        secure=request.is_secure(),
        httponly=True,
        samesite="Lax",
    )


def sign_out(response: HttpResponse) -> None:
    """Sign the account out."""
    response.delete_cookie(COOKIE, path=reverse("openrouter_sandbox:home"), samesite="Lax")


def local_redirect(url: str) -> str:
    """Return ``url`` if it leads to a page of the sandbox, the sandbox's first page otherwise."""
    home = reverse("openrouter_sandbox:home")
    if not url_has_allowed_host_and_scheme(url, allowed_hosts=None):
        return home
    path = urlsplit(url).path
    # Browsers resolve dots, encoded ones and ones after a backslash too, before they go there.
    dots = {".", ".."} & set(unquote(path).replace("\\", "/").split("/"))
    return url if path.startswith(home) and not dots else home
