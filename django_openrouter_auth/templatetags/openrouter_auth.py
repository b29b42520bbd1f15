"""``{% load openrouter_auth %}``: button, card, stylesheet, and a question for ``{% if %}``."""

from typing import Any

from django import template
from django.contrib.auth.base_user import AbstractBaseUser
from django.contrib.auth.models import AnonymousUser
from django.contrib.auth.views import redirect_to_login
from django.http import HttpRequest
from django.middleware.csrf import get_token
from django.template import Context
from django.templatetags.static import static
from django.urls import reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _

from ..keys import ShownKey, show_key
from ..redirects import safe_next, with_next

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
) -> SafeString:
    """Show how to connect OpenRouter or, once connected, the masked key.

    Args:
        next: a path of this site to return to; anything else is left out.
        label: text in place of *Connect OpenRouter*.
        variant: ``default``, ``minimal``, ``branded``, ``icon`` or ``cta``.
        size: ``sm``, ``default``, ``lg`` or ``xl``.
        css_class: more classes for the button.
    """
    request, user = _visit(context)
    page = safe_next(str(next))
    key = _key_of(user)
    own: dict[str, Any] = {
        "label": label,
        "next": page,
        "variant": variant if variant in VARIANTS else "default",
        "size": size if size in SIZES else "default",
        "css_class": css_class,
    }
    if key is not None and key.is_usable:
        own["url"], own["hint"] = reverse("openrouter_auth:manage"), key.hint
        own["label"] = _("OpenRouter connected")
    else:
        own["url"] = reverse("openrouter_auth:connect")
        own["label"] = label or (_("Reconnect OpenRouter") if key else _("Connect OpenRouter"))
        if not getattr(user, "is_authenticated", False):
            # After signing in, the page with the button leads on; a POST cannot be repeated.
            own["url"] = redirect_to_login(with_next(own["url"], page)).url
        elif request is not None:
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


@register.filter
def has_openrouter_key(user: AbstractBaseUser | AnonymousUser | None) -> bool:
    """Return whether a user has a key that can be used."""
    key = _key_of(user)
    return key is not None and key.is_usable


def _visit(context: Context) -> tuple[HttpRequest | None, Any]:
    """Return the request, where there is one, and the visitor."""
    # A site may do without context processors: render() hands the request over all the same.
    request: HttpRequest | None = context.get("request") or getattr(context, "request", None)
    return request, getattr(request, "user", None) or context.get("user")


def _render(context: Context, template: str, own: dict[str, Any]) -> SafeString:
    """Render a template in a context of its own, with escaping on in {% autoescape off %} too."""
    current: Any = context.template
    html: SafeString = current.engine.get_template(template).render(Context(own))
    return html


def _key_of(user: Any) -> ShownKey | None:
    return show_key(user) if getattr(user, "is_authenticated", False) else None
