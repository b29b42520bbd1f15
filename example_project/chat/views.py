from django.contrib import messages
from django.contrib.auth import login
from django.contrib.auth.decorators import login_required
from django.contrib.auth.forms import UserCreationForm
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils.html import format_html
from django.views.decorators.http import require_http_methods, require_POST
from django.views.generic import CreateView

from . import openrouter
from .forms import ChatForm

REMEMBERED = 20
"""How many messages of a conversation are kept, and sent along with the next one."""


class SignUpView(CreateView):
    """Make an account and sign in."""

    form_class = UserCreationForm
    template_name = "registration/sign_up.html"

    def form_valid(self, form):
        login(self.request, form.save())
        return redirect("home")


@login_required
@require_http_methods(["GET", "POST"])
def chat(request):
    """Show the conversation (GET), or go on with it (POST).

    The conversation lives in the session. Every POST ends in a redirect, also after an error:
    reloading the page must not ask again, and pay again.
    """
    form = ChatForm(request.POST or None, initial=request.session.get("draft"))
    if form.is_valid():
        return answer(request, **form.cleaned_data)
    conversation = request.session.get("conversation", [])
    return render(request, "chat.html", {"form": form, "conversation": conversation})


def answer(request, message, model):
    """Ask the model, and remember what was said or, after an error, what was meant to be."""
    conversation = [
        *request.session.get("conversation", [])[-REMEMBERED:],
        {"role": "user", "content": message},
    ]
    try:
        text = openrouter.ask(request.user, model, conversation)
    except openrouter.ChatError as error:
        request.session["draft"] = {"message": message, "model": model}
        messages.error(request, with_link(error))
        return redirect("chat")
    request.session["draft"] = {"model": model}
    request.session["conversation"] = [*conversation, {"role": "assistant", "content": text}]
    return redirect(reverse("chat") + "#latest")


def with_link(error):
    """Return an error as HTML: its text and the link that helps."""
    if error.link is None:
        return str(error)
    return format_html('{} <a href="{}">{}</a>', error, *error.link)


@login_required
@require_POST
def clear(request):
    """Forget the conversation."""
    request.session.pop("conversation", None)
    return redirect("chat")
