"""The guide to moving keys here."""

import pytest

from tests.documented import Page

from .project import Project

PAGE = Page("howto/moving")
MIGRATION = PAGE.take("# chat/migrations/0002_move_keys.py")
OWN_FERNET = PAGE.take("# instead, for keys that were encrypted with Fernet")
SITE_KEY = PAGE.take("# settings.py")
VIEW = PAGE.take("# chat/views.py")

MODEL = """
from django.conf import settings
from django.db import models
{imports}

class Profile(models.Model):
    user = models.OneToOneField(settings.AUTH_USER_MODEL, models.CASCADE)
    openrouter_key = {field}default="")
"""
BEFORE = """
from django.contrib.auth.models import User
from chat.models import Profile
from django_openrouter_auth.testing import KEY, OTHER_KEY
{more}
keys = dict(ann=seal(KEY + "\\n"), bob="", cyd=seal("lost"), dan=seal(OTHER_KEY))
for name, key in keys.items():
    Profile.objects.create(user=User.objects.create(username=name), openrouter_key=key)
"""
AFTER = """
from django.contrib.auth.models import User
from django_openrouter_auth.models import OpenRouterKey
from django_openrouter_auth.shortcuts import get_api_key
from django_openrouter_auth.testing import KEY, OTHER_KEY
rows = {key.user.username: key for key in OpenRouterKey.objects.all()}
assert set(rows) == {"ann", "dan"}, rows
assert get_api_key(rows["ann"].user) == KEY
assert get_api_key(rows["dan"].user) == OTHER_KEY
assert rows["ann"].is_usable and rows["ann"].checked_at is None
assert (rows["ann"].source, rows["ann"].hint) == ("oauth", "sk-or-v1-0e6...1c9")
"""
ENCRYPTING = """
from cryptography.fernet import Fernet
from django.conf import settings
def seal(key):
    return Fernet(settings.CHAT_FERNET_KEY).encrypt(key.encode()).decode()
"""
# The field, where it comes from, how a key is put into it, and how it is read.
WAYS = {
    "plain": ("models.CharField(max_length=200, ", "", "seal = str", ""),
    "fernet-fields": (
        "EncryptedTextField(",
        "from fernet_fields import EncryptedTextField",
        "seal = str",
        "",
    ),
    "own Fernet": ("models.TextField(", "", ENCRYPTING, OWN_FERNET.text),
}


@pytest.fixture
def project(tmp_path):
    """A site with this package."""
    return Project(tmp_path)


@pytest.mark.guides
@pytest.mark.parametrize("way", WAYS)
def test_keys_of_hand_written_code(project, way):
    """The data migration brings keys along, leaves out what is none, and can run twice."""
    field, imports, seal, reader = WAYS[way]
    project.append("mysite/settings.py", 'INSTALLED_APPS += ["chat"]\n')
    project.append("mysite/settings.py", f"CHAT_FERNET_KEY = {'A' * 43 + '='!r}\n")
    project.write("chat/models.py", MODEL.format(imports=imports, field=field))
    project.manage("makemigrations", "chat")
    project.manage("migrate", "chat")
    project.manage("migrate", "auth")
    project.run(BEFORE.format(more=seal))
    migration = MIGRATION.text
    if reader:
        own = migration[migration.index("def read_key") : migration.index("def move_keys")]
        migration = reader + migration.replace(own, "")
    project.write("chat/migrations/0002_move_keys.py", migration)
    project.manage("migrate")
    project.run(AFTER)
    project.manage("migrate", "chat", "0001")
    project.manage("migrate")
    project.run(AFTER)


@pytest.mark.guides
def test_keys_are_checked_afterwards(project):
    """The command that the guide names asks about keys that were brought along."""
    project.manage("migrate")
    project.run(
        """
        from io import StringIO
        from django.contrib.auth.models import User
        from django.core.management import call_command
        from django_openrouter_auth.models import OpenRouterKey
        from django_openrouter_auth.testing import KEY, openrouter
        ann = User.objects.create(username="ann")
        key = OpenRouterKey.objects.create(
            user=ann, source="oauth", **OpenRouterKey.derive(ann.pk, KEY)
        )
        with openrouter() as provider:
            provider.knows(limit=10)
            call_command("openrouter_auth_check_keys", stale_after=0, stdout=StringIO())
        key.refresh_from_db()
        assert (key.limit, key.checked_at is None) == (10, False)
        """
    )


@pytest.mark.guides
def test_beside_django_openrouter(project):
    """Both packages in one project: the site's key pays for whoever has none of their own."""
    project.append("mysite/settings.py", SITE_KEY.text.replace(', "django_openrouter_auth"', ""))
    project.write("chat/views.py", VIEW.text)
    project.manage("migrate")
    assert "no issues" in project.manage("check")
    project.run(
        """
        import json
        from django.contrib.auth.models import User
        from django.test import Client, RequestFactory
        from django_openrouter.models import OpenRouterSettings
        from chat.views import answer
        from django_openrouter_auth.exceptions import KeyRejected, NotConnected
        from django_openrouter_auth.testing import KEY, connect, openrouter, reject
        from django_openrouter_auth.shortcuts import resolve_api_key

        ann, bob, cyd = (User.objects.create_superuser(name) for name in ("ann", "bob", "cyd"))
        try:
            resolve_api_key(bob)
        except NotConnected:
            pass
        else:
            raise AssertionError("nobody pays before the key is set")
        site = OpenRouterSettings.load()
        site.api_key = "sk-or-v1-" + "5" * 64
        site.save()
        connect(ann)
        reject(cyd)
        with openrouter() as provider:
            provider.answers("Hi!")
            for user, payer, key in ((ann, "user", KEY), (bob, "site", site.api_key)):
                request = RequestFactory().get("/")
                request.user = user
                assert json.loads(answer(request).content)["paid_by"] == payer
                assert provider.chats[-1].api_key == key
        try:
            resolve_api_key(cyd)
        except KeyRejected:
            pass
        else:
            raise AssertionError("the site paid for a rejected key")
        browser = Client()
        browser.force_login(ann)
        for page in (
            "/openrouter/",
            "/admin/django_openrouter_auth/openrouterkey/",
            "/admin/django_openrouter/requestlog/",
        ):
            assert browser.get(page).status_code == 200, page
        """
    )
