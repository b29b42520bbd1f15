"""The pages between an app's button and its callback: signing in and giving consent."""

from django.http import HttpRequest, HttpResponse, HttpResponseRedirect

from .authorization import AuthorizationRequest, RefusedError
from .forms import DEFAULT_ACCOUNT, ConsentForm, SignInForm
from .identity import current_account, local_redirect, sign_in, sign_out
from .models import SandboxCode
from .rendering import page_view, show, sign_in_first
from .switches import SandboxSwitches


@page_view("GET", "HEAD", "POST")
def sign_in_page(request: HttpRequest) -> HttpResponse:
    """Sign in to the sandbox, or out of it."""
    target = local_redirect(request.GET.get("redirect_url", ""))
    if request.method != "POST":
        account = current_account(request)
        form = SignInForm(initial={"account": account or DEFAULT_ACCOUNT})
        return show(request, "sign_in.html", {"form": form})
    response = HttpResponseRedirect(target)
    if "sign_out" in request.POST:
        sign_out(response)
        return response
    form = SignInForm(request.POST)
    if not form.is_valid():
        return show(request, "sign_in.html", {"form": form}, status=400)
    sign_in(response, request, form.cleaned_data["account"])
    return response


@page_view("GET", "HEAD", "POST")
def authorize(request: HttpRequest) -> HttpResponse:
    """Ask the account for consent and go back to the app with the answer.

    Source: OpenRouter OAuth PKCE guide, step 1.
    """
    try:
        asked = AuthorizationRequest.from_query(request.GET)
    except RefusedError as refusal:
        return show(request, "refused.html", {"reason": str(refusal)}, status=400)
    account = current_account(request)
    if account is None:
        return sign_in_first(request)
    switches = SandboxSwitches.load()
    if request.POST.get("decision") == "deny":
        if not asked.callback_url:
            return show(request, "denied.html", {})
        return HttpResponseRedirect(asked.denied_url(describe=switches.describe_denial))
    initial = {"name": asked.key_label or asked.app_name, "limit": asked.limit}
    form = ConsentForm(request.POST if request.method == "POST" else None, initial=initial)
    if not form.is_valid():
        status = 400 if form.is_bound else 200
        return show(request, "consent.html", {"form": form, "asked": asked}, status=status)
    code = SandboxCode.issue(
        account=account,
        code_challenge=asked.code_challenge,
        method=asked.method,
        # The prefix is what people find on their keys page.
        name=f"OAuth: {form.cleaned_data['name']}",
        limit=form.cleaned_data["limit"],
        limit_reset=form.cleaned_data["limit_reset"],
        key_expires_at=form.expires_at(),
    )
    if not asked.callback_url:
        return show(request, "code.html", {"code": code})
    return HttpResponseRedirect(asked.approved_url(code, echo_state=switches.echo_state))
