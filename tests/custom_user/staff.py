"""Use the admin with the custom user model, the inline included; prints ``done``."""

import django

django.setup()

from django.contrib import admin  # noqa: E402 - after the set-up
from django.contrib.auth import get_user_model  # noqa: E402
from django.core.management import call_command  # noqa: E402
from django.test import Client  # noqa: E402
from django.test.utils import setup_test_environment  # noqa: E402

from django_openrouter_auth.admin import OpenRouterKeyInline  # noqa: E402
from django_openrouter_auth.models import OpenRouterKey  # noqa: E402
from django_openrouter_auth.shortcuts import get_api_key  # noqa: E402
from django_openrouter_auth.testing import openrouter  # noqa: E402
from tests.connecting import HINT, KEY  # noqa: E402

Member = get_user_model()
KEYS = "/admin/django_openrouter_auth/openrouterkey/"


@admin.register(Member)
class MemberAdmin(admin.ModelAdmin):
    """A site's own user admin, in which users cannot be searched."""

    fields = ("email",)
    inlines = (OpenRouterKeyInline,)


setup_test_environment()
call_command("migrate", run_syncdb=True, verbosity=0)
member = Member.objects.create(email="ann@example.org")
root = Member.objects.create(email="root@example.org", is_staff=True, is_superuser=True)
browser = Client()
browser.force_login(root)
page = f"/admin/custom_user/member/{member.pk}/change/"
link = f"{KEYS}set-key/?user={member.pk}"
assert link in browser.get(page).content.decode()
with openrouter():
    browser.post(link, {"api_key": KEY})
    assert get_api_key(Member.objects.get(pk=member.pk)) == KEY
    assert HINT in browser.get(page).content.decode()
    browser.post(f"{KEYS}set-key/", {"user": str(root.pk), "api_key": KEY})
    assert OpenRouterKey.objects.count() == 2
    pks = list(OpenRouterKey.objects.values_list("pk", flat=True))
    agreed = {"pk": pks, "shown": [f"{pk} {HINT}" for pk in pks]}
    browser.post(f"{KEYS}check/", agreed)
    assert not OpenRouterKey.objects.filter(check_began_at=None).exists()
browser.post(f"{KEYS}disconnect/", agreed)
assert not OpenRouterKey.objects.exists()
print("done")  # noqa: T201 - what the test waits for
