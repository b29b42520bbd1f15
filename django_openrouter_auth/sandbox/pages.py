"""The pages of an account, and the switchboard."""

from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse

from .forms import SwitchesForm
from .identity import current_account
from .introspection import BOUGHT_CREDITS, account_usage
from .journal import SandboxRequest
from .models import SandboxKey
from .rendering import account_view, page_view, show
from .switches import SandboxSwitches

SHOWN = 20
"""How many rows of a list a page shows."""


@page_view("GET", "HEAD")
def home(request: HttpRequest) -> HttpResponse:
    """Show what the sandbox is and how a site points at it."""
    return show(
        request,
        "home.html",
        {
            "authorize_url": request.build_absolute_uri(reverse("openrouter_sandbox:auth")),
            "api_url": request.build_absolute_uri(reverse("openrouter_sandbox:home") + "api/v1"),
        },
    )


@page_view("GET", "HEAD")
@account_view
def keys(request: HttpRequest, account: str) -> HttpResponse:
    """List the account's keys."""
    found = SandboxKey.objects.filter(account=account).order_by("-pk")
    return show(request, "keys.html", {"keys": found})


@page_view("GET", "HEAD", "POST")
def key(request: HttpRequest, key_hash: str) -> HttpResponse:
    """Show one key to its owner, who may delete it; for everybody else there is no such page.

    Source: OpenRouter OAuth PKCE guide, links to a key.
    """
    found = _own_key(request, key_hash)
    if found is None:
        return show(request, "not_found.html", {}, status=404)
    if request.method == "POST":
        found.delete()
        return HttpResponseRedirect(reverse("openrouter_sandbox:keys"))
    return show(request, "key.html", {"key": found})


@page_view("GET", "HEAD")
def logs(request: HttpRequest) -> HttpResponse:
    """Show what one key was used for, to its owner."""
    found = _own_key(request, request.GET.get("api_key_hash", ""))
    if found is None:
        return show(request, "not_found.html", {}, status=404)
    return show(request, "logs.html", {"key": found, "generations": found.generations.all()[:100]})


def _own_key(request: HttpRequest, key_hash: str) -> SandboxKey | None:
    account = current_account(request)
    return SandboxKey.objects.filter(account=account, key_hash=key_hash).first()


@page_view("GET", "HEAD")
@account_view
def credits_page(request: HttpRequest, account: str) -> HttpResponse:
    """Show what the account has bought and spent."""
    used = account_usage(account)
    return show(
        request,
        "credits.html",
        {"bought": BOUGHT_CREDITS, "used": used, "left": BOUGHT_CREDITS - used},
    )


@page_view("GET", "HEAD", "POST")
def faults(request: HttpRequest) -> HttpResponse:
    """Set the switches, and look at the last requests to the API."""
    if "reset" in request.POST:
        SandboxSwitches.reset()
        return HttpResponseRedirect(reverse("openrouter_sandbox:faults"))
    bound = request.POST if request.method == "POST" else None
    form = SwitchesForm(bound, instance=SandboxSwitches.load())
    if form.is_valid():
        form.save()
        return HttpResponseRedirect(reverse("openrouter_sandbox:faults"))
    context: dict[str, object] = {"form": form, "requests": SandboxRequest.objects.all()[:SHOWN]}
    return show(request, "faults.html", context, status=400 if form.is_bound else 200)
