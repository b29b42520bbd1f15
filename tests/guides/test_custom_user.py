"""The guide to a custom user model."""

import pytest

from tests.documented import Page

from .project import Project

PAGE = Page("howto/custom-user")
MODELS = PAGE.take("# accounts/models.py")
SETTINGS = PAGE.take("# settings.py")
ANEW = PAGE.take("python manage.py migrate django_openrouter_auth zero")
REPORTS = PAGE.take("# accounts/reports.py")
ADMIN = PAGE.take("# accounts/admin.py")

WALK = """
from accounts.reports import connected_users
from django.contrib.auth import get_user_model
from django.test import Client
from django_openrouter_auth.models import OpenRouterKey
from django_openrouter_auth.shortcuts import get_api_key
from django_openrouter_auth.testing import KEY, approve, openrouter

User = get_user_model()
assert User.__module__ == "accounts.models"
ann = User.objects.create_superuser(email="ann@example.org", username="ann")
browser = Client()
browser.force_login(ann)
with openrouter():
    approve(browser)
assert get_api_key(ann) == KEY
assert connected_users() == {"ann@example.org": "sk-or-v1-0e6...1c9"}
found = browser.get("/admin/django_openrouter_auth/openrouterkey/?q=ann@example")
assert "sk-or-v1-0e6...1c9" in found.content.decode()
found = browser.get(f"/admin/accounts/user/{ann.pk}/change/")
assert "sk-or-v1-0e6...1c9" in found.content.decode()
ann.delete()
assert not OpenRouterKey.objects.exists()
"""


def give_user_model(project):
    """Do what the guide says."""
    project.write("accounts/models.py", MODELS.text)
    project.write("accounts/reports.py", REPORTS.text)
    project.write("accounts/admin.py", ADMIN.text)
    project.append("mysite/settings.py", SETTINGS.text)
    project.manage("makemigrations", "accounts")


@pytest.mark.guides
def test_new_project(tmp_path):
    """The model of the guide connects, is found in the admin, and takes its key along."""
    project = Project(tmp_path)
    give_user_model(project)
    project.manage("migrate")
    project.run(WALK)


@pytest.mark.guides
def test_tables_made_anew(tmp_path):
    """In a project that is in use, our tables follow to another user model."""
    project = Project(tmp_path)
    project.manage("migrate")
    away, comment, anew = ANEW.text.splitlines()
    assert comment.startswith("#")
    project.manage(*away.split()[2:])
    # As good as bringing users over: there are none, in a database without the old tables.
    project.manage("migrate", "admin", "zero")
    project.run(
        "from django.db import connection\n"
        "with connection.cursor() as cursor:\n"
        "    cursor.execute(\"DELETE FROM django_migrations WHERE app IN ('admin', 'auth')\")\n"
        "    for table in ('auth_user_groups', 'auth_user_user_permissions', 'auth_user',\n"
        "                  'auth_group_permissions', 'auth_group', 'auth_permission'):\n"
        '        cursor.execute(f"DROP TABLE {table}")\n'
    )
    give_user_model(project)
    project.manage(*anew.split()[2:])
    project.run(WALK)


@pytest.mark.django_db
def test_keys_of_another_primary_key(user, other_user, connected):
    """A key that was moved to another primary key counts as unreadable."""
    from django_openrouter_auth.exceptions import KeyUnreadable
    from django_openrouter_auth.models import OpenRouterKey
    from django_openrouter_auth.shortcuts import get_api_key

    OpenRouterKey.objects.update(user=other_user)
    with pytest.raises(KeyUnreadable):
        get_api_key(other_user)
    assert OpenRouterKey.objects.get().status == "unreadable"


def test_deleted_user_sends_no_signal(user, connected, django_capture_on_commit_callbacks):
    """Deleting a user deletes the key without a word to receivers."""
    from django_openrouter_auth.models import OpenRouterKey
    from django_openrouter_auth.signals import key_disconnected

    told = []

    def receive(**facts):
        told.append(facts)

    key_disconnected.connect(receive)
    with django_capture_on_commit_callbacks(execute=True):
        user.delete()
    key_disconnected.disconnect(receive)
    assert told == []
    assert not OpenRouterKey.objects.exists()
