"""What staff do for a user with or without a key: set one, which they enter and never see again."""

import logging
from typing import Any

from django import forms
from django.contrib import admin, messages
from django.contrib.admin import helpers
from django.contrib.admin.widgets import AutocompleteSelect, ForeignKeyRawIdWidget
from django.contrib.auth import get_user_model
from django.contrib.auth.base_user import AbstractBaseUser
from django.core.exceptions import PermissionDenied, ValidationError
from django.db.models import QuerySet
from django.http import Http404, HttpRequest, HttpResponse
from django.urls import URLPattern
from django.utils.decorators import method_decorator
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, pgettext, pgettext_lazy
from django.views.decorators.debug import sensitive_post_parameters, sensitive_variables

from . import services
from .admin_pages import KeyPages
from .exceptions import OpenRouterAuthError
from .finishing import Connected
from .keys import find_key
from .models import ConnectAttempt, OpenRouterKey
from .wording import one_after_the_other

logger = logging.getLogger("django_openrouter_auth")


class SetKeyForm(forms.Form):
    """A user and a key, which is never shown again.

    Args:
        users: those for whom a key may be set.
        chooser: the widget by which one of them is chosen.
        owner: the user, if it is known for whom the key is.
    """

    user: Any = forms.ModelChoiceField(queryset=None, label=pgettext_lazy("fact", "User"))
    api_key = forms.CharField(
        label=pgettext_lazy("fact", "API key"),
        help_text=gettext_lazy(
            "An ordinary key, not a management key. OpenRouter is asked before it is saved, and "
            "it is not shown again."
        ),
        widget=forms.PasswordInput(
            attrs={
                "class": "vTextField",
                "autocomplete": "off",
                "autocapitalize": "none",
                "spellcheck": "false",
                "placeholder": "sk-or-v1-…",
            }
        ),
    )

    def __init__(
        self,
        *args: Any,
        users: QuerySet,
        chooser: forms.Widget,
        owner: AbstractBaseUser | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(*args, **kwargs)
        self.owner = owner
        if owner is not None:
            del self.fields["user"]
        else:
            field: Any = self.fields["user"]
            field.queryset = users
            # Set anew, the widget learns its choices.
            field.widget = chooser
            field.widget.choices = field.choices
            field.widget.is_required = True

    def clean(self) -> None:
        """Refuse users who may not sign in: a key would never be stored for them."""
        super().clean()
        # No local variable holds the whole: an error report would show the key in it.
        chosen = self.cleaned_data.get("user")
        # Shown again is a user, and neither the key nor what Django's widget could not look up.
        self.data = {"user": chosen.pk} if chosen else {}
        self.owner = self.owner or chosen
        if self.owner is not None and not self.owner.is_active:
            self.add_error(
                "user" if "user" in self.fields else None,
                _("This user's account is not active, so no key can be set for it."),
            )


class SetKey(KeyPages):
    """Set key."""

    def get_urls(self) -> list[URLPattern]:
        """Put the page before Django's own, which take any first part for a primary key."""
        return [self.page_path("set-key", self.set_key_page), *super().get_urls()]

    @method_decorator(sensitive_post_parameters())
    @sensitive_variables()
    def set_key_page(self, request: HttpRequest) -> HttpResponse:
        """Ask for a key (GET), or store it for a user if OpenRouter accepts it (POST)."""
        if not self.has_set_permission(request):
            raise PermissionDenied
        users = self._users(request)
        owner = _one_of(users, request.GET["user"]) if "user" in request.GET else None
        replaced = self._replaced(request, owner) if owner else []
        form: Any = SetKeyForm(
            request.POST if request.method == "POST" else None,
            users=users,
            owner=owner,
            chooser=self._chooser(request),
        )
        if form.is_valid():
            self._replaced(request, form.owner)
            result = _adopt(form.owner, form)
            if isinstance(result, Connected):
                return self._tell_set(request, form.owner, result)
            form.add_error("api_key", str(result))
        fields = [(None, {"fields": list(form.fields)})]
        return self.render_page(
            request,
            "set_key",
            pgettext("action", "Set key"),
            owner=owner,
            replaced=replaced,
            back=self.page_url("changelist"),
            adminform=helpers.AdminForm(form, fields, {}, model_admin=self),
            errors=helpers.AdminErrorList(form, []),
            media=self.media + form.media,
        )

    def _replaced(self, request: HttpRequest, user: AbstractBaseUser) -> list[OpenRouterKey]:
        """Return the key that a new one replaces; one that is hidden from staff is not replaced."""
        found = self.visible_keys(request, user=user)
        if not found and find_key(user) is not None:
            raise PermissionDenied
        return found

    def _tell_set(
        self, request: HttpRequest, user: AbstractBaseUser, connected: Connected
    ) -> HttpResponse:
        text = _("The key is saved: OpenRouter accepts it.")
        if connected.replaced_hash is not None:
            replaced = _(
                "The previous key is no longer used here. If it still exists at OpenRouter, it "
                "works until its owner deletes it there."
            )
            text = one_after_the_other(text, replaced)
        self.message_user(request, text, messages.SUCCESS)
        key = find_key(user)
        # It may have been deleted meanwhile; and it is on record, too, if staff may not see it.
        if key is not None:
            self.log_change(request, key, pgettext("admin", "Key set"))
        return self.go_back(request, self.visible_keys(request, user=user))

    def _users(self, request: HttpRequest) -> QuerySet:
        """Return the users for whom a key may be set: those that the site's admin shows."""
        users = self._user_admin()
        return users.get_queryset(request) if users else get_user_model()._default_manager.all()

    def _user_admin(self) -> admin.ModelAdmin | None:
        model = get_user_model()
        is_there = self.admin_site.is_registered(model)
        return self.admin_site.get_model_admin(model) if is_there else None

    def _chooser(self, request: HttpRequest) -> Any:
        """Return a field with search where this member of staff may search, else one for an id."""
        field: Any = OpenRouterKey._meta.get_field("user")
        users = self._user_admin()
        if users and users.has_view_permission(request) and users.get_search_fields(request):
            # The script that takes the field's place hands the title on, and not the label.
            return AutocompleteSelect(field, self.admin_site, {"title": pgettext("fact", "User")})
        return ForeignKeyRawIdWidget(field.remote_field, self.admin_site)


def _one_of(users: QuerySet, pk: str) -> AbstractBaseUser:
    try:
        user: AbstractBaseUser = forms.ModelChoiceField(users).clean(pk)
    except ValidationError:
        raise Http404 from None
    return user


@sensitive_variables()
def _adopt(user: AbstractBaseUser, form: SetKeyForm) -> Connected | OpenRouterAuthError:
    # Nothing may escape: an unhandled exception would put the key into Django's error report.
    try:
        return services.adopt_key(
            user=user, text=form.cleaned_data["api_key"], mode=ConnectAttempt.Mode.ADMIN
        )
    except OpenRouterAuthError as error:
        return error
    except Exception as error:  # noqa: BLE001 - its report would hold the key
        logger.warning("openrouter key not set: %s", type(error).__name__)
    return OpenRouterAuthError(stage="save")
