"""The flow, group FI of the threat model's catalogue: its numbers stand in the docstrings."""

import re
from datetime import timedelta
from decimal import Decimal
from itertools import combinations
from urllib.parse import parse_qs, urlsplit

import pytest
from django.conf.urls.i18n import i18n_patterns
from django.contrib.messages import get_messages
from django.contrib.sessions.models import Session
from django.test import Client
from django.urls import include, path, reverse, set_script_prefix
from django.utils import timezone

from django_openrouter_auth.models import ConnectAttempt, OpenRouterKey
from django_openrouter_auth.pages import known_browser
from django_openrouter_auth.pkce import make_code_challenge
from django_openrouter_auth.shortcuts import get_api_key

from .connecting import CODE, KEY, is_clean, message_text, only_attempt, outcome, start

pytestmark = pytest.mark.django_db


def test_start_sends_exactly_the_documented_parameters(browser):
    """FI 1: callback URL, S256 challenge, method and state go out, each encoded once."""
    started = start(browser)
    assert started.location.startswith("https://openrouter.ai/auth?")
    assert set(started.parameters) == {
        "callback_url",
        "code_challenge",
        "code_challenge_method",
        "state",
    }
    assert all(len(values) == 1 for values in started.parameters.values())
    assert started.callback_url == f"https://app.example/openrouter/callback/{started.state}/"
    assert re.fullmatch(r"[A-Za-z0-9_-]{43}", started.parameters["code_challenge"][0])
    assert started.parameters["code_challenge_method"] == ["S256"]
    assert started.parameters["state"] == [started.state]
    assert "callback_url=https%3A%2F%2Fapp.example%2F" in started.location


def test_happy_path_stores_the_key(browser, user, openrouter):
    """FI 1: after the callback the user has the key that OpenRouter handed out."""
    started = start(browser, next="/ok/")
    response = browser.get(started.path, {"code": CODE})
    assert is_clean(response)
    assert response["Location"] == "/ok/"
    assert outcome(response) == ("success", "connected")
    assert get_api_key(user) == KEY
    assert only_attempt().outcome == "connected"


def test_exchange_body_has_exactly_the_documented_fields(browser, openrouter):
    """FI 1: one exchange, with code, verifier and method; the verifier fits the challenge."""
    started = start(browser)
    browser.get(started.path, {"code": CODE})
    (body,) = openrouter.exchanges
    assert set(body) == {"code", "code_verifier", "code_challenge_method"}
    assert body["code"] == CODE
    assert body["code_challenge_method"] == "S256"
    challenge = make_code_challenge(body["code_verifier"], "S256")
    assert [challenge] == started.parameters["code_challenge"]


def test_exchange_carries_no_authorization(browser, openrouter):
    """The code speaks for itself: no credentials go along with the exchange."""
    browser.get(start(browser).path, {"code": CODE})
    assert "Authorization" not in openrouter.mock.calls[0].request.headers


def test_plain_challenge_is_the_verifier(browser, openrouter, settings):
    """With ``plain`` the challenge is the verifier itself, and the exchange names the method."""
    settings.OPENROUTER_AUTH_CODE_CHALLENGE_METHOD = "plain"
    started = start(browser)
    browser.get(started.path, {"code": CODE})
    (body,) = openrouter.exchanges
    assert [body["code_verifier"]] == started.parameters["code_challenge"]
    assert body["code_challenge_method"] == "plain"
    assert OpenRouterKey.objects.count() == 1


def test_without_challenge_only_the_code_is_exchanged(browser, openrouter, settings):
    """Without a challenge nothing of PKCE is sent, neither at the start nor at the exchange."""
    settings.OPENROUTER_AUTH_CODE_CHALLENGE_METHOD = None
    started = start(browser)
    browser.get(started.path, {"code": CODE})
    assert set(started.parameters) == {"callback_url", "state"}
    assert openrouter.exchanges == [{"code": CODE}]
    assert OpenRouterKey.objects.count() == 1


def test_method_of_the_start_is_used_at_the_exchange(browser, openrouter, settings):
    """A setting that changes while somebody is at OpenRouter does not break their attempt."""
    started = start(browser)
    settings.OPENROUTER_AUTH_CODE_CHALLENGE_METHOD = None
    browser.get(started.path, {"code": CODE})
    assert openrouter.exchanges[0]["code_challenge_method"] == "S256"


def test_key_label_is_sent(browser, settings):
    """A label names the key at OpenRouter; a callable gets the request; 100 characters go out."""
    settings.OPENROUTER_AUTH_KEY_LABEL = lambda request: f"{request.user} & Söhne " + "x" * 200
    (label,) = start(browser).parameters["key_label"]
    assert label.startswith("ann & Söhne xx")
    assert len(label) == 100


def test_key_label_among_the_authorize_params(browser, settings):
    """A fixed label may stand among the other parameters; the setting for it wins."""
    settings.OPENROUTER_AUTH_AUTHORIZE_PARAMS = {"key_label": "fixed"}
    assert start(browser).parameters["key_label"] == ["fixed"]
    settings.OPENROUTER_AUTH_KEY_LABEL = "better"
    assert start(browser).parameters["key_label"] == ["better"]


def test_authorize_params_are_sent_but_never_replace_ours(browser, settings):
    """T11: more parameters are requests; the callback and the challenge stay ours."""
    settings.OPENROUTER_AUTH_AUTHORIZE_PARAMS = {
        "limit": 0,
        "callback_url": "https://evil.example/",
        "code_challenge_method": "plain",
        "flag": True,
        "nothing": None,
    }
    parameters = start(browser).parameters
    assert parameters["limit"] == ["0"]
    assert parameters["flag"] == ["true"]
    assert "nothing" not in parameters
    assert parameters["callback_url"][0].startswith("https://app.example/")
    assert parameters["code_challenge_method"] == ["S256"]


def test_request_cannot_change_the_authorization_request(browser):
    """T11: what a visitor posts along has no say in what is sent to OpenRouter."""
    started = start(browser, callback_url="https://e", code_challenge="x", limit="9", state="y")
    assert set(started.parameters) == {
        "callback_url",
        "code_challenge",
        "code_challenge_method",
        "state",
    }
    assert started.callback_url.startswith("https://app.example/")


def test_authorize_url_may_have_a_query(browser, settings):
    """Parameters are joined to an authorize URL that already has some."""
    settings.OPENROUTER_AUTH_AUTHORIZE_URL = "https://openrouter.ai/auth?theme=dark"
    assert start(browser).parameters["theme"] == ["dark"]


def test_starts_never_repeat_a_value(browser, openrouter):
    """FI 2, FI 4: states, verifiers and challenges are all different, and none from another."""
    seen: set[str] = set()
    for _ in range(30):
        started = start(browser)
        browser.get(started.path, {"code": CODE})
        seen |= {started.state, started.parameters["code_challenge"][0]}
        seen.add(openrouter.exchanges[-1]["code_verifier"])
    assert len(seen) == 90
    assert all(len(value) >= 43 for value in seen)
    assert not any(a in b or b in a for a, b in combinations(seen, 2))


def test_unknown_state_changes_nothing(browser, openrouter):
    """FI 5: a live code at a made-up callback goes nowhere; the pending attempt lives on."""
    started = start(browser)
    response = browser.get(f"/openrouter/callback/{'A' * 43}/", {"code": CODE})
    assert is_clean(response)
    assert outcome(response) == ("error", "state_unknown")
    assert openrouter.exchanges == []
    browser.get(started.path, {"code": CODE})
    assert OpenRouterKey.objects.count() == 1


def test_attackers_code_cannot_be_injected(browser, user, openrouter):
    """FI 6: without our state a challenge-less code of an attacker is not even looked at."""
    started = start(browser)
    browser.get("/openrouter/callback/wrong/", {"code": "attackers"})
    assert openrouter.exchanges == []
    browser.get(started.path, {"code": CODE})
    assert get_api_key(user) == KEY


def test_code_of_another_challenge_is_refused_by_openrouter(browser, openrouter):
    """FI 7: our verifier goes with every code, so one for another challenge is refused."""
    openrouter.refuses(403)
    response = browser.get(start(browser).path, {"code": CODE})
    assert outcome(response) == ("error", "exchange_rejected")
    assert len(openrouter.exchanges) == 1
    assert not OpenRouterKey.objects.exists()
    assert only_attempt().outcome == "exchange_rejected"


@pytest.mark.parametrize("query", ["", "code=", "x=1", "code=&code="])
def test_missing_code(browser, openrouter, query):
    """FI 8, FI 9: neither a code nor an error came back."""
    response = browser.get(f"{start(browser).path}?{query}")
    assert is_clean(response)
    assert outcome(response) == ("error", "code_missing")
    assert openrouter.exchanges == []


@pytest.mark.parametrize(
    "code",
    [
        "%20",
        "%0A",
        "a%00b",
        "a%0d%0ab",
        "%ff%fe",
        "%C3%A9",
        "a" * 513,
        "a" * 1_000_000,
        "abc%0A",
        "a&code=b",
    ],
    ids=lambda code: f"{code[:12]}-{len(code)}",
)
def test_malformed_code(browser, openrouter, code):
    """FI 9, FI 10, DR 204: a code that is not one printable word is never sent on."""
    response = browser.get(f"{start(browser).path}?code={code}")
    assert is_clean(response)
    assert outcome(response) == ("error", "code_malformed")
    assert openrouter.exchanges == []


@pytest.mark.parametrize("code", ["x", "abc-ncc-1701-def", "~!*'();:@&=+$,/?#[]", "c" * 512])
def test_code_is_opaque(browser, openrouter, code):
    """Any printable word of up to 512 characters is a code, and is sent unchanged."""
    browser.get(start(browser).path, {"code": code})
    assert openrouter.exchanges[0]["code"] == code


@pytest.mark.parametrize("query", ["error=access_denied", "code=GOOD&error=access_denied"])
def test_denial(browser, openrouter, query):
    """FI 12, FI 13: a denial is no mistake: no exchange, a friendly word, the attempt is over."""
    response = browser.get(f"{start(browser).path}?{query}")
    assert is_clean(response)
    assert outcome(response) == ("info", "access_denied")
    assert openrouter.exchanges == []
    assert only_attempt().outcome == "access_denied"


def test_denial_leaves_a_connection_alone(browser, user, connected, openrouter):
    """FI 13: saying no to a second key keeps the first."""
    browser.get(start(browser).path, {"error": "access_denied"})
    assert get_api_key(user) == KEY


@pytest.mark.parametrize(
    "query",
    [
        {"error": "<script>x"},
        {"error": ""},
        {"error": ["access_denied", "server_error"]},
        {"error": "server_error", "error_description": "<b>\n" * 2500},
    ],
)
def test_other_errors_are_not_repeated(browser, openrouter, query, caplog):
    """FI 15: what stands in an error parameter reaches neither page nor log."""
    response = browser.get(start(browser).path, query)
    assert is_clean(response)
    assert outcome(response) == ("error", "provider_error_param")
    assert openrouter.exchanges == []
    page = browser.get("/openrouter/").content.decode() + message_text(response) + caplog.text
    assert "<script>x" not in page
    assert "<b>" not in page
    assert "server_error" not in page


def test_extra_parameters_are_ignored(browser, user, openrouter):
    """FI 16: a callback cannot bring a key, an issuer or another target along."""
    query = {"code": CODE, "key": "sk-or-evil", "user_id": "x", "iss": "z", "next": "//e"}
    response = browser.get(start(browser).path, query | {"callback_url": "//e"})
    assert response["Location"] == "/openrouter/"
    assert get_api_key(user) == KEY


@pytest.mark.parametrize("method", ["post", "put", "patch", "delete", "options", "head"])
def test_callback_takes_get_only(browser, openrouter, method):
    """FI 18: other methods are 405, private, and leave the attempt as it was."""
    started = start(browser)
    response = getattr(browser, method)(f"{started.path}?code={CODE}")
    assert response.status_code == 405
    assert response["Cache-Control"] == "no-store"
    assert response["Referrer-Policy"] == "no-referrer"
    assert openrouter.exchanges == []
    assert only_attempt().claimed_at is None


@pytest.mark.parametrize("header", ["Sec-Purpose", "Purpose"])
def test_prefetch_does_nothing(browser, openrouter, header):
    """FI 19: a browser that only looks ahead does not use the code up."""
    started = start(browser)
    response = browser.get(started.path, {"code": CODE}, headers={header: "prefetch;prerender"})
    assert response.status_code == 204
    assert openrouter.exchanges == []
    assert only_attempt().claimed_at is None


@pytest.mark.parametrize(
    "state", ["a" * 10_000, "%00", "..%2f..", ";x=1", "%2e", "a/b/c", "", "%0a", "é"]
)
def test_damaged_state(browser, openrouter, state):
    """FI 20: whatever stands in the state's place, the answer is clean and nothing goes out."""
    response = browser.get(f"/openrouter/callback/{state}/?code={CODE}")
    assert is_clean(response)
    assert outcome(response) == ("error", "state_unknown")
    assert openrouter.exchanges == []


def test_missing_slash_is_not_redirected(browser, user, openrouter):
    """FI 20: a callback without its slash is finished at once: the code sees no second URL."""
    response = browser.get(start(browser).path.rstrip("/"), {"code": CODE})
    assert is_clean(response)
    assert get_api_key(user) == KEY


def test_letter_case_of_the_state_matters(browser, openrouter):
    """FI 21: a state with swapped case is another state."""
    started = start(browser)
    response = browser.get(f"/openrouter/callback/{started.state.swapcase()}/", {"code": CODE})
    assert outcome(response) == ("error", "state_unknown")
    assert openrouter.exchanges == []


def test_too_late(browser, openrouter):
    """FI 22: one second over the time an attempt is refused and over."""
    started = start(browser)
    ConnectAttempt.objects.update(created_at=timezone.now() - timedelta(minutes=30, seconds=1))
    response = browser.get(started.path, {"code": CODE})
    assert is_clean(response)
    assert outcome(response) == ("error", "state_expired")
    assert openrouter.exchanges == []
    assert only_attempt().outcome == "state_expired"


def test_just_in_time(browser, user, openrouter):
    """FI 23: seconds before the end of half an hour it still connects."""
    started = start(browser)
    ConnectAttempt.objects.update(created_at=timezone.now() - timedelta(minutes=29, seconds=55))
    browser.get(started.path, {"code": CODE})
    assert get_api_key(user) == KEY


def test_attempt_from_the_future(browser, openrouter):
    """FI 24: an attempt that was started in an hour is refused."""
    started = start(browser)
    ConnectAttempt.objects.update(created_at=timezone.now() + timedelta(hours=1))
    response = browser.get(started.path, {"code": CODE})
    assert outcome(response) == ("error", "state_expired")
    assert openrouter.exchanges == []


@pytest.mark.parametrize("junk", ["text", ["list"], 7, {"a": "dict"}, None, "x" * 22 + "\n"])
def test_junk_in_the_session(browser, user, openrouter, junk):
    """FI 25: a spoilt session fits no attempt, and the next start mends it."""
    started = start(browser)
    session = browser.session
    session["openrouter_auth"] = junk
    session.save()
    response = browser.get(started.path, {"code": CODE})
    assert outcome(response) == ("error", "state_unknown")
    browser.get(start(browser).path, {"code": CODE})
    assert get_api_key(user) == KEY


@pytest.mark.parametrize("junk", ["text", ["list"], None, "x" * 22 + "\n"])
def test_browser_of_a_spoilt_session(rf, junk):
    """FI 25: what we did not write ourselves tells no browser from another."""
    request = rf.get("/")
    request.session = {"openrouter_auth": junk}
    assert known_browser(request) is None


def test_echoed_state_that_agrees(browser, user, openrouter):
    """FI 26: OpenRouter may repeat our state."""
    started = start(browser)
    browser.get(started.path, {"code": CODE, "state": started.state})
    assert get_api_key(user) == KEY


@pytest.mark.parametrize("echo", ["other", "", ["{state}", "other"]])
def test_echoed_state_that_differs(browser, user, openrouter, echo):
    """FI 26: a different echoed state is refused, and the attempt waits for the right one."""
    started = start(browser)
    echoed = [value.format(state=started.state) for value in echo] if echo else echo
    wrong = echo if isinstance(echo, str) else echoed
    response = browser.get(started.path, {"code": CODE, "state": wrong})
    assert outcome(response) == ("error", "state_unknown")
    assert openrouter.exchanges == []
    browser.get(started.path, {"code": CODE})
    assert get_api_key(user) == KEY


def test_script_prefix(browser, user, openrouter, settings):
    """FI 27: a site below ``/app`` gets its callback below ``/app``."""
    settings.FORCE_SCRIPT_NAME = "/app"
    set_script_prefix("/app/")
    try:
        response = browser.post("/openrouter/connect/", {"next": "/app/ok/"})
        callback_url = parse_qs(urlsplit(response["Location"]).query)["callback_url"][0]
        assert callback_url.startswith("https://app.example/app/openrouter/callback/")
        response = browser.get(urlsplit(callback_url).path.removeprefix("/app"), {"code": CODE})
        assert response["Location"] == "/app/ok/"
    finally:
        set_script_prefix("/")
    assert get_api_key(user) == KEY


class LanguageUrls:
    """URLs below a language prefix."""

    urlpatterns = i18n_patterns(path("openrouter/", include("django_openrouter_auth.urls")))


def test_language_prefix(browser, user, openrouter, settings):
    """FI 27: below a language prefix the callback carries the prefix and resolves."""
    settings.ROOT_URLCONF = LanguageUrls
    settings.MIDDLEWARE = [*settings.MIDDLEWARE, "django.middleware.locale.LocaleMiddleware"]
    response = browser.post("/de/openrouter/connect/", headers={"Accept-Language": "de"})
    callback_url = parse_qs(urlsplit(response["Location"]).query)["callback_url"][0]
    assert urlsplit(callback_url).path.startswith("/de/openrouter/callback/")
    browser.get(urlsplit(callback_url).path, {"code": CODE})
    assert get_api_key(user) == KEY


def test_bounce_page(browser, user, openrouter, settings):
    """FI 28: without the session cookie one private page reloads itself, then it connects."""
    started = start(browser)
    cookies = browser.cookies.copy()
    browser.cookies.clear()
    first = browser.get(started.path, {"code": 'a"&<b>'})
    assert first.status_code == 200
    assert first["Cache-Control"] == "no-store"
    assert first["Referrer-Policy"] == "no-referrer"
    page = first.content.decode()
    assert "<script" not in page
    assert "http" not in page.replace("http-equiv", "")
    (target,) = re.findall(r'content="0;url=\?([^"]+)"', page)
    browser.cookies.update(cookies)
    browser.get(f"{started.path}?{target.replace('&amp;', '&')}")
    assert [body["code"] for body in openrouter.exchanges] == ['a"&<b>']
    assert get_api_key(user) == KEY


def test_bounce_page_leads_on_without_a_cookie(browser, openrouter):
    """FI 28: the page that reloads itself never leads to itself again."""
    path = start(browser).path
    browser.cookies.clear()
    page = browser.get(path, {"code": CODE}).content.decode()
    (target,) = re.findall(r'content="0;url=\?([^"]+)"', page)
    response = browser.get(f"{path}?{target.replace('&amp;', '&')}")
    assert response["Location"] == "/accounts/login/?next=/openrouter/connect/"


def test_bounce_only_once(client, openrouter, db):
    """FI 28: who has no cookie after the bounce either is asked to sign in; the code is gone."""
    response = client.get(f"/openrouter/callback/{'A' * 43}/", {"code": CODE, "bounced": "1"})
    assert is_clean(response)
    assert response["Location"] == "/accounts/login/?next=/openrouter/connect/"
    assert outcome(response) == ("info", "not_authenticated")
    assert openrouter.exchanges == []


def test_attempt_for_another_way_is_refused(browser, openrouter):
    """An attempt that was not started for a callback cannot be finished by one."""
    started = start(browser)
    ConnectAttempt.objects.update(mode="code")
    response = browser.get(started.path, {"code": CODE})
    assert outcome(response) == ("error", "mode_mismatch")
    assert openrouter.exchanges == []


def test_session_holds_only_one_small_value(browser):
    """At most 60 bytes in the session, however many attempts are abandoned, and no verifier."""
    before = len(Session.objects.get().session_data)
    for _ in range(4):
        start(browser)
    assert len(Session.objects.get().session_data) - before <= 60
    assert len(browser.session["openrouter_auth"]) == 22


def test_anything_unexpected_ends_as_a_message(browser, openrouter, monkeypatch):
    """PM 121: even an error that nobody foresaw is a clean answer, and the attempt is over."""

    def explode(*args, **kwargs):
        raise MemoryError("sk-or-v1-secret")

    monkeypatch.setattr("django_openrouter_auth.client.OpenRouterConnection._call", explode)
    response = browser.get(start(browser).path, {"code": CODE})
    assert is_clean(response)
    assert outcome(response) == ("error", "internal")
    assert only_attempt().outcome == "internal"


def test_trouble_outside_the_service_is_a_message_too(browser, openrouter, monkeypatch):
    """Nothing that the callback does can end in an error page, which would show the code."""

    def explode(**kwargs):
        raise RuntimeError

    started = start(browser)
    monkeypatch.setattr("django_openrouter_auth.services.complete", explode)
    response = browser.get(started.path, {"code": CODE})
    assert is_clean(response)
    assert outcome(response) == ("error", "internal")


@pytest.mark.parametrize("engine", ["db", "cached_db", "cache", "file", "signed_cookies"])
def test_session_engines(user, site_url, openrouter, settings, engine, tmp_path):
    """SB 44: the flow works with every session engine."""
    settings.SESSION_ENGINE = f"django.contrib.sessions.backends.{engine}"
    settings.SESSION_FILE_PATH = str(tmp_path)
    browser = Client()
    browser.force_login(user)
    browser.get(start(browser).path, {"code": CODE})
    assert get_api_key(user) == KEY


def test_json_start(browser):
    """A single-page app gets the URL instead of a redirect."""
    response = browser.post("/openrouter/connect/", headers={"Accept": "application/json"})
    assert response.status_code == 200
    assert set(response.json()) == {"authorization_url"}
    assert response.json()["authorization_url"].startswith("https://openrouter.ai/auth?")
    assert "Accept" in response["Vary"]


def test_url_names(db):
    """The documented names lead to the documented paths."""
    names = {"manage": "", "connect": "connect/", "disconnect": "disconnect/", "status": "status/"}
    for name, tail in names.items():
        assert reverse(f"openrouter_auth:{name}") == f"/openrouter/{tail}"
    assert reverse("openrouter_auth:callback", args=["abc"]) == "/openrouter/callback/abc/"


def test_wish_survives_a_denial(browser, openrouter):
    """Who says no and then thinks again still comes back to the page that they left."""
    response = browser.get(start(browser, next="/ok/").path, {"error": "access_denied"})
    assert response["Location"] == "/openrouter/?next=%2Fok%2F"
    page = browser.get(response["Location"]).content.decode()
    assert '<input type="hidden" name="next" value="/ok/">' in page


@pytest.mark.parametrize("page", ["", "connect/", "disconnect/"])
@pytest.mark.parametrize("has_key", [True, False])
def test_forms_may_name_their_origin(browser, user, connected, page, has_key):
    """Browsers send ``Origin: null`` from a no-referrer page; pages with a form say otherwise."""
    if not has_key:
        OpenRouterKey.objects.all().delete()
    html = browser.get(f"/openrouter/{page}").content.decode()
    if "<form" in html:
        assert html.index('<meta name="referrer" content="same-origin">') < html.index("<button")


@pytest.mark.parametrize("trouble", ["bounce", "messages", "fields"])
def test_callback_is_never_an_error_page(browser, openrouter, monkeypatch, mailoutbox, trouble):
    """T04, M17: whatever breaks, the answer is clean, and no error mail holds the code."""

    def explode(*args, **kwargs):
        raise RuntimeError

    path, query = start(browser).path, {"code": CODE}
    if trouble == "bounce":
        browser.cookies.clear()
        monkeypatch.setattr("django_openrouter_auth.views.render_to_string", explode)
    elif trouble == "messages":
        monkeypatch.setattr("django_openrouter_auth.answers.messages.get_messages", explode)
    else:
        query |= {f"field{number}": "x" for number in range(1100)}
    response = browser.get(path, query)
    assert is_clean(response)
    assert mailoutbox == []


def test_trouble_after_storing_is_not_called_a_failure(browser, user, openrouter, monkeypatch):
    """A key that was stored is not announced as left over because a redirect went wrong."""

    def explode(*args):
        raise RuntimeError

    started = start(browser)
    monkeypatch.setattr("django_openrouter_auth.views.target", explode)
    browser.get(started.path, {"code": CODE})
    assert get_api_key(user) == KEY
    page = browser.get("/openrouter/").content.decode()
    assert "If OpenRouter is not shown as connected" in page
    assert "A key that nobody uses" not in page


def test_bounce_page_asks_no_context_processor(browser, settings):
    """The page between two redirects needs nothing of the site that could fail."""
    templates = settings.TEMPLATES[0]
    options = templates["OPTIONS"] | {"context_processors": ["tests.no.such.processor"]}
    settings.TEMPLATES = [templates | {"OPTIONS": options}]
    path = start(browser).path
    browser.cookies.clear()
    assert browser.get(path, {"code": CODE}).status_code == 200


def test_site_without_time_zones(browser, user, openrouter, settings):
    """With ``USE_TZ`` off a key that expires is stored with the site's own local time."""
    settings.USE_TZ = False
    settings.TIME_ZONE = "Europe/Berlin"
    openrouter.knows(expires_at="2027-01-01T12:00:00Z")
    browser.get(start(browser).path, {"code": CODE})
    assert get_api_key(user) == KEY
    assert OpenRouterKey.objects.get().expires_at.isoformat() == "2027-01-01T13:00:00"


def test_naive_times_of_openrouter_are_utc(browser, openrouter):
    """A time without a zone is not read as the site's local time."""
    openrouter.knows(expires_at="2027-01-01T12:00:00")
    browser.get(start(browser).path, {"code": CODE})
    assert OpenRouterKey.objects.get().expires_at.isoformat() == "2027-01-01T12:00:00+00:00"


def test_same_code_with_another_text_is_told_too(browser, openrouter):
    """A repeated message is left once; one that says something else is not swallowed."""
    browser.get(start(browser).path, {"code": CODE})
    openrouter.grants("sk-or-v1-" + "5" * 64)
    response = browser.get(start(browser).path, {"code": CODE})
    texts = [str(message) for message in get_messages(response.wsgi_request)]
    assert len(texts) == 2
    assert "previous key" in texts[1]


def test_management_key_comes_with_a_link(browser, openrouter):
    """Who is asked to delete a key is shown where."""
    openrouter.knows(is_management_key=True)
    response = browser.get(start(browser).path, {"code": CODE})
    assert outcome(response) == ("error", "management_key")
    assert "https://openrouter.ai/settings/keys" in message_text(response)


def test_problem_json_is_json(browser):
    """A client that only takes problem details is a program, too."""
    headers = {"Accept": "application/problem+json"}
    assert "authorization_url" in browser.post("/openrouter/connect/", headers=headers).json()


def test_limit_as_decimal(browser, settings):
    """A limit given as a decimal number is sent, not dropped."""
    settings.OPENROUTER_AUTH_AUTHORIZE_PARAMS = {"limit": Decimal("2.50")}
    assert start(browser).parameters["limit"] == ["2.50"]
