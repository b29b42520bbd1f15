"""The guide to the Content Security Policy."""

import django
import pytest
from django.http import HttpResponse

from tests.documented import Page

from .applying import apply, complaints

PAGE = Page("howto/csp")
DIRECTIVE = PAGE.take("form-action 'self' https://openrouter.ai")
DJANGO = PAGE.take("# settings.py, with Django 6")
VIEW = PAGE.take("# views.py, with Django 6")
DJANGO_CSP = PAGE.take("# settings.py, with django-csp 4")

since_django_6 = pytest.mark.skipif(django.VERSION < (6, 0), reason="the policy came with Django 6")


def sent_by(browser):
    """Return the directives that come with the page of the button."""
    header = browser.get("/openrouter/")["Content-Security-Policy"]
    return dict(part.strip().partition(" ")[::2] for part in header.split(";"))


@since_django_6
def test_policy_of_django(browser, settings):
    """Django's middleware sends the directive, and the check is content."""
    apply(DJANGO, settings)
    sent = sent_by(browser)
    assert f"form-action {sent['form-action']}" == DIRECTIVE.text.strip()
    assert sent["default-src"] == "'self'"
    assert complaints() == []


@since_django_6
def test_policy_without_the_source(browser, settings):
    """Without OpenRouter the check names the directive."""
    policy = apply(DJANGO, settings)["SECURE_CSP"]
    settings.SECURE_CSP = {**policy, "form-action": ["'self'"]}
    assert complaints() == ["django_openrouter_auth.W008"]
    settings.SECURE_CSP = {"default-src": ["'self'"]}
    assert complaints() == []


@since_django_6
def test_policy_of_a_view(rf, settings, monkeypatch):
    """The view's own policy has the source."""
    from django.middleware.csp import ContentSecurityPolicyMiddleware

    names = VIEW.run()
    monkeypatch.setitem(names, "render", lambda request, template: HttpResponse(template))
    answer = ContentSecurityPolicyMiddleware(names["welcome"])(rf.get("/"))
    assert DIRECTIVE.text.strip() in answer["Content-Security-Policy"]


@pytest.mark.guides
def test_policy_of_django_csp(browser, settings):
    """django-csp sends the directive, and the check is content."""
    apply(DJANGO_CSP, settings)
    assert f"form-action {sent_by(browser)['form-action']}" == DIRECTIVE.text.strip()
    assert complaints() == []
