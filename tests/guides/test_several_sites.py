"""The guide to several hosts, proxies and processes."""

import types

import pytest
from django.test import Client
from django.urls import path, set_script_prefix

from tests import urls as usual_urls
from tests.connecting import CODE, outcome, start
from tests.documented import Page

from .applying import apply, complaints
from .project import Project

PAGE = Page("howto/several-sites")
ONE = PAGE.take("# settings.py")
SEVERAL = PAGE.take("# settings.py, for several deployments")
TENANTS = PAGE.take("# settings.py, for tenants")
PROXY = PAGE.take("# settings.py, behind a proxy")
URLS = PAGE.take("# urls.py")
ROUTER = PAGE.take("# mysite/routers.py")


@pytest.fixture
def visitor(user, client, openrouter):
    """The browser of a user, on a site that does not know its address."""
    client.force_login(user)
    return client


@pytest.mark.parametrize("block", [ONE, SEVERAL])
def test_address_of_the_settings(block, visitor, settings, monkeypatch):
    """With an address in the settings the host of a request does not matter."""
    monkeypatch.setenv("SITE_URL", "https://app.example")
    apply(block, settings)
    settings.ALLOWED_HOSTS = ["*"]
    visitor.defaults["HTTP_HOST"] = "evil.example"
    assert start(visitor).callback_url.startswith("https://app.example/openrouter/callback/")
    assert complaints() == []


def test_tenants(user, openrouter, settings):
    """Each host gets its own callback and name of the key, and others are refused."""
    apply(TENANTS, settings)
    apply(PROXY, settings)
    assert complaints() == []
    for host in ("one.app.example", "shop.example"):
        visitor = Client(HTTP_HOST=host, HTTP_X_FORWARDED_PROTO="https")
        visitor.force_login(user)
        started = start(visitor)
        assert started.callback_url.startswith(f"https://{host}/openrouter/callback/")
        assert started.parameters["key_label"] == [f"{host}: ann"]
        assert outcome(visitor.get(started.path, {"code": CODE})) == ("success", "connected")
    visitor.defaults["HTTP_HOST"] = "evil.example"
    assert visitor.post("/openrouter/connect/").status_code == 400
    settings.ALLOWED_HOSTS = ["*"]
    assert complaints() == ["django_openrouter_auth.W003"]


def test_one_address_for_all_subdomains(visitor, settings):
    """With a shared session users of a subdomain return to the site's address, and go on there."""
    apply(ONE, settings)
    settings.ALLOWED_HOSTS = [".app.example"]
    settings.SESSION_COOKIE_DOMAIN = ".app.example"
    visitor.defaults["HTTP_HOST"] = "one.app.example"
    started = start(visitor, next="/accounts/login/")
    assert started.callback_url.startswith("https://app.example/")
    visitor.defaults["HTTP_HOST"] = "app.example"
    answer = visitor.get(started.path, {"code": CODE})
    assert (outcome(answer), answer["Location"]) == (("success", "connected"), "/accounts/login/")


def test_behind_a_proxy(user, openrouter, settings):
    """The header tells that people use https: for the callback, and for the check of the form."""
    settings.ALLOWED_HOSTS = ["app.example"]
    visitor = Client(
        enforce_csrf_checks=True,
        HTTP_HOST="app.example",
        HTTP_X_FORWARDED_PROTO="https",
        HTTP_ORIGIN="https://app.example",
    )
    visitor.force_login(user)
    token = str(visitor.get("/openrouter/connect/").context["csrf_token"])
    form = {"csrfmiddlewaretoken": token}
    assert visitor.post("/openrouter/connect/", form).status_code == 403
    apply(PROXY, settings)
    answer = visitor.post("/openrouter/connect/", form)
    assert "callback_url=https%3A%2F%2Fapp.example%2Fopenrouter" in answer["Location"]


def test_behind_a_proxy_without_the_header(user, openrouter, settings):
    """The other way: the public address as a trusted origin, and as the site's."""
    settings.ALLOWED_HOSTS = ["app.example"]
    settings.CSRF_TRUSTED_ORIGINS = ["https://app.example"]
    apply(ONE, settings)
    visitor = Client(
        enforce_csrf_checks=True, HTTP_HOST="app.example", HTTP_ORIGIN="https://app.example"
    )
    visitor.force_login(user)
    token = str(visitor.get("/openrouter/connect/").context["csrf_token"])
    answer = visitor.post("/openrouter/connect/", {"csrfmiddlewaretoken": token})
    assert "callback_url=https%3A%2F%2Fapp.example%2Fopenrouter" in answer["Location"]


def test_script_prefix(visitor, settings, site_url):
    """A script prefix is part of the callback."""
    settings.FORCE_SCRIPT_NAME = "/app"
    set_script_prefix("/app/")
    try:
        assert start(visitor).path.startswith("/app/openrouter/callback/")
    finally:
        set_script_prefix("/")


def test_language_prefix(visitor, settings, site_url):
    """The callback has the language in which the user started, and arrives."""
    others = [p for p in usual_urls.urlpatterns if str(p.pattern) != "openrouter/"]
    settings.ROOT_URLCONF = types.ModuleType("urls")
    settings.ROOT_URLCONF.urlpatterns = URLS.run(urlpatterns=others, path=path)["urlpatterns"]
    settings.MIDDLEWARE = [
        *settings.MIDDLEWARE[:2],
        "django.middleware.locale.LocaleMiddleware",
        *settings.MIDDLEWARE[2:],
    ]
    location = visitor.post("/de/openrouter/connect/")["Location"]
    assert "app.example%2Fde%2Fopenrouter%2Fcallback%2F" in location
    state = location.partition("callback%2F")[2].partition("%2F")[0]
    answer = visitor.get(f"/de/openrouter/callback/{state}/", {"code": CODE})
    assert outcome(answer) == ("success", "connected")


@pytest.mark.guides
def test_read_replica(tmp_path):
    """With the router a replica that knows nothing yet is never asked about a key."""
    project = Project(tmp_path)
    project.write("mysite/routers.py", ROUTER.text)
    project.append(
        "mysite/settings.py",
        """
        DATABASES["replica"] = DATABASES["default"] | {"NAME": BASE_DIR / "replica.sqlite3"}
        DATABASE_ROUTERS = ["mysite.routers.ReplicaRouter"]
        SESSION_ENGINE = "django.contrib.sessions.backends.signed_cookies"
        """,
    )
    project.manage("migrate")
    project.run(
        """
        import shutil
        from django.conf import settings
        from django.contrib.auth.models import User
        from django.test import Client
        from django_openrouter_auth.models import OpenRouterKey
        from django_openrouter_auth.shortcuts import get_api_key
        from django_openrouter_auth.testing import KEY, approve, openrouter

        User.objects.create_user("ann")
        shutil.copy(settings.BASE_DIR / "db.sqlite3", settings.BASE_DIR / "replica.sqlite3")
        ann = User.objects.get()
        browser = Client()
        browser.force_login(ann)
        with openrouter():
            page = approve(browser)
        assert get_api_key(ann) == KEY
        assert browser.get("/openrouter/status/").json()["connected"]
        assert "sk-or-v1-0e6...1c9" in browser.get("/openrouter/").content.decode()
        assert not OpenRouterKey.objects.exists()  # asks the replica
        """
    )
