"""The template tags: group TT of the threat model's catalogue."""

import re
from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from asgiref.sync import async_to_sync, sync_to_async
from django.contrib.auth.models import AnonymousUser, User
from django.contrib.staticfiles import finders
from django.db import connection
from django.template import Context, RequestContext, Template
from django.test import RequestFactory
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from django_openrouter_auth.models import OpenRouterKey
from django_openrouter_auth.testing import connect

from .connecting import HINT
from .test_keys import damage

pytestmark = pytest.mark.django_db
LOAD = "{% load openrouter_auth %}"
EVIL = '"><script>alert(1)</script>'


def render(source: str, visitor: Any = None, **context: Any) -> str:
    """Render a template as a view of a site would."""
    request = RequestFactory().get("/page/")
    request.user = visitor if visitor is not None else AnonymousUser()
    return Template(LOAD + source).render(RequestContext(request, context))


def classes(html: str) -> set[str]:
    """Return the classes of the one button."""
    (found,) = re.findall(r'class="(openrouter-button [^"]+)"', html)
    return set(found.split())


@pytest.mark.parametrize("argument", ["label", "css_class", "next", "variant", "size", "disabled"])
@pytest.mark.parametrize("frame", ["{}", "{{% autoescape off %}}{}{{% endautoescape %}}"])
def test_arguments_are_escaped(user, argument, frame):
    """TT 189, M27: no argument brings markup in, also where escaping is switched off."""
    tag = f"{{% openrouter_button {argument}=evil %}}"
    assert "<script>" not in render(frame.format(tag), user, evil=EVIL)
    assert "<script>" not in render(frame.format(tag), evil=EVIL)


@pytest.mark.parametrize("wish", ["javascript:alert(1)", "//e", "/openrouter/connect/"])
def test_foreign_next_is_left_out(user, wish):
    """TT 191: a ``next`` that is no path of this site is left out."""
    for visitor in (user, None):
        html = render("{% openrouter_button next=wish %}", visitor, wish=wish)
        assert 'name="next"' not in html
        assert "connect%2F%3Fnext" not in html
        assert "alert" not in html


def test_next_is_passed_on(user):
    """A good ``next`` travels in the form, and through the login for strangers."""
    html = render("{% openrouter_button next='/ok/' %}", user)
    assert '<input type="hidden" name="next" value="/ok/">' in html
    html = render("{% openrouter_button next='/ok/' %}")
    assert 'href="/accounts/login/?next=/openrouter/connect/%3Fnext%3D%252Fok%252F"' in html


@pytest.mark.parametrize(
    "context",
    [{}, {"user": AnonymousUser()}, {"user": None}, {"request": SimpleNamespace()}],
    ids=["empty", "anonymous", "no user", "bare request"],
)
def test_poor_context(context):
    """TT 192: without request or user the button leads strangers to the login page."""
    html = Template(LOAD + "{% openrouter_button %}").render(Context(context))
    assert 'href="/accounts/login/?next=/openrouter/connect/"' in html


def test_user_without_a_request(user):
    """TT 192: without a request there can be no CSRF token, so the button leads to the page."""
    html = Template(LOAD + "{% openrouter_button %}").render(Context({"user": user}))
    assert 'href="/openrouter/connect/"' in html
    assert "<form" not in html


def test_without_context_processors(browser, settings):
    """A site without context processors has the button and the messages all the same."""
    templates = settings.TEMPLATES[0]
    settings.TEMPLATES = [templates | {"OPTIONS": {"context_processors": []}}]
    assert "<form" in browser.get("/").content.decode()
    browser.post("/openrouter/disconnect/")
    page = browser.get("/openrouter/").content.decode()
    assert "OpenRouter was not connected, so nothing was changed." in page
    assert 'action="/openrouter/connect/"' in page


def test_form(user):
    """TT 193: the button is a POST form with a CSRF token; no link starts anything."""
    html = render("{% openrouter_button %}", user)
    assert re.search(r'<form [^>]*method="post" action="/openrouter/connect/"', html)
    assert re.search(r'name="csrfmiddlewaretoken" value="\w{64}"', html)
    assert "Connect OpenRouter" in html
    assert "<a " not in html


def test_connected(user, connected):
    """Once connected the button shows the masked key and leads to the connection page."""
    html = render("{% openrouter_button %}", User.objects.get(pk=user.pk))
    assert HINT in html
    assert 'href="/openrouter/"' in html
    assert "<form" not in html


def test_hint_is_escaped(user, connected):
    """TT 194: what is stored about the key is text."""
    OpenRouterKey.objects.update(hint="<b>x</b>")
    assert "<b>" not in render("{% openrouter_button %}", User.objects.get(pk=user.pk))


@pytest.mark.parametrize("page", ["/", "/openrouter/", "/openrouter/connect/"])
def test_strict_content_security_policy(browser, page):
    """TT 195: nothing inline, neither script nor style nor handler."""
    html = browser.get(page).content.decode()
    assert "<script" not in html
    assert "style=" not in html
    assert "<style" not in html
    assert not re.search(r"\son\w+=", html)


@pytest.mark.parametrize("state", ["rejected", "unreadable"])
def test_key_that_cannot_be_used(user, connected, state):
    """TT 196: a key that cannot be used is offered to be replaced."""
    OpenRouterKey.objects.update(status=state)
    damage()
    html = render("{% openrouter_button %}", User.objects.get(pk=user.pk))
    assert "Reconnect OpenRouter" in html
    assert "<form" in html


@pytest.mark.parametrize("has_key", [True, False])
def test_one_query_for_many_tags(user, connected, has_key):
    """TT 197, ST 136: ten tags on a page take one query, without the ciphertext."""
    if not has_key:
        OpenRouterKey.objects.all().delete()
    visitor = User.objects.get(pk=user.pk)
    source = "{% openrouter_button %}{% if user|has_openrouter_key %}yes{% endif %}" * 5
    with CaptureQueriesContext(connection) as queries:
        html = render(source, visitor, user=visitor)
    assert len(queries) == 1
    assert "secret" not in queries[0]["sql"]
    assert html.count("yes") == (5 if has_key else 0)


def test_strangers_take_no_query(django_assert_num_queries):
    """Nobody's key is not looked for."""
    with django_assert_num_queries(0):
        render("{% openrouter_button %}{% if user|has_openrouter_key %}{% endif %}")


@pytest.mark.parametrize(
    ("state", "answer"), [("active", "yes"), ("rejected", "no"), ("unreadable", "no")]
)
def test_filter(user, connected, state, answer):
    """``has_openrouter_key`` is true for a key that can be used."""
    OpenRouterKey.objects.update(status=state)
    source = "{% if user|has_openrouter_key %}yes{% else %}no{% endif %}"
    assert render(source) == "no"
    visitor = User.objects.get(pk=user.pk)
    assert render(source, visitor, user=visitor) == answer


@pytest.mark.parametrize("variant", ["default", "minimal", "branded", "icon", "cta"])
@pytest.mark.parametrize("size", ["sm", "default", "lg", "xl"])
def test_variants_and_sizes(user, variant, size):
    """Each documented look has its class, and every button has a name for screen readers."""
    html = render(f"{{% openrouter_button variant='{variant}' size='{size}' %}}", user)
    expected = {"openrouter-button", f"openrouter-button--{variant}"}
    assert classes(html) == expected | {f"openrouter-button--size-{size}"}
    named = 'aria-label="Connect OpenRouter"' if variant == "icon" else ">Connect OpenRouter<"
    assert named in html


@pytest.mark.parametrize(
    ("wish", "expected"), [("variant='x'", "--default"), ("size='x'", "--size-default")]
)
def test_unknown_look(user, wish, expected):
    """A variant or size that does not exist is the default one."""
    html = render(f"{{% openrouter_button {wish} %}}", user)
    assert f"openrouter-button{expected}" in classes(html)


@pytest.mark.parametrize("state", ["new", "connected", "anonymous"])
def test_disabled(user, state):
    """A disabled button does nothing, whoever looks at it: neither form nor link."""
    if state == "connected":
        connect(user)
    html = render("{% openrouter_button disabled=True %}", None if state == "anonymous" else user)
    assert '<button type="button" disabled class="openrouter-button ' in html
    assert "<form" not in html
    assert "href" not in html


@pytest.mark.parametrize("variant", ["default", "icon"])
def test_name_of_a_connected_button(user, connected, variant):
    """Screen readers tell what the masked key is, also where nothing of it is shown."""
    html = render(f"{{% openrouter_button variant='{variant}' %}}", user)
    assert f'aria-label="OpenRouter connected, key {HINT}"' in html


def test_icon_shows_its_name_to_a_pointer(user):
    """People who see only the logo can ask what it does."""
    html = render("{% openrouter_button variant='icon' label='Bring your own AI' %}", user)
    assert 'title="Bring your own AI"' in html


def test_masked_key_keeps_its_order(user, connected):
    """In a page that reads from right to left the mask still reads from left to right."""
    html = render("{% openrouter_button %}", user)
    assert f'<code class="openrouter-button__hint" dir="ltr">{HINT}</code>' in html


def test_logo_has_the_colour_of_the_text(user):
    """The logo brings no colour of its own, and screen readers pass over it."""
    html = render("{% openrouter_button %}", user)
    (logo,) = re.findall(r"<svg.*?</svg>", html)
    assert set(re.findall(r'(?:fill|stroke)="([^"]+)"', logo)) == {"currentColor", "none"}
    assert 'aria-hidden="true"' in logo


def test_label_and_class(user):
    """Text and classes are the site's to choose."""
    html = render("{% openrouter_button label='Bring your own AI' css_class='mine' %}", user)
    assert "Bring your own AI" in html
    assert " mine" in html


def test_label_is_for_connecting(user, connected):
    """Once connected the button says so, whatever its label was before."""
    html = render("{% openrouter_button label='Connect your account' %}", user)
    assert "Connect your account" not in html
    assert "OpenRouter connected" in html


def test_login_url_with_a_query(settings):
    """A login page on another site, with a query of its own, gets ``next`` added to it."""
    settings.LOGIN_URL = "https://sso.example/login?x=1"
    html = render("{% openrouter_button %}")
    assert 'href="https://sso.example/login?x=1&amp;next=/openrouter/connect/"' in html


def test_user_that_is_no_model():
    """A token's user, who has no row, is fine as well."""
    visitor = SimpleNamespace(is_authenticated=True, pk=1)
    assert "Connect OpenRouter" in render("{% openrouter_button %}", visitor)


def test_stylesheet():
    """The stylesheet is a static file."""
    assert render("{% openrouter_stylesheet %}") == (
        '<link rel="stylesheet" href="/static/openrouter_auth/style.css">'
    )


def test_script():
    """The script is a static file, which waits for the page."""
    assert render("{% openrouter_script %}") == (
        '<script src="/static/openrouter_auth/busy.js" defer></script>'
    )


def test_static_files_exist():
    """What the tags link is there."""
    for name in ("style.css", "busy.js"):
        assert finders.find(f"openrouter_auth/{name}")


def test_asynchronous_view(rf, user, connected):
    """TT 198: an asynchronous view shows the button by rendering in a thread, as documented."""
    request = rf.get("/")
    request.user = user

    async def view() -> str:
        template = Template("{% load openrouter_auth %}{% openrouter_button %}")
        return await sync_to_async(template.render)(RequestContext(request))

    assert HINT in async_to_sync(view)()


def test_card_of_a_connected_user(user, connected):
    """The card shows what was used, the limit, and the ways on."""
    OpenRouterKey.objects.update(usage="1.5", limit=10, limit_remaining="8.5", is_limited=True)
    html = render("{% openrouter_card %}", user)
    assert "US$\xa01.50 of US$\xa010.00 used" in html
    assert HINT in html
    assert 'href="/openrouter/disconnect/"' in html
    assert connected.settings_url in html
    assert "<form" not in html


def test_card_without_a_key(user):
    """The card of a user without a key holds the button, with ``next``."""
    html = render("{% openrouter_card next='/shop/' %}", user)
    assert "not connected" in html
    assert 'name="next" value="/shop/"' in html
    assert "csrfmiddlewaretoken" in html


def test_card_of_a_stranger(db):
    """The card of a stranger leads to the login page."""
    assert "/accounts/login/" in render("{% openrouter_card %}", AnonymousUser())


@pytest.mark.parametrize("state", ["rejected", "unreadable"])
def test_card_of_a_key_that_cannot_be_used(user, connected, state):
    """TT 196: the card says what is wrong with the key and offers to connect again."""
    OpenRouterKey.objects.update(status=state)
    html = render("{% openrouter_card %}", user)
    assert "Connect again" in html
    assert "Reconnect OpenRouter" in html


def test_card_hands_the_wish_on(user, connected):
    """TT 196: from the card people come back to ``next`` after disconnecting, too."""
    html = render("{% openrouter_card next='/shop/' %}", user)
    assert 'href="/openrouter/disconnect/?next=%2Fshop%2F"' in html


def test_card_announces_the_end(user, connected):
    """The card announces a key that expires within 14 days."""
    OpenRouterKey.objects.update(expires_at=timezone.now() + timedelta(days=3))
    assert "expires soon" in render("{% openrouter_card %}", user)
    OpenRouterKey.objects.update(expires_at=timezone.now() - timedelta(days=3))
    assert "has expired" in render("{% openrouter_card %}", User.objects.get())


def test_card_of_a_key_that_was_not_checked(user, connected):
    """Of a key that was not checked yet the card claims nothing."""
    OpenRouterKey.objects.update(usage=None, is_limited=None, checked_at=None)
    html = render("{% openrouter_card %}", user)
    assert "not known" in html
    assert "US$" not in html


def test_card_is_escaped(user, connected):
    """TT 194: markup in a stored hint stays text, also where a template switches escaping off."""
    OpenRouterKey.objects.update(hint="<b>x")
    html = render("{% autoescape off %}{% openrouter_card %}{% endautoescape %}", user)
    assert "<b>" not in html


def test_button_and_card_take_one_query(user, connected, django_assert_num_queries):
    """TT 197: button, card and filter on one page ask the database once, and decrypt nothing."""
    damage()
    visitor = User.objects.get()
    page = (
        "{% openrouter_button %}{% openrouter_card %}{% if user|has_openrouter_key %}!{% endif %}"
    )
    with django_assert_num_queries(1):
        assert render(page + page, visitor, user=visitor).count("!") == 2
