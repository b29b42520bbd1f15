"""The guide to django-allauth."""

import pytest

from tests.documented import Page

from .project import Project

PAGE = Page("howto/allauth")
SETTINGS = PAGE.take("# settings.py")
URLS = PAGE.take("# urls.py")
GUARDED = PAGE.take("# urls.py, with a guard")
SWITCHES = PAGE.take("# settings.py, with a guard")

pytestmark = pytest.mark.guides

START = """
from urllib.parse import parse_qs, urlsplit
from allauth.account.models import EmailAddress
from django.contrib.auth.models import User
from django.contrib.messages import get_messages
from django.test import Client
from django.urls import resolve, reverse
from django_openrouter_auth import views
from django_openrouter_auth.shortcuts import get_api_key
from django_openrouter_auth.testing import CODE, KEY, openrouter

ann = User.objects.create_user("ann", "ann@example.org", "correct horse")
browser = Client()

def sign_in(page):
    form = {"login": "ann", "password": "correct horse"}
    return browser.post(page, form)
"""


@pytest.fixture
def site(tmp_path):
    """A function that makes a site with allauth and some URLs."""

    def make(urls):
        project = Project(tmp_path)
        text = SETTINGS.text.replace(', "django_openrouter_auth"', "")
        project.append("mysite/settings.py", text)
        path = tmp_path / "mysite" / "urls.py"
        path.write_text(path.read_text().rpartition("\nfrom django.urls import include")[0] + "\n")
        project.append("mysite/urls.py", urls.text)
        project.manage("migrate")
        project.manage("check")
        return project

    return make


def test_side_by_side(site):
    """A stranger clicks, signs in with allauth, comes back to the button, and connects."""
    site(URLS).run(
        START
        + """
login = browser.post("/openrouter/connect/", {"next": "/accounts/email/"})["Location"]
assert login.startswith("/accounts/login/?next=")
assert b'href="/accounts/signup/?next=%2Fopenrouter%2Fconnect%2F' in browser.get(login).content
back = sign_in(login)["Location"]
assert back == "/openrouter/connect/?next=%2Faccounts%2Femail%2F"
assert b'value="/accounts/email/"' in browser.get(back).content
with openrouter():
    away = browser.post("/openrouter/connect/", {"next": "/accounts/email/"})["Location"]
    callback = parse_qs(urlsplit(away).query)["callback_url"][0]
    arrived = browser.get(urlsplit(callback).path, {"code": CODE})
assert arrived["Location"] == "/accounts/email/"
assert get_api_key(ann) == KEY
"""
    )


def test_guard(site):
    """With the guard a click needs a verified address and the password, and then goes on."""
    project = site(GUARDED)
    project.append("mysite/settings.py", SWITCHES.text)
    project.run(
        START
        + """
assert reverse("openrouter_auth:connect") == "/openrouter/connect/"
guarded = resolve("/openrouter/connect/").func
assert guarded is not views.connect and guarded._non_atomic_requests

EmailAddress.objects.filter(user=ann).delete()
sign_in("/accounts/login/")
assert browser.get("/openrouter/").status_code == 200
assert browser.post("/openrouter/key/").status_code == 404
assert browser.post("/openrouter/code/").status_code == 404
asked = browser.post("/openrouter/connect/", {"next": "/accounts/email/"})["Location"]
assert asked == "/accounts/reauthenticate/?next=%2Fopenrouter%2Fconnect%2F"
told = browser.post(asked, {"password": "correct horse"})
assert b"openrouter.ai/auth" not in told.content and told.status_code == 200
assert "account/verified_email_required.html" in [part.name for part in told.templates]

EmailAddress.objects.update(verified=True)
with openrouter():
    away = browser.post("/openrouter/connect/")["Location"]
    callback = parse_qs(urlsplit(away).query)["callback_url"][0]
    browser.get(urlsplit(callback).path, {"code": CODE})
assert get_api_key(ann) == KEY

browser.logout()
sign_in("/accounts/login/")
asked = browser.post("/openrouter/connect/", {"next": "/accounts/email/"})["Location"]
away = browser.post(asked, {"password": "correct horse"})["Location"]
assert away.startswith("https://openrouter.ai/auth?"), away
"""
    )


def test_why_keys_are_not_guarded(site):
    """A form that allauth interrupts is kept in the session: so the guide warns."""
    project = site(URLS)
    project.append(
        "mysite/urls.py",
        """
        from allauth.account.decorators import reauthentication_required
        from django_openrouter_auth.entry_views import key
        urlpatterns.insert(0, path("openrouter/key/", reauthentication_required(key)))
        """,
    )
    project.run(
        START
        + """
browser.force_login(ann)
browser.post("/openrouter/key/", {"api_key": KEY})
assert KEY in str(dict(browser.session))
"""
    )


def test_tokens_of_allauth_are_not_encrypted(site):
    """What the guide says about allauth's tokens: a plain text column."""
    project = site(URLS)
    project.append("mysite/settings.py", 'INSTALLED_APPS += ["allauth.socialaccount"]\n')
    project.run(
        """
        from django.db.models import TextField
        from allauth.socialaccount.models import SocialToken
        assert type(SocialToken._meta.get_field("token")) is TextField
        """
    )
