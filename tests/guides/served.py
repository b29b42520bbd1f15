"""The site of a guide, served for a browser, with the sandbox as OpenRouter and somebody in it."""

from contextlib import contextmanager

from tests.example_site import environment, manage, serve
from tests.processes import free_port

NAME, PASSWORD = "ann", "correct horse"
SETTINGS = """
import django
from tests.settings import *

INSTALLED_APPS.remove("tests")
ROOT_URLCONF = "served_urls"
TEMPLATES[0]["DIRS"].insert(0, {folder!r} + "/templates")
STATICFILES_DIRS = [{folder!r} + "/static"]
OPENROUTER_AUTH_AUTHORIZE_URL = "{origin}/openrouter-sandbox/auth"
OPENROUTER_AUTH_API_URL = "{origin}/openrouter-sandbox/api/v1"
if django.VERSION >= (6, 0):
    MIDDLEWARE.insert(1, "django.middleware.csp.ContentSecurityPolicyMiddleware")
    SECURE_CSP = {{"default-src": ["'self'"], "form-action": ["'self'"]}}

"""
MANAGE = """
import sys
from django.core.management import execute_from_command_line

execute_from_command_line(sys.argv)
"""
URLS = """
from mysite.urls import urlpatterns

from django.urls import include, path
from django.views.generic import TemplateView

urlpatterns += [
    path("", TemplateView.as_view(template_name="home.html")),
    path("openrouter-sandbox/", include("django_openrouter_auth.sandbox.urls")),
    path("accounts/", include("django.contrib.auth.urls")),
]
"""


@contextmanager
def served_site(folder, files, settings=""):
    """Serve the files of a guide under a strict policy, and yield the origin.

    Args:
        folder: an empty folder.
        files: text by path; ``mysite/urls.py`` has the site's URLs.
        settings: lines at the end of the settings.
    """
    address = f"localhost:{free_port()}"
    origin = f"http://{address}"
    own = {
        "served_settings.py": SETTINGS.format(folder=str(folder), origin=origin) + settings,
        "served_urls.py": URLS,
        "manage.py": MANAGE,
    }
    for name, text in (files | own).items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    (folder / "static").mkdir(exist_ok=True)
    script = folder / "manage.py"
    env = environment(
        folder, DJANGO_SETTINGS_MODULE="served_settings", DJANGO_SUPERUSER_PASSWORD=PASSWORD
    )
    who = ("--no-input", "--username", NAME, "--email", "ann@example.org")
    for command in (("migrate", "--verbosity", "0"), ("createsuperuser", *who)):
        done = manage(env, *command, script=script)
        assert done.returncode == 0, done.stderr
    arguments = ("runserver", "--noreload", address)
    with serve(env, address, *arguments, log=folder / "site.log", script=script):
        yield origin


def sign_in(page, path):
    """Sign in on a browser's page, and go on to a path."""
    page.goto(f"/accounts/login/?next={path}")
    page.get_by_label("Username").fill(NAME)
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Sign in").click()
    page.wait_for_url(f"**{path}")


def authorize(page):
    """Sign in to the sandbox and allow access, on the way from the button."""
    page.get_by_role("button", name="Continue").click()
    page.get_by_role("button", name="Authorize").click()
