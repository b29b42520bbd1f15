"""The guide to the admin."""

import re

import pytest

from django_openrouter_auth.models import OpenRouterKey
from tests.documented import DOCS, Page

from .project import Project

PAGE = Page("howto/admin")
GROUP = PAGE.take("# support/groups.py")
INLINE = PAGE.take("# accounts/admin.py")
OWN = PAGE.take("# support/admin.py")
UNFOLD = PAGE.take("# look/admin.py")

UNFOLD_SETTINGS = """
import warnings
INSTALLED_APPS.insert(0, "unfold")
# Unfold's own, on Django 6.1.
warnings.filterwarnings("ignore", "Overriding get_action_choices")
"""
PREPARE = """
from django.contrib.auth.models import Permission, User
from django.test import Client
from django_openrouter_auth.models import OpenRouterKey
from django_openrouter_auth.testing import openrouter
from django_openrouter_auth.testing.users import connect

KEYS = "/admin/django_openrouter_auth/openrouterkey/"
ann = User.objects.create_user("ann")
root = User.objects.create_superuser("root")
key = connect(ann)
browser = Client()
browser.force_login(root)
USER_PAGE = f"/admin/auth/user/{ann.pk}/change/"

def see(page, who=browser):
    response = who.get(page)
    assert response.status_code == 200, (page, response.status_code)
    return response.content.decode()
"""


@pytest.fixture
def project(tmp_path):
    """A new site, with its tables."""
    project = Project(tmp_path)
    project.manage("migrate", "-v0")
    return project


def add(project, name, text):
    """Add an app with an admin module to the site."""
    project.write(f"{name}/admin.py", text)
    project.append("mysite/settings.py", f"INSTALLED_APPS += ['{name}']\n")


def test_permissions():
    """The table of permissions has those that the models have, but for those that allow nothing."""
    named = set(re.findall(r"\* - ``(\w+)``", (DOCS / "howto/admin.rst").read_text()))
    own = {codename for codename, _ in OpenRouterKey._meta.permissions}
    django = {"view_openrouterkey", "delete_openrouterkey", "view_connectattempt"}
    assert named == own | django


@pytest.mark.guides
def test_group(project):
    """The group of the example sees keys and has them checked, and does nothing else."""
    project.write("support/groups.py", GROUP.text)
    project.run(
        PREPARE
        + """
from support.groups import create_support_group
clerk = User.objects.create_user("clerk", is_staff=True)
clerk.groups.add(create_support_group())
other = Client()
other.force_login(clerk)
text = see(KEYS, other)
assert "check_now" in text and "disconnect" not in text and "set-key" not in text
assert see("/admin/django_openrouter_auth/connectattempt/", other)
assert other.get(f"{KEYS}disconnect/?pk={key.pk}").status_code == 403
"""
    )


@pytest.mark.guides
def test_inline(project):
    """The inline of the example shows a user's key."""
    add(project, "accounts", INLINE.text)
    project.run(PREPARE + "assert key.hint in see(USER_PAGE)\n")


@pytest.mark.guides
def test_own_class(project):
    """The class of the example keeps the keys of staff to superusers, on every page."""
    add(project, "support", OWN.text)
    project.run(
        PREPARE
        + """
clerk = User.objects.create_user("clerk", is_staff=True)
clerk.user_permissions.set(Permission.objects.filter(codename__endswith="_openrouterkey"))
other = Client()
other.force_login(clerk)
mine = connect(root, "sk-or-v1-" + "7" * 64)
assert mine.hint in see(KEYS) and key.hint in see(KEYS)
assert mine.hint not in see(KEYS, other) and key.hint in see(KEYS, other)
for one in (mine, key):
    other.post(f"{KEYS}disconnect/", {"pk": one.pk, "shown": f"{one.pk} {one.hint}"})
assert OpenRouterKey.objects.get() == mine
"""
    )


@pytest.mark.guides
def test_unfold(project):
    """In django-unfold every page is there, with its links, and the actions work."""
    add(project, "look", UNFOLD.text)
    project.append("mysite/settings.py", UNFOLD_SETTINGS)
    project.manage("check")
    project.run(
        PREPARE
        + """
for page in (KEYS, f"{KEYS}{key.pk}/change/", USER_PAGE, f"{KEYS}{key.pk}/delete/"):
    text = see(page)
    assert key.hint in text and "unfold" in text, page
for page in (f"{KEYS}{key.pk}/change/", USER_PAGE):
    text = see(page)
    for name in ("check", "disconnect", "set-key"):
        assert f"{KEYS}{name}/?" in text, (page, name)
for name in ("check", "disconnect"):
    chosen = browser.post(
        KEYS,
        {"action": {"check": "check_now"}.get(name, name), "_selected_action": key.pk, "index": 0},
    )
    assert chosen["Location"] == f"{KEYS}{name}/?pk={key.pk}"
    text = see(chosen["Location"])
    assert key.hint in text and 'type="submit"' in text
assert 'type="password"' in see(f"{KEYS}set-key/")
assert "Connect attempt" in see("/admin/django_openrouter_auth/connectattempt/")
with openrouter():
    new = "sk-or-v1-" + "7" * 64
    answer = browser.post(f"{KEYS}set-key/?user={ann.pk}", {"api_key": new})
    assert answer.status_code == 302
    assert OpenRouterKey.objects.get().secret.reveal() == new
    agreed = {"pk": key.pk, "shown": f"{key.pk} {OpenRouterKey.objects.get().hint}"}
    browser.post(f"{KEYS}check/", agreed)
    assert OpenRouterKey.objects.get().check_began_at
    browser.post(f"{KEYS}disconnect/", agreed)
assert not OpenRouterKey.objects.exists()
"""
    )
