"""Entering a code: for when OpenRouter cannot bring the user back by itself."""

from datetime import timedelta
from urllib.parse import parse_qs, urlsplit

import pytest
from django.contrib.sessions.models import Session
from django.test import Client
from django.utils import timezone

from django_openrouter_auth.attempts import claim_attempt, release_attempt
from django_openrouter_auth.exceptions import StateUnknown
from django_openrouter_auth.models import ConnectAttempt, OpenRouterKey
from django_openrouter_auth.pkce import make_code_challenge

from .connecting import CODE, KEY, is_clean, message_text, outcome, row, start

JSON = {"Accept": "application/json"}


def ask_for_code(browser, **query):
    """Open the page and return the parameters of its link to OpenRouter."""
    response = browser.get("/openrouter/code/", query)
    url = response.context["authorization_url"]
    assert url.startswith("https://openrouter.ai/auth?")
    return parse_qs(urlsplit(url).query)


def enter(browser, code=CODE, **post):
    """Enter a code."""
    return browser.post("/openrouter/code/", {"code": code, **post})


@pytest.fixture
def waiting(browser):
    """The parameters of the link that the browser was shown."""
    return ask_for_code(browser)


# The page


def test_link(browser, settings):
    """HL 209: the link has a challenge with S256 and the label, and no callback."""
    settings.OPENROUTER_AUTH_KEY_LABEL = "Site of ann"
    settings.OPENROUTER_AUTH_AUTHORIZE_PARAMS = {"limit": 5}
    parameters = ask_for_code(browser)
    assert set(parameters) == {"code_challenge", "code_challenge_method", "key_label", "limit"}
    assert parameters["code_challenge_method"] == ["S256"]
    assert parameters["key_label"] == ["Site of ann"]
    verifier = ConnectAttempt.objects.get().code_verifier.reveal()
    assert parameters["code_challenge"] == [make_code_challenge(verifier, "S256")]


def test_label_of_the_visitor(browser, settings):
    """A callable for the label gets the request here, too."""
    settings.OPENROUTER_AUTH_KEY_LABEL = lambda request: f"Chat of {request.user}"
    assert ask_for_code(browser)["key_label"] == ["Chat of ann"]


def test_page(browser):
    """HL 209: the page is private, its form has a CSRF token and remembers nothing."""
    response = browser.get("/openrouter/code/")
    assert response["Cache-Control"] == "no-store"
    assert response["Referrer-Policy"] == "no-referrer"
    assert response["X-Frame-Options"] == "DENY"
    content = response.content.decode()
    assert "csrfmiddlewaretoken" in content
    assert 'autocomplete="off"' in content
    assert "Only enter a code that you asked for yourself" in content


def test_challenge_is_required(browser, settings):
    """Contract 1.1: without a callback OpenRouter requires a challenge, so there always is one."""
    settings.OPENROUTER_AUTH_CODE_CHALLENGE_METHOD = None
    assert ask_for_code(browser)["code_challenge_method"] == ["S256"]


def test_parameters_of_ours_in_the_settings(browser, settings):
    """T11: no setting brings a callback or another challenge into the link."""
    settings.OPENROUTER_AUTH_AUTHORIZE_PARAMS = {
        "callback_url": "https://evil.example/",
        "code_challenge": "x",
        "state": "y",
    }
    parameters = ask_for_code(browser)
    assert set(parameters) == {"code_challenge", "code_challenge_method"}
    assert parameters["code_challenge"] != ["x"]


def test_plain(browser, settings):
    """A site that chose ``plain`` gets it here, too."""
    settings.OPENROUTER_AUTH_CODE_CHALLENGE_METHOD = "plain"
    parameters = ask_for_code(browser)
    verifier = ConnectAttempt.objects.get().code_verifier.reveal()
    assert parameters["code_challenge"] == [verifier]


def test_page_again(browser, waiting):
    """Loading the page again shows the same link and starts nothing."""
    assert ask_for_code(browser) == waiting
    assert ConnectAttempt.objects.count() == 1


def test_page_in_another_browser(user, browser, waiting):
    """Another browser of the same user gets a link of its own."""
    other = Client()
    other.force_login(user)
    assert ask_for_code(other)["code_challenge"] != waiting["code_challenge"]


def test_page_after_expiry(browser, waiting):
    """A link that is too old is not shown again."""
    ConnectAttempt.objects.update(created_at=timezone.now() - timedelta(minutes=31))
    assert ask_for_code(browser)["code_challenge"] != waiting["code_challenge"]


def test_page_after_the_encryption_key_is_gone(browser, waiting, settings):
    """Where the verifier cannot be read any more, a new link is shown."""
    settings.FERNET_KEYS = ["x" * 43]
    assert ask_for_code(browser)["code_challenge"] != waiting["code_challenge"]


def test_attempts_are_bounded(user, browser):
    """Browsers of one user share the limit of pending attempts."""
    for _ in range(7):
        other = Client()
        other.force_login(user)
        ask_for_code(other)
    assert ConnectAttempt.objects.count() == 5


@pytest.mark.parametrize("method", ["head", "put", "delete", "options"])
def test_other_methods(browser, method):
    """Other methods start nothing."""
    assert getattr(browser, method)("/openrouter/code/").status_code == 405
    assert not ConnectAttempt.objects.exists()


def test_misconfigured(browser, settings):
    """A setting that cannot be used stops the page with the usual words."""
    settings.OPENROUTER_AUTH_AUTHORIZE_URL = "nowhere"
    response = browser.get("/openrouter/code/")
    assert is_clean(response)
    assert outcome(response) == ("error", "misconfigured")
    assert browser.get("/openrouter/code/", headers=JSON).status_code == 500


def test_wrong_encryption_keys(browser, settings):
    """Encryption keys that cannot be used stop the page as well."""
    settings.FERNET_KEYS = [None]
    assert outcome(browser.get("/openrouter/code/")) == ("error", "misconfigured")


def test_works_where_a_callback_would_not(browser, openrouter, settings):
    """A site on plain http, to which OpenRouter does not return, can be connected by code."""
    settings.OPENROUTER_AUTH_SITE_URL = None
    ask_for_code(browser)
    assert outcome(enter(browser)) == ("success", "connected")


# A good code


def test_connect(browser, waiting, openrouter):
    """A code connects: one exchange with the verifier of the link, and where the key came from."""
    verifier = ConnectAttempt.objects.get().code_verifier.reveal()
    response = enter(browser)
    assert is_clean(response)
    assert response["Location"] == "/openrouter/"
    assert outcome(response) == ("success", "connected")
    assert openrouter.exchanges == [
        {"code": CODE, "code_verifier": verifier, "code_challenge_method": "S256"}
    ]
    assert OpenRouterKey.objects.get().secret.reveal() == KEY
    assert row()["source"] == "code"
    attempt = ConnectAttempt.objects.get()
    assert (attempt.outcome, attempt.code_verifier) == ("connected", None)


@pytest.mark.parametrize(
    "text",
    [f"  {CODE}\t", f"\r\n{CODE}\r\n", f'"{CODE}"', f"`{CODE}`", f"'{CODE}' ", f" ` {CODE} ` "],
)
def test_trimmed(browser, waiting, openrouter, text):
    """HL 210: blanks, quotes and backticks around a code do no harm."""
    enter(browser, text)
    assert openrouter.exchanges[0]["code"] == CODE
    assert OpenRouterKey.objects.exists()


@pytest.mark.parametrize(
    "text",
    [
        f"https://elsewhere.example/done?code={CODE}",
        f"http://localhost:8000/x?a=1&code={CODE}&state=y#z",
        f"?code={CODE}",
        f"HTTPS://APP.EXAMPLE/?code={CODE}",
    ],
)
def test_address_with_a_code(browser, waiting, openrouter, text):
    """HL 212: of an address only its code is used; the address is never sent on."""
    enter(browser, text)
    assert [body["code"] for body in openrouter.exchanges] == [CODE]
    assert OpenRouterKey.objects.exists()


def test_pasted_redirect(browser, openrouter):
    """Contract 7.12: the address of a callback that did not open finishes that very attempt."""
    started = start(browser, next="/shop/")
    ask_for_code(browser)
    response = enter(browser, f"{started.callback_url}?code={CODE}&state={started.state}")
    assert response["Location"] == "/shop/"
    assert outcome(response) == ("success", "connected")
    assert row()["source"] == "oauth"


def test_pasted_denial(browser, openrouter):
    """The address of a denial is understood as one."""
    started = start(browser)
    response = enter(browser, f"{started.callback_url}?error=access_denied")
    assert outcome(response) == ("info", "access_denied")
    assert openrouter.exchanges == []


def test_pasted_redirect_of_somebody_else(user, browser, other_user, openrouter):
    """FI 5, SB 34: an address from another browser changes nothing there or here."""
    attacker = Client()
    attacker.force_login(other_user)
    started = start(attacker)
    ask_for_code(browser)
    response = enter(browser, f"{started.callback_url}?code={CODE}")
    assert outcome(response) == ("error", "state_unknown")
    assert openrouter.exchanges == []
    assert attacker.get(started.path, {"code": CODE})["Location"] == "/openrouter/"
    assert OpenRouterKey.objects.get().user == other_user


def test_next(browser, openrouter):
    """The user ends where the page was asked to lead."""
    ask_for_code(browser, next="/shop/")
    assert enter(browser)["Location"] == "/shop/"


def test_next_of_the_form(browser, waiting, openrouter):
    """What the form says about ``next`` counts, and only for this site."""
    assert enter(browser, next="/later/")["Location"] == "/later/"


def test_connected_url(browser, waiting, openrouter, settings):
    """Without a wish ``CONNECTED_URL`` says where the user ends."""
    settings.OPENROUTER_AUTH_CONNECTED_URL = "/welcome/"
    assert enter(browser)["Location"] == "/welcome/"


def test_json(browser, openrouter):
    """A program gets the address for its user, and the new status for the code."""
    url = browser.get("/openrouter/code/", headers=JSON).json()["authorization_url"]
    assert "callback_url" not in url
    response = browser.post(
        "/openrouter/code/", {"code": CODE}, content_type="application/json", headers=JSON
    )
    assert (response.status_code, response.json()["connected"]) == (200, True)


# A code that does not work


def test_refused(browser, waiting, openrouter):
    """HL 218: a refused code leads back to the form, and a better one may be entered."""
    openrouter.refuses()
    response = enter(browser, "wrong")
    assert is_clean(response)
    assert response["Location"] == "/openrouter/code/"
    assert outcome(response) == ("error", "exchange_rejected")
    assert ask_for_code(browser) == waiting
    openrouter.grants()
    enter(browser)
    assert OpenRouterKey.objects.exists()


def test_five_tries(browser, waiting, openrouter):
    """After five refused codes the attempt is over, and the page has a new link."""
    openrouter.refuses(400)
    for _ in range(5):
        list(browser.get("/openrouter/").context["messages"])
        response = enter(browser, "wrong")
    assert "five tries are used up" in message_text(response)
    attempt = ConnectAttempt.objects.get()
    assert (attempt.tries, attempt.outcome, attempt.code_verifier) == (5, "exchange_rejected", None)
    list(browser.get("/openrouter/").context["messages"])
    openrouter.grants()
    assert outcome(enter(browser)) == ("error", "state_unknown")
    assert len(openrouter.exchanges) == 5
    assert ask_for_code(browser)["code_challenge"] != waiting["code_challenge"]


def test_refused_code_leaves_the_connection_alone(browser, connected, openrouter):
    """HL 218: an existing connection survives a refused code, byte for byte."""
    before = row()
    ask_for_code(browser)
    openrouter.refuses()
    enter(browser, "wrong")
    assert row() == before


@pytest.mark.parametrize(
    "text",
    [
        "abc\u00a0def",
        "abc\u200bdef",
        "abc\u2010def",
        "abc\u202edef",
        "ａｂｃ",
        "abc def",
        "a\x00b",
        "x" * 513,
        "x" * 2_000_000 + "!",
        "https://app.example/",
        "https://app.example/?code=",
        f"https://app.example/?code={CODE}&code={CODE}",
        "http://[::1",
        "https://app.example/?code=a%00b",
        "https://app.example/?" + "a=1&" * 1500,
        "https://app.example/?code=" + "x" * 9000,
    ],
)
def test_malformed(browser, waiting, openrouter, text):
    """HL 211, DR 204: what cannot be a code is not sent anywhere and costs no try."""
    response = enter(browser, text)
    assert outcome(response) == ("error", "code_malformed")
    assert openrouter.exchanges == []
    assert ConnectAttempt.objects.get().claimed_at is None
    assert ask_for_code(browser) == waiting


@pytest.mark.parametrize("text", ["", "  ", '""'])
def test_nothing_entered(browser, waiting, openrouter, text):
    """An empty form asks for the code and costs no try."""
    assert outcome(enter(browser, text)) == ("error", "code_missing")
    assert openrouter.exchanges == []
    assert ConnectAttempt.objects.get().claimed_at is None


@pytest.mark.parametrize("text", [KEY, f" {KEY} ", f'"{KEY}"', f"Bearer {KEY}", KEY.upper()])
def test_api_key_in_place_of_a_code(browser, waiting, openrouter, leaks, text):
    """An API key that is entered as a code is refused and appears nowhere."""
    leaks.plant(key=KEY)
    response = enter(browser, text)
    assert outcome(response) == ("error", "code_malformed")
    assert "API key" in message_text(response)
    leaks.search_response("answer", response)
    leaks.search_response("page", browser.get("/openrouter/code/"))
    leaks.search_browser("after it", browser)
    assert openrouter.exchanges == []


def test_form_is_empty_again(browser, waiting, openrouter, leaks):
    """HL 214: what was entered is not shown again."""
    leaks.plant(code="wrongcode12345")
    openrouter.refuses()
    leaks.search_response("answer", enter(browser, "wrongcode12345"))
    leaks.search_response("page", browser.get("/openrouter/code/"))


def test_twice(browser, waiting, openrouter):
    """HL 216: the same code a second time makes no second exchange."""
    enter(browser)
    list(browser.get("/openrouter/").context["messages"])
    assert outcome(enter(browser)) == ("error", "state_unknown")
    assert len(openrouter.exchanges) == 1


def test_interrupted(browser, waiting, openrouter):
    """A request that died while it had the code is said to have; a key may be left over."""
    ConnectAttempt.objects.update(claimed_at=timezone.now() - timedelta(minutes=5))
    response = enter(browser)
    assert "interrupted" in message_text(response)
    assert "nobody uses" in message_text(response)
    assert openrouter.exchanges == []


def test_two_tabs(browser, waiting, openrouter):
    """The page and the form agree on which attempt goes on, also after one in another tab ended."""
    ConnectAttempt.objects.update(claimed_at=timezone.now())
    ask_for_code(browser)
    enter(browser)
    list(browser.get("/openrouter/").context["messages"])
    ConnectAttempt.objects.filter(outcome="").update(claimed_at=None, tries=1)
    assert ask_for_code(browser) == waiting
    assert outcome(enter(browser)) == ("success", "connected")


def test_tries_are_counted_in_the_database(user, browser, waiting, openrouter):
    """Requests that read the attempt at the same time have five tries together."""
    openrouter.refuses()
    stale = [ConnectAttempt.objects.get() for _ in range(8)]
    ended = []
    for attempt in stale:
        try:
            claim_attempt(attempt)
        except StateUnknown:
            ended.append(attempt)
        else:
            release_attempt(attempt)
    assert len(ended) == 3


def test_ended_meanwhile(user, browser, waiting, openrouter):
    """An attempt that ended while a code was refused takes no further code."""
    attempt = ConnectAttempt.objects.get()
    claim_attempt(attempt)
    ConnectAttempt.objects.update(outcome="connected")
    assert release_attempt(attempt) is False
    assert ConnectAttempt.objects.get().claimed_at is not None


def test_double_click(browser, waiting, openrouter):
    """While one request is at the exchange, another one of the same form waits for it."""
    ConnectAttempt.objects.update(claimed_at=timezone.now())
    response = enter(browser)
    assert outcome(response) == ("error", "state_unknown")
    assert "Another request is just finishing" in message_text(response)
    assert openrouter.exchanges == []


def test_another_session(user, browser, waiting, openrouter):
    """HL 217: a code cannot be entered in a browser that did not ask for one."""
    other = Client()
    other.force_login(user)
    assert outcome(enter(other)) == ("error", "state_unknown")
    assert openrouter.exchanges == []


def test_another_user_in_the_same_session(browser, waiting, other_user, openrouter):
    """HL 217: a session that another user took over does not finish the first one's attempt."""
    session = browser.session
    kept = session["openrouter_auth"]
    browser.force_login(other_user)
    session = browser.session
    session["openrouter_auth"] = kept
    session.save()
    assert outcome(enter(browser)) == ("error", "user_mismatch")
    assert openrouter.exchanges == []
    assert Session.objects.exists()


def test_expired(browser, waiting, openrouter):
    """HL 221: a code that comes too late is not sent, and the attempt is over."""
    ConnectAttempt.objects.update(created_at=timezone.now() - timedelta(minutes=31))
    assert outcome(enter(browser)) == ("error", "state_expired")
    assert openrouter.exchanges == []
    assert ConnectAttempt.objects.get().outcome == "state_expired"


def test_outage_ends_the_attempt(browser, waiting, openrouter):
    """Where OpenRouter may have made a key, the code is not sent twice."""
    openrouter.mock.upsert("POST", "https://openrouter.ai/api/v1/auth/keys", status=500)
    assert outcome(enter(browser)) == ("error", "provider_unavailable")
    list(browser.get("/openrouter/").context["messages"])
    openrouter.grants()
    assert outcome(enter(browser)) == ("error", "state_unknown")
    assert not OpenRouterKey.objects.exists()


def test_nothing_escapes(browser, waiting, openrouter, leaks, monkeypatch):
    """HL 222: an error that nobody foresaw ends in words, and no report holds the code."""
    leaks.plant(code=CODE)

    def fail(**values):
        raise RuntimeError(values)

    monkeypatch.setattr("django_openrouter_auth.entry_views.services.enter_code", fail)
    assert outcome(enter(browser)) == ("error", "internal")


def test_error_report_of_the_site(browser, waiting, leaks, monkeypatch):
    """HL 222: where the site itself fails afterwards, Django's report masks what was entered."""
    leaks.plant(code=CODE)
    browser.raise_request_exception = False

    def fail(*arguments):
        raise RuntimeError

    monkeypatch.setattr("django_openrouter_auth.entry_views.tell_error", fail)
    monkeypatch.setattr("django_openrouter_auth.entry_views.tell_connected", fail)
    assert enter(browser).status_code == 500
    assert leaks.error_mail.reports


@pytest.mark.parametrize(
    "body",
    [
        {"data": {"code": "x" * 3_000_000}},
        {"data": {f"f{number}": "" for number in range(2000)}},
        {"data": b"[" * 100_000, "content_type": "application/json"},
        {"data": b"x" * 3_000_000, "content_type": "application/json"},
        {"data": b'["code"]', "content_type": "application/json"},
        {"data": b'{"code": 7}', "content_type": "application/json"},
        {"data": b"\xff\xfe", "content_type": "application/json"},
        {"data": b"code=x", "content_type": "text/plain"},
    ],
)
def test_odd_bodies(browser, waiting, openrouter, body):
    """DR 203: bodies that are too large or no form end in no server error and no exchange."""
    response = browser.post("/openrouter/code/", **body)
    assert response.status_code in (303, 400, 413)
    assert openrouter.exchanges == []


def test_file_upload(browser, waiting, openrouter, tmp_path):
    """DR 203: a file in place of a code is no code."""
    upload = tmp_path / "code.txt"
    upload.write_text(CODE)
    with upload.open() as file:
        response = browser.post("/openrouter/code/", {"code": file})
    assert outcome(response) == ("error", "code_missing")


# Who may


def test_switched_off(browser, settings):
    """``ALLOW_CODE_ENTRY`` switches the page off, and the links to it."""
    settings.OPENROUTER_AUTH_ALLOW_CODE_ENTRY = False
    assert browser.get("/openrouter/code/").status_code == 404
    assert enter(browser).status_code == 404
    assert b"/openrouter/code/" not in browser.get("/openrouter/connect/").content
    assert b"/openrouter/key/" in browser.get("/openrouter/connect/").content


def test_link_to_it(browser):
    """The page of *Connect* names this way, and keeps ``next``."""
    content = browser.get("/openrouter/connect/?next=/shop/").content
    assert b'href="/openrouter/code/?next=%2Fshop%2F"' in content


def test_strangers(client, db):
    """A stranger signs in first and comes back; nothing is started."""
    response = client.get("/openrouter/code/?next=/shop/")
    assert response["Location"].startswith("/accounts/login/?next=/openrouter/code/")
    assert client.post("/openrouter/code/", {"code": CODE}).status_code == 303
    assert not ConnectAttempt.objects.exists()


def test_csrf(user, waiting):
    """RH 83: a form of another site is refused."""
    strict = Client(enforce_csrf_checks=True)
    strict.force_login(user)
    assert enter(strict).status_code == 403


def test_disconnect_drops_it(browser, connected, openrouter):
    """RC 65: after disconnecting, the code of an older link connects nothing."""
    ask_for_code(browser)
    browser.post("/openrouter/disconnect/")
    list(browser.get("/openrouter/").context["messages"])
    assert outcome(enter(browser)) == ("error", "state_unknown")
    assert not OpenRouterKey.objects.exists()
