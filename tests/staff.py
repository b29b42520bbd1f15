"""Staff in the admin: a superuser, and members who have just some permissions."""

from typing import Any

import pytest
from django.contrib.auth.models import Permission, User
from django.contrib.messages import get_messages
from django.test import Client

KEYS = "/admin/django_openrouter_auth/openrouterkey/"
ATTEMPTS = "/admin/django_openrouter_auth/connectattempt/"


@pytest.fixture
def staff(db: None, site_url: str) -> Client:
    """The browser of a superuser."""
    client = Client()
    client.force_login(User.objects.create_superuser("root", password="x"))
    return client


def staff_with(*codenames: str) -> Client:
    """Return the browser of a staff member who has just these permissions."""
    member = User.objects.create_user("clerk", is_staff=True)
    member.user_permissions.set(Permission.objects.filter(codename__in=codenames))
    client = Client()
    client.force_login(member)
    return client


def told(response: Any) -> list[tuple[str, str]]:
    """Return level and text of the messages that an answer leaves."""
    return [(one.level_tag, str(one)) for one in get_messages(response.wsgi_request)]


def run_action(client: Client, name: str, *pks: int, **more: str) -> Any:
    """Choose an action for rows of the list of keys."""
    chosen = {"action": name, "_selected_action": pks, "index": "0"}
    return client.post(KEYS, {**chosen, **more})
