"""Where people are sent: group RH of the threat model's catalogue."""

from urllib.parse import parse_qs, urlsplit

import pytest
from django.test import Client
from django.urls import set_script_prefix

from django_openrouter_auth.models import ConnectAttempt, OpenRouterKey
from django_openrouter_auth.redirects import safe_next, target

from .connecting import CODE, is_clean, message_text, outcome, start

pytestmark = pytest.mark.django_db

FOREIGN = [
    "//",
    "//?x",
    "//#x",
    "//e",
    "///e",
    "/\\e",
    "\\\\e",
    "/\t/e",
    "/\n/e",
    "\t//e",
    " //e",
    "\x00//e",
    "\u2028//e",
    "http:e",
    "https:///e",
    "http://e",
    "//testserver@e",
    "http://testserver@e",
    "http://testserver.e",
    "http://[::1",
    "javascript:alert(1)",
    "java\tscript:alert(1)",
    "data:text/html,x",
    "ftp://testserver/",
    "https://e.c\u2100.testserver",
    "evil.com",
    "@evil.com",
    "?x",
    "/" + "a" * 2100,
    "/" + "a" * 20000,
    "http://app.example/ok/",
    "https://app.example/ok/",
    "/ok\r\nSet-Cookie: x",
    "/\u0085/e",
    "/" + "世" * 700,
]


@pytest.mark.parametrize("wish", FOREIGN, ids=lambda wish: f"{wish[:20]!r}-{len(wish)}")
def test_foreign_next(browser, openrouter, wish):
    """RH 67, RH 70, RH 71: what is not a path of this site leads to the connection page."""
    response = browser.get(start(browser, next=wish).path, {"code": CODE})
    assert response.status_code == 303
    assert response["Location"] == "/openrouter/"
    assert "Set-Cookie" not in response["Location"]


@pytest.mark.parametrize(
    ("wish", "location"),
    [
        ("/ok/", "/ok/"),
        ("/ok/?a=1&b=//e", "/ok/?a=1&b=//e"),
        ("/ünï/", "/%C3%BCn%C3%AF/"),
        ("/%C3%BC/?q=%26", "/%C3%BC/?q=%26"),
        ("/openrouter/", "/openrouter/"),
        ("/openrouter/status/", "/openrouter/status/"),
    ],
)
def test_own_next(browser, openrouter, wish, location):
    """RH 69: a path of this site is reached, encoded once."""
    response = browser.get(start(browser, next=wish).path, {"code": CODE})
    assert response["Location"] == location


@pytest.mark.parametrize(
    "wish",
    [
        "/openrouter/connect/",
        "/openrouter/disconnect/?x=1",
        "/openrouter/callback/abc/",
        "/openrouter/callback/abc",
        "/openrouter/c%6Fnnect/",
        "/openrouter/connect",
        "/x/../openrouter/disconnect/",
        "/openrouter/%2e/connect/",
    ],
)
def test_own_flow_as_next(browser, openrouter, wish):
    """RH 73: nobody is sent round in circles by a ``next`` that points into the flow."""
    response = browser.get(start(browser, next=wish).path, {"code": CODE})
    assert response["Location"] == "/openrouter/"


def test_foreign_next_is_no_next():
    """RH 67: nothing of that is taken, whoever asks for it."""
    assert [wish for wish in FOREIGN if safe_next(wish)] == []


def test_longest_next():
    """RH 70: 2,000 characters are the most that is taken."""
    longest = "/" + "a" * 1999
    assert safe_next(longest) == longest
    assert safe_next(f"{longest}a") == ""


def test_own_flow_below_a_prefix():
    """RH 73: the flow is recognised below a script prefix too."""
    set_script_prefix("/app/")
    try:
        assert safe_next("/app/openrouter/connect/") == ""
        assert safe_next("/app/ok/") == "/app/ok/"
    finally:
        set_script_prefix("/")


def test_next_is_checked_again_when_it_is_used(browser, openrouter):
    """RH 67: whoever can write rows cannot send people away with them."""
    started = start(browser, next="/ok/")
    ConnectAttempt.objects.update(next_url="https://evil.example/")
    response = browser.get(started.path, {"code": CODE})
    assert response["Location"] == "/openrouter/"


def test_next_stays_here(browser):
    """RH 74: OpenRouter is not told where the user was."""
    assert "secret-page" not in start(browser, next="/secret-page/").location


def test_next_wins_over_the_setting(browser, openrouter, settings):
    """The visitor's wish comes first, then ``CONNECTED_URL``."""
    settings.OPENROUTER_AUTH_CONNECTED_URL = "home"
    assert browser.get(start(browser).path, {"code": CODE})["Location"] == "/"
    response = browser.get(start(browser, next="/ok/").path, {"code": CODE})
    assert response["Location"] == "/ok/"


def test_disconnected_url(browser, settings):
    """After disconnecting, ``next`` comes first, then ``DISCONNECTED_URL``."""
    settings.OPENROUTER_AUTH_DISCONNECTED_URL = "https://bye.example/"
    assert browser.post("/openrouter/disconnect/")["Location"] == "https://bye.example/"
    response = browser.post("/openrouter/disconnect/", {"next": "/ok/"})
    assert response["Location"] == "/ok/"


def test_long_wish_of_a_stranger(client, site_url):
    """RH 67: a wish that would not fit into a header once it is encoded is not an error page."""
    response = client.post("/openrouter/connect/", {"next": "/" + "世" * 1990})
    assert response["Location"] == "/accounts/login/?next=/openrouter/connect/"


def test_target_that_does_not_exist():
    """A misspelt URL name in a setting leads to the connection page, not to an error."""
    assert target(None, "no-such-name") == "/openrouter/"


def test_forged_host_with_site_url(browser, settings):
    """RH 76: with ``SITE_URL`` the Host header has no say in the callback."""
    settings.ALLOWED_HOSTS = ["*"]
    settings.USE_X_FORWARDED_HOST = True
    response = browser.post(
        "/openrouter/connect/",
        headers={"Host": "evil.example", "X-Forwarded-Host": "evil.example"},
    )
    callback_url = parse_qs(urlsplit(response["Location"]).query)["callback_url"][0]
    assert callback_url.startswith("https://app.example/")


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_callback_from_the_request(browser, settings, scheme):
    """Without ``SITE_URL`` the callback is on the host of the request."""
    settings.OPENROUTER_AUTH_SITE_URL = None
    headers = {"Host": "localhost:3000"}
    response = browser.post("/openrouter/connect/", headers=headers, secure=scheme == "https")
    callback_url = parse_qs(urlsplit(response["Location"]).query)["callback_url"][0]
    assert callback_url.startswith(f"{scheme}://localhost:3000/openrouter/callback/")


@pytest.mark.parametrize(
    "site_url", ["http://app.example", "http://[::1]:5", "http://0.0.0.0:8000", "http://10.0.0.1"]
)
def test_insecure_callback(browser, settings, site_url):
    """RH 78: a callback that OpenRouter refuses is not even started."""
    settings.OPENROUTER_AUTH_SITE_URL = site_url
    response = browser.post("/openrouter/connect/")
    assert is_clean(response)
    assert outcome(response) == ("error", "insecure_callback")
    assert "OPENROUTER_AUTH_SITE_URL" in message_text(response)
    assert not ConnectAttempt.objects.exists()


def test_insecure_callback_in_htmx(browser, settings):
    """RH 78: what went wrong is told on a page of its own, not in the part that htmx fills."""
    settings.OPENROUTER_AUTH_SITE_URL = "http://app.example"
    response = browser.post("/openrouter/connect/", headers={"HX-Request": "true"})
    assert (response.status_code, response.get("HX-Redirect")) == (200, "/openrouter/")
    assert outcome(response) == ("error", "insecure_callback")


def test_insecure_callback_leads_on(browser, settings):
    """Who cannot be sent to OpenRouter goes on to where they wanted to go."""
    settings.OPENROUTER_AUTH_SITE_URL = "http://app.example"
    assert browser.post("/openrouter/connect/", {"next": "/ok/"})["Location"] == "/ok/"


def test_label_that_cannot_be_sent(browser, settings):
    """A label that no URL can hold leaves no attempt behind."""
    settings.OPENROUTER_AUTH_KEY_LABEL = "\ud800"
    with pytest.raises(UnicodeEncodeError):
        browser.post("/openrouter/connect/")
    assert not ConnectAttempt.objects.exists()


def test_failed_start_is_logged(browser, settings, caplog):
    """Who is told to ask the administrator has one who finds a line in the log."""
    settings.OPENROUTER_AUTH_SITE_URL = "http://app.example"
    browser.post("/openrouter/connect/")
    assert "openrouter connect not started: code=insecure_callback user=" in caplog.text


@pytest.mark.parametrize("state", ["rejected", "unreadable"])
def test_connect_page_says_why(browser, connected, state):
    """Who is sent to connect again learns what is wrong with the key."""
    OpenRouterKey.objects.update(status=state)
    page = browser.get("/openrouter/connect/").content.decode()
    assert "no longer" in page
    assert "Connect again" in page


def test_insecure_callback_for_a_program(browser, settings):
    """RH 78: a single-page app gets 500 problem details with the code."""
    settings.OPENROUTER_AUTH_SITE_URL = None
    response = browser.post("/openrouter/connect/", headers={"Accept": "application/json"})
    assert response.status_code == 500
    assert response.json()["code"] == "insecure_callback"


@pytest.mark.parametrize("site_url", ["http://localhost:8000", "http://127.0.0.1:5"])
def test_loopback_callback(browser, settings, site_url):
    """RH 79: http is fine on this machine, on any port."""
    settings.OPENROUTER_AUTH_SITE_URL = site_url
    assert start(browser).callback_url.startswith(f"{site_url}/openrouter/callback/")


def test_trailing_slash_of_site_url(browser, settings):
    """RH 81: a trailing slash of the origin does not end up doubled."""
    settings.OPENROUTER_AUTH_SITE_URL = "https://app.example/"
    assert start(browser).callback_url.startswith("https://app.example/openrouter/")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("SITE_URL", "https://user:pw@app.example"),
        ("SITE_URL", "https://app.example?x"),
        ("SITE_URL", "https://app.example#x"),
        ("SITE_URL", "https://app.example/app"),
        ("SITE_URL", "https://app.example:99999"),
        ("SITE_URL", "https://app example"),
        ("SITE_URL", "https://[::1"),
        ("SITE_URL", 7),
        ("AUTHORIZE_URL", "http://openrouter.ai/auth"),
        ("API_URL", "http://openrouter.ai/api/v1"),
        ("API_URL", "https://user@openrouter.ai/api/v1"),
        ("API_URL", "https://[::1"),
        ("API_URL", None),
        ("AUTHORIZE_PARAMS", {"limit": object()}),
    ],
)
def test_unusable_url_settings(browser, settings, name, value):
    """RH 81: with a URL setting that cannot be trusted nothing is started."""
    setattr(settings, f"OPENROUTER_AUTH_{name}", value)
    response = browser.post("/openrouter/connect/")
    assert outcome(response) == ("error", "misconfigured")
    assert not ConnectAttempt.objects.exists()


@pytest.mark.parametrize("method", ["S256", None])
def test_unusable_encryption_keys(browser, settings, method):
    """Where nothing can be encrypted nothing is started, also without a verifier."""
    settings.FERNET_KEYS = [None]
    settings.OPENROUTER_AUTH_CODE_CHALLENGE_METHOD = method
    response = browser.post("/openrouter/connect/")
    assert outcome(response) == ("error", "misconfigured")
    assert not ConnectAttempt.objects.exists()


def test_get_changes_nothing(browser, connected):
    """RH 82: opening the pages starts no attempt and disconnects nobody."""
    attempts = ConnectAttempt.objects.count()
    assert browser.get("/openrouter/connect/").status_code == 200
    assert browser.get("/openrouter/disconnect/").status_code == 200
    assert ConnectAttempt.objects.count() == attempts
    assert OpenRouterKey.objects.count() == 1


@pytest.mark.parametrize("page", ["connect", "disconnect"])
@pytest.mark.parametrize("token", ["", "wrong"])
def test_csrf(user, connected, page, token):
    """RH 83: without the right token nothing starts and nothing is deleted."""
    attempts = ConnectAttempt.objects.count()
    strict = Client(enforce_csrf_checks=True)
    strict.force_login(user)
    response = strict.post(f"/openrouter/{page}/", {"csrfmiddlewaretoken": token})
    assert response.status_code == 403
    assert ConnectAttempt.objects.count() == attempts
    assert OpenRouterKey.objects.count() == 1


def test_csrf_without_the_middleware(user, connected, settings):
    """RH 83: the pages are protected even where the site forgot the middleware."""
    settings.MIDDLEWARE = [name for name in settings.MIDDLEWARE if "csrf" not in name]
    strict = Client(enforce_csrf_checks=True)
    strict.force_login(user)
    assert strict.post("/openrouter/disconnect/").status_code == 403
    assert OpenRouterKey.objects.count() == 1


@pytest.mark.parametrize("page", ["", "connect/", "disconnect/", "status/"])
def test_headers_of_every_page(browser, page):
    """RH 85: no page of the flow may be framed, cached or named in a referrer."""
    response = browser.get(f"/openrouter/{page}")
    assert response["X-Frame-Options"] == "DENY"
    assert response["Cache-Control"] == "no-store"
    assert response["Referrer-Policy"] == "no-referrer"


def test_headers_without_the_middleware(browser, settings):
    """RH 85: the headers are there even where the site forgot the middleware that sets them."""
    ours = ("security", "clickjacking")
    settings.MIDDLEWARE = [
        name for name in settings.MIDDLEWARE if not any(one in name for one in ours)
    ]
    response = browser.get("/openrouter/")
    assert response["X-Frame-Options"] == "DENY"
    assert response["X-Content-Type-Options"] == "nosniff"
    assert response["Referrer-Policy"] == "no-referrer"


def test_own_referrer_policy_wins(browser, openrouter, settings):
    """RH 86: a careless policy of the site does not reach the callback."""
    settings.SECURE_REFERRER_POLICY = "unsafe-url"
    response = browser.get(start(browser).path, {"code": CODE})
    assert response["Referrer-Policy"] == "no-referrer"


@pytest.mark.parametrize("page", ["", "connect/", "disconnect/"])
def test_pages_ask_strangers_to_sign_in(client, page):
    """Every page leads strangers to the login page, and back."""
    response = client.get(f"/openrouter/{page}")
    assert response["Location"] == f"/accounts/login/?next=/openrouter/{page}"


def test_methods_of_the_pages(browser):
    """RH 82: methods that a page does not take are 405, and private too."""
    for page in ("", "status/"):
        response = browser.post(f"/openrouter/{page}")
        assert response.status_code == 405
        assert response["Cache-Control"] == "no-store"


def test_safe_next_takes_nothing():
    """No wish is no wish."""
    assert safe_next(None) == ""
    assert safe_next("") == ""


def test_status_for_strangers(client):
    """JS 223: 401 as problem details, not a redirect to a login page."""
    response = client.get("/openrouter/status/")
    assert response.status_code == 401
    assert response["Content-Type"] == "application/problem+json"
    assert response["Cache-Control"] == "no-store"
    assert "Cookie" in response["Vary"]
    assert response.json()["code"] == "not_authenticated"


STATUS_KEYS = {
    "connected",
    "status",
    "hint",
    "label",
    "usage",
    "limit",
    "limit_remaining",
    "limit_reset",
    "expires_at",
    "checked_at",
    "connected_at",
    "urls",
}


def test_status_without_a_key(browser):
    """JS 224: every value is null, and the links of this site are there."""
    body = browser.get("/openrouter/status/").json()
    assert set(body) == STATUS_KEYS
    assert body["connected"] is False
    assert [body[name] for name in STATUS_KEYS - {"connected", "urls"}] == [None] * 10
    assert body["urls"] == {
        "manage": "/openrouter/",
        "connect": "/openrouter/connect/",
        "disconnect": "/openrouter/disconnect/",
        "openrouter_key": None,
        "openrouter_activity": None,
    }


def test_status_with_a_key(browser, openrouter):
    """JS 224: amounts are numbers in US dollars, times have a zone, the key is only its mask."""
    openrouter.grants(usage=0.25, limit="10", limit_remaining=9.75, limit_reset="monthly")
    browser.get(start(browser).path, {"code": CODE})
    body = browser.get("/openrouter/status/").json()
    assert set(body) == STATUS_KEYS
    assert body["connected"] is True
    assert body["status"] == "active"
    assert body["hint"] == "sk-or-v1-0e6...1c9"
    assert (body["usage"], body["limit"], body["limit_remaining"]) == (0.25, 10.0, 9.75)
    assert body["limit_reset"] == "monthly"
    assert body["connected_at"].endswith("Z")
    key = OpenRouterKey.objects.get()
    assert body["urls"]["openrouter_key"] == f"https://openrouter.ai/keys/{key.key_hash}"


@pytest.mark.parametrize("state", ["rejected", "unreadable"])
def test_status_of_a_key_that_cannot_be_used(browser, connected, state):
    """JS 224: ``connected`` is true for a usable key only."""
    OpenRouterKey.objects.update(status=state)
    body = browser.get("/openrouter/status/").json()
    assert body["connected"] is False
    assert body["status"] == state
    assert body["hint"] == "sk-or-v1-0e6...1c9"


def test_status_is_only_ever_ones_own(browser, connected, other_user):
    """JS 226: parameters choose nobody else's status."""
    client = Client()
    client.force_login(other_user)
    assert client.get("/openrouter/status/?user=1&pk=1").json()["connected"] is False


def test_json_disconnect(browser, connected):
    """A single-page app that disconnects gets the new status."""
    response = browser.post("/openrouter/disconnect/", headers={"Accept": "application/json"})
    assert response.status_code == 200
    assert response.json()["connected"] is False
    assert not OpenRouterKey.objects.exists()


def test_json_disconnect_for_strangers(client):
    """A stranger's program is told so."""
    response = client.post("/openrouter/disconnect/", headers={"Accept": "application/json"})
    assert response.status_code == 401


def test_retry_after_is_passed_on():
    """A wait that OpenRouter asked for is passed on to the program."""
    from django_openrouter_auth.answers import problem
    from django_openrouter_auth.exceptions import RateLimited

    assert problem(RateLimited(stage="status", retry_after=7))["Retry-After"] == "7"


@pytest.mark.parametrize("page", ["", "connect/", "disconnect/", "status/"])
def test_pages_answer_head(browser, connected, page):
    """Monitors may ask for the head of a page; that starts and deletes nothing."""
    attempts = ConnectAttempt.objects.count()
    assert browser.head(f"/openrouter/{page}").status_code == 200
    assert ConnectAttempt.objects.count() == attempts
    assert OpenRouterKey.objects.count() == 1
