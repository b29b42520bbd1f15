"""Every look of the package's button and card, inside the frameworks that restyle buttons."""

from copy import copy
from datetime import timedelta
from uuid import uuid4

from django.contrib.auth.models import AnonymousUser
from django.db import transaction
from django.shortcuts import render
from django.template.loader import render_to_string
from django.utils import timezone, translation
from django.views.decorators.http import require_safe

from django_openrouter_auth.models import OpenRouterKey
from django_openrouter_auth.testing import connect, create_user, reject

FRAMEWORKS = {
    "none": "No framework",
    "bootstrap": "Bootstrap 5",
    "tailwind": "Tailwind 4",
    "pico": "Pico 2",
}
LANGUAGES = ("en", "de", "fr", "es", "pt-br", "it", "ja", "zh-hans", "ar")
SCHEMES = ("auto", "light", "dark")
LOOKS = {
    "variants": ("default", "minimal", "branded", "icon", "cta"),
    "sizes": ("sm", "default", "lg", "xl"),
}
LONG_LABELS = {
    "de": "OpenRouter-Benutzerkonto mit der Donaudampfschifffahrtsgesellschaft verbinden",
    "ar": "اربط حسابك في OpenRouter بهذا الموقع لتستخدم نماذج الذكاء الاصطناعي ضمن حدّك أنت",
}


@require_safe
def show(request, framework):
    """Show everything in one framework, as ``?language=`` and ``?scheme=`` say."""
    language = chosen(request, "language", LANGUAGES)
    with translation.override(language):
        context = {
            "framework": framework,
            "frameworks": FRAMEWORKS,
            "language": language,
            "languages": LANGUAGES,
            "scheme": chosen(request, "scheme", SCHEMES),
            "schemes": SCHEMES,
            "is_rtl": translation.get_language_bidi(),
            "long_labels": LONG_LABELS,
            "states": states(request),
            **LOOKS,
        }
        return render(request, f"gallery/{framework}.html", context)


def chosen(request, name, choices):
    """Return the wish of the address where it is one of the choices, else the first of them."""
    wish = request.GET.get(name)
    return wish if wish in choices else choices[0]


def states(request):
    """Return what the tags of the package make for users in each state.

    The users and their keys are gone when this returns: looking at a page stores nothing.
    """
    soon = (timezone.now() + timedelta(days=3)).isoformat()
    with transaction.atomic():
        newcomer = new_user()
        visitors = {
            "Not connected": newcomer,
            "Connected": user_with(connect, limit=20, limit_remaining=12.5, usage=7.5),
            "Expires soon": user_with(connect, usage=0.25, expires_at=soon),
            "Rejected": user_with(reject),
            "Unreadable": user_with(connect_unreadable),
            "Anonymous": AnonymousUser(),
        }
        found = [seen_by(user, request, name) for name, user in visitors.items()]
        found += [
            seen_by(newcomer, request, "Disabled", disabled=True),
            seen_by(newcomer, request, "Busy"),
        ]
        transaction.set_rollback(True)
    return found


def seen_by(user, request, name, *, disabled=False):
    """Return a state's name, its button, all looks of that, and its card."""
    visit = copy(request)
    visit.user = user
    looks = {**LOOKS, "disabled": disabled}
    return {
        "name": name,
        "button": render_to_string("gallery/button.html", looks, visit),
        "buttons": render_to_string("gallery/buttons.html", looks, visit),
        "card": render_to_string("gallery/card.html", {}, visit),
    }


def new_user():
    """Return a user whose name nobody has."""
    return create_user(f"gallery-{uuid4()}")


def user_with(store_key, **facts):
    """Return a new user, with a key."""
    user = new_user()
    store_key(user, **facts)
    return user


def connect_unreadable(user):
    """Store a key that could not be decrypted: whoever shows it goes by what the row says."""
    connect(user)
    OpenRouterKey.objects.filter(user=user).update(status=OpenRouterKey.Status.UNREADABLE)
