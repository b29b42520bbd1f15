"""Go through the whole life of a connection with the custom user model; prints ``done``."""

import django

django.setup()

from django.contrib.auth import get_user_model  # noqa: E402 - after the set-up
from django.core.management import call_command  # noqa: E402
from django.test import Client  # noqa: E402
from django.test.utils import setup_test_environment  # noqa: E402

from django_openrouter_auth.models import OpenRouterKey  # noqa: E402
from django_openrouter_auth.shortcuts import get_api_key  # noqa: E402
from django_openrouter_auth.testing import openrouter  # noqa: E402
from tests.connecting import CODE, HINT, KEY, start  # noqa: E402

setup_test_environment()
call_command("migrate", run_syncdb=True, verbosity=0)
member = get_user_model().objects.create(email="ann@example.org", is_staff=True, is_superuser=True)
browser = Client()
browser.force_login(member)
with openrouter():
    browser.get(start(browser).path, {"code": CODE})
assert get_api_key(member) == KEY
assert get_api_key(get_user_model().objects.get()) == KEY
assert HINT in browser.get("/openrouter/").content.decode()
found = browser.get("/admin/django_openrouter_auth/openrouterkey/?q=ann@example")
assert HINT in found.content.decode()
browser.post("/openrouter/disconnect/")
assert not OpenRouterKey.objects.exists()
print("done")  # noqa: T201 - what the test waits for
