"""What the comparison says about other packages: their latest versions do it here."""

import re
from importlib.metadata import files as files_of
from importlib.metadata import version
from importlib.resources import files
from pathlib import Path

import pytest

from tests.documented import DOCS, Page
from tests.test_readme import README, changed_lines

from ..testing.running import python
from .project import HEAD, Project

PAGE = Page("comparison")
PROVIDER = PAGE.take("# openrouter_provider/provider.py")
PROVIDER_URLS = PAGE.take("# openrouter_provider/urls.py")
PROVIDER_VIEWS = PAGE.take("# openrouter_provider/views.py")
ALLAUTH = PAGE.take("# settings.py, for allauth")
BACKEND = PAGE.take("# openrouter_backend.py")
PYTHON_SOCIAL_AUTH = PAGE.take("# settings.py, for python-social-auth")

pytestmark = pytest.mark.guides

PAGE_TEXT = (DOCS / "comparison.rst").read_text()

INCLUDE = 'urlpatterns += [path("{}", include("{}.urls"))]\n'
START = """
from urllib.parse import parse_qs, urlsplit
from django.contrib.auth.models import User
from django.db import connection
from django.test import Client
from django_openrouter_auth.testing import CODE, KEY, openrouter

browser = Client(raise_request_exception=False)
browser.force_login(User.objects.create_superuser("ann", "ann@example.org", "correct horse"))

def column(name, table):
    with connection.cursor() as cursor:
        cursor.execute(f"select {name} from {table}")
        ((value,),) = cursor.fetchall()
    return value

def shown(path):
    return browser.get(path).content.decode()

def connect(start):
    # The callback comes twice, as when somebody reloads a slow page.
    asked = parse_qs(urlsplit(browser.post(start)["Location"]).query)
    callback = urlsplit(asked["callback_url"][0])
    with openrouter() as provider:
        answers = [browser.get(f"{callback.path}?{callback.query}&code={CODE}") for _ in "12"]
    assert len([call for call in provider.mock.calls if "auth/keys" in call.request.url]) == 1
    return asked, answers
"""


def lines(*blocks):
    """Count what somebody writes: the blocks, an import of include and a line of URLs."""
    return sum(changed_lines(block.text) for block in blocks) + 2


def row(title):
    """The cells of a row of the page's table."""
    text = next(part for part in PAGE_TEXT.split("   * - ") if part.startswith(f"{title}\n"))
    return re.findall(r"^     - (.*)$", text, re.MULTILINE)


def run(project, script):
    """Run a script in a project; warnings of other packages are theirs."""
    output = python("-W", "ignore", "-c", HEAD + START + script, folder=project.folder)
    assert output.endswith("\nexit 0"), output


@pytest.fixture
def site(tmp_path):
    """A function that makes a site from settings, one line of URLs and files."""

    def make(settings, prefix, urls, *files):
        project = Project(tmp_path)
        for block in files:
            project.write(block.text.splitlines()[0].removeprefix("# "), block.text)
        project.append("mysite/settings.py", settings)
        project.append("mysite/urls.py", INCLUDE.format(prefix, urls))
        output = python("-W", "ignore", "manage.py", "migrate", folder=tmp_path)
        assert output.endswith("\nexit 0"), output
        return project

    return make


def test_versions():
    """The versions that are compared here are those that the page names, or newer ones."""
    packages = r"(django-allauth|social-auth-app-django|social-auth-core|django-openrouter)"
    named = dict(re.findall(rf"{packages} (\d+\.\d+)", PAGE_TEXT))
    assert len(named) == 4
    for package, series in named.items():
        assert tuple(map(int, version(package).split(".")[:2])) >= tuple(
            map(int, series.split("."))
        )


def test_lines():
    """Page and README say how many lines each way takes; ours are counted in test_readme."""
    provider = lines(PROVIDER, PROVIDER_URLS, PROVIDER_VIEWS, ALLAUTH)
    backend = lines(BACKEND, PYTHON_SOCIAL_AUTH)
    assert row("lines of your own")[1:] == [str(provider), str(backend)]
    (found,) = re.findall(r"^lines to write +(\d+) +(\d+) +(\d+) ", README, re.MULTILINE)
    assert found[1:] == (str(provider), str(backend))


def test_allauth(site):
    """With allauth: plain text in the database, 40 characters in the list, all in the form.

    The second callback ends at a failure, and the exchange is made once.
    """
    project = site(ALLAUTH.text, "accounts/", "allauth", PROVIDER, PROVIDER_URLS, PROVIDER_VIEWS)
    run(
        project,
        """
asked, (first, second) = connect("/accounts/openrouter/login/?process=connect")
assert asked["code_challenge_method"] == ["S256"]
assert (first.status_code, second.status_code) == (302, 401), (first, second)
assert "Third-Party Login Failure" in second.content.decode()
assert column("token", "socialaccount_socialtoken") == KEY
listed = shown("/admin/socialaccount/socialtoken/")
assert KEY[:40] in listed and KEY[:41] not in listed
pk = column("id", "socialaccount_socialtoken")
assert KEY in shown(f"/admin/socialaccount/socialtoken/{pk}/change/")
from allauth.socialaccount.providers.oauth2.provider import OAuth2Provider
assert OAuth2Provider.pkce_enabled_default is False
from allauth.socialaccount.internal import statekit
assert statekit.STATE_TTL == 600
""",
    )


def test_python_social_auth(site):
    """With python-social-auth: plain text in JSON, all of it in the admin.

    PKCE is on, and the second callback raises an error.
    """
    project = site(PYTHON_SOCIAL_AUTH.text, "", "social_django", BACKEND)
    run(
        project,
        """
asked, (first, second) = connect("/login/openrouter/")
assert asked["code_challenge_method"] == ["S256"]
assert (first.status_code, second.status_code) == (302, 500), (first, second)
assert KEY in column("extra_data", "social_auth_usersocialauth")
pk = column("id", "social_auth_usersocialauth")
assert KEY in shown(f"/admin/social_django/usersocialauth/{pk}/change/")
""",
    )


def test_this_package(site):
    """Here: ciphertext in the database, a mask in the admin, and both callbacks end connected."""
    project = site("", "accounts/", "django.contrib.auth")
    run(
        project,
        """
asked, (first, second) = connect("/openrouter/connect/")
assert asked["code_challenge_method"] == ["S256"]
assert first.status_code == second.status_code == 303
assert "OpenRouter is connected" in shown(second["Location"])
table = "django_openrouter_auth_openrouterkey"
assert KEY[10:-4] not in str(column("secret", table))
pk = column("id", table)
for page in ("", f"{pk}/change/"):
    assert KEY[:20] not in shown(f"/admin/django_openrouter_auth/openrouterkey/{page}")
""",
    )


def test_django_openrouter(tmp_path):
    """django-openrouter has one key, encrypted; its cache holds the plain key for a minute."""
    project = Project(tmp_path)
    project.append("mysite/settings.py", 'INSTALLED_APPS += ["django_openrouter"]\n')
    python("-W", "ignore", "manage.py", "migrate", folder=tmp_path)
    run(
        project,
        """
from django.core.cache import cache
from django_openrouter import config
from django_openrouter.models import OpenRouterSettings
stored = OpenRouterSettings.load()
stored.api_key = KEY
stored.save()
assert OpenRouterSettings.objects.count() == 1
assert KEY[10:-4] not in column("api_key", OpenRouterSettings._meta.db_table)
assert KEY not in shown("/admin/django_openrouter/openroutersettings/1/change/")
config.get_runtime_config()
assert cache.get(config.CACHE_KEY).api_key == KEY
assert config._DEFAULT_CACHE_TIMEOUT == 60
""",
    )


@pytest.mark.parametrize("package", ["allauth.socialaccount.providers", "social_core.backends"])
def test_many_providers(package):
    """Both logins know over a hundred providers, and OpenRouter is not yet one of them."""
    names = {Path(str(item)).stem for item in files(package).iterdir()}
    assert len(names) > 110  # a few of them are bases and tools
    assert not [name for name in names if "openrouter" in name]


def test_languages():
    """There are more than forty languages in allauth, and no catalogue in python-social-auth."""
    assert len(list(Path(str(files("allauth"))).rglob("django.po"))) > 40
    assert not list(Path(str(files("social_django"))).rglob("*.po"))


def test_age():
    """The licences say since when the two have been in use."""
    for package, year in (("django-allauth", 2010), ("social-auth-core", 2012)):
        (licence,) = [path for path in files_of(package) or [] if path.name == "LICENSE"]
        assert f"Copyright (c) {year}-" in licence.read_text()
        assert f"since {year}" in PAGE_TEXT
        assert f"**since {year}**" in README
