"""``{% load openrouter_auth %}``: button, card, static files, and a question for ``{% if %}``."""

from datetime import datetime
from decimal import Decimal
from typing import Any

from django import template
from django.contrib.auth.base_user import AbstractBaseUser
from django.contrib.auth.models import AnonymousUser
from django.contrib.auth.views import redirect_to_login
from django.http import HttpRequest
from django.middleware.csrf import get_token
from django.template import Context
from django.templatetags.static import static
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import pgettext

from .. import money, wording
from ..keys import ShownKey, show_key
from ..redirects import own_url, safe_next, with_next

register = template.Library()

VARIANTS = ("default", "minimal", "branded", "icon", "cta")
SIZES = ("default", "sm", "lg", "xl")


@register.simple_tag(takes_context=True)
def openrouter_button(
    context: Context,
    next: str = "",  # the name that Django's own login view uses
    label: str = "",
    variant: str = "default",
    size: str = "default",
    css_class: str = "",
    disabled: bool = False,
) -> SafeString:
    """Show how to connect OpenRouter or, once connected, the masked key.

    Args:
        next: a path of this site to return to; anything else is left out.
        label: text in place of *Connect OpenRouter*.
        variant: ``default``, ``minimal``, ``branded``, ``icon`` or ``cta``.
        size: ``sm``, ``default``, ``lg`` or ``xl``.
        css_class: more classes for the button.
        disabled: show it, but let it do nothing.
    """
    request, user = _visit(context)
    page = safe_next(str(next))
    key = _key_of(user)
    own: dict[str, Any] = {
        **_words(key, label),
        "next": page,
        "variant": variant if variant in VARIANTS else "default",
        "size": size if size in SIZES else "default",
        "css_class": css_class,
        "disabled": disabled,
    }
    if not disabled:
        own["url"] = own_url("manage" if own["hint"] else "connect")
        if not getattr(user, "is_authenticated", False):
            # After signing in, the page with the button leads on; a POST cannot be repeated.
            own["url"] = redirect_to_login(with_next(own["url"], page)).url
        elif request is not None and not own["hint"]:
            own["csrf_token"] = get_token(request)
    return _render(context, "openrouter_auth/button.html", own)


@register.simple_tag(takes_context=True)
def openrouter_card(
    context: Context,
    next: str = "",  # as in the button
) -> SafeString:
    """Show the state of the connection, what the key has used and may use, and what to do.

    Args:
        next: a path of this site to return to after connecting; anything else is left out.
    """
    key = _key_of(_visit(context)[1])
    button = openrouter_button(context, next=next)
    return _render(
        context,
        "openrouter_auth/card.html",
        {"key": key, "button": button, "next": safe_next(str(next))},
    )


@register.simple_tag
def openrouter_stylesheet() -> SafeString:
    """Link the stylesheet of the button and the pages."""
    return format_html('<link rel="stylesheet" href="{}">', static("openrouter_auth/style.css"))


@register.simple_tag
def openrouter_script() -> SafeString:
    """Link the script that shows that a button is busy; everything works without it."""
    return format_html('<script src="{}" defer></script>', static("openrouter_auth/busy.js"))


@register.filter
def has_openrouter_key(user: AbstractBaseUser | AnonymousUser | None) -> bool:
    """Return whether a user has a key that can be used."""
    key = _key_of(user)
    return key is not None and key.is_usable


@register.filter
def as_money(amount: Decimal | None) -> str:
    """Return an amount in US dollars as people write it; nothing where it is not known."""
    return money.as_money(amount) if isinstance(amount, Decimal) else ""


@register.filter
def as_moment(moment: datetime | None) -> str:
    """Return a time in the current time zone, which is named; nothing where there is none."""
    return wording.as_moment(moment) if isinstance(moment, datetime) else ""


def _visit(context: Context) -> tuple[HttpRequest | None, Any]:
    """Return the request, where there is one, and the visitor."""
    # A site may do without context processors: render() hands the request over all the same.
    request: HttpRequest | None = context.get("request") or getattr(context, "request", None)
    return request, getattr(request, "user", None) or context.get("user")


def _words(key: ShownKey | None, label: str) -> dict[str, str]:
    """Return what the button says, its name for screen readers, and the mask of a usable key."""
    if key is not None and key.is_usable:
        name = pgettext("status", "OpenRouter connected, key %(hint)s") % {"hint": key.hint}
        return {"label": pgettext("status", "OpenRouter connected"), "name": name, "hint": key.hint}
    if not label:
        label = (
            pgettext("action", "Reconnect OpenRouter")
            if key
            else pgettext("action", "Connect OpenRouter")
        )
    return {"label": label, "name": label, "hint": ""}


def _render(context: Context, template: str, own: dict[str, Any]) -> SafeString:
    """Render a template in a context of its own, with escaping on in {% autoescape off %} too."""
    current: Any = context.template
    html: SafeString = current.engine.get_template(template).render(Context(own))
    return html


def _key_of(user: Any) -> ShownKey | None:
    return show_key(user) if getattr(user, "is_authenticated", False) else None
