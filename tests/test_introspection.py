"""Asking OpenRouter about a stored key."""

import re
import threading
from datetime import UTC, timedelta
from decimal import Decimal
from urllib.parse import parse_qs, urlsplit

import pytest
import requests
from django.db import connection
from django.utils import timezone

from django_openrouter_auth import introspection, services
from django_openrouter_auth.exceptions import (
    KeyChanged,
    KeyRejected,
    NotConnected,
    OpenRouterAuthError,
    Throttled,
    message_of,
)
from django_openrouter_auth.introspection import (
    CHECK_INTERVAL,
    check_key,
    confirm_rejection,
    stale_keys,
)
from django_openrouter_auth.keys import find_key, identity, mark_unreadable
from django_openrouter_auth.models import OpenRouterKey
from django_openrouter_auth.shortcuts import get_api_key

from .connecting import API, CODE, KEY, OTHER_KEY, message_text, outcome, row, start

JSON = {"Accept": "application/json"}


def check(browser, **post):
    """Press *Check now*."""
    return browser.post("/openrouter/check/", post)


def asked(openrouter):
    """The addresses that were asked, in their order."""
    return [f"{call.request.method} {call.request.url}" for call in openrouter.mock.calls]


def wait(seconds=31):
    """Let time pass, as far as the row can tell."""
    then = timezone.now() - timedelta(seconds=seconds)
    OpenRouterKey.objects.update(check_began_at=then, checked_at=then)


# What a check stores


def test_good_answer(browser, connected, openrouter):
    """PM 122: a good answer makes the key active; all that it says is stored with the time."""
    OpenRouterKey.objects.update(status="rejected", checked_at=None)
    openrouter.knows(
        label="sk-or-v1-0e6...1c96",
        usage=1.5,
        limit="10",
        limit_remaining=8.5,
        limit_reset="weekly",
        is_free_tier=True,
        expires_at="2030-01-01T00:00:00Z",
    )
    response = check(browser)
    assert outcome(response) == ("success", "checked")
    assert asked(openrouter) == [f"GET {API}/key"]
    now = row()
    assert now["status"] == "active"
    assert now["label"] == "sk-or-v1-0e6...1c96"
    assert (now["usage"], now["limit"], now["limit_remaining"]) == (
        Decimal("1.5"),
        Decimal(10),
        Decimal("8.5"),
    )
    assert (now["limit_reset"], now["is_free_tier"]) == ("weekly", True)
    assert now["expires_at"].astimezone(UTC).year == 2030
    assert timezone.now() - now["checked_at"] < timedelta(minutes=1)


@pytest.mark.parametrize(
    "data",
    [
        {},
        {"usage": "NaN", "limit": float("inf"), "limit_remaining": "1e400"},
        {"usage": [], "limit": {}, "limit_remaining": True, "label": 7, "expires_at": -1},
        {"usage": "0.000000000001", "limit": -5, "limit_reset": "x" * 300, "label": "y" * 3000},
        {"usage": "1E+9999999", "limit": "9" * 60},
        {"label": "\ud800\u0000<b>", "expires_at": "9999-12-31T23:59:59+14:00"},
    ],
)
def test_odd_answer(browser, connected, openrouter, data):
    """Contract 4.1: whatever the fields of a good answer are, the key stays active."""
    openrouter.mock.upsert("GET", f"{API}/key", json={"data": data})
    assert outcome(check(browser)) == ("success", "checked")
    assert row()["status"] == "active"


def test_rejected(browser, connected, openrouter):
    """PM 123: a 401 makes the key rejected; row and ciphertext stay, and the way on is said."""
    before = row()
    openrouter.forgets()
    response = check(browser)
    assert outcome(response) == ("warning", "key_rejected")
    assert "Connect again" in message_text(response)
    assert (row()["status"], row()["secret"]) == ("rejected", before["secret"])
    assert row()["checked_at"] >= before["checked_at"]


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        ({"status": 402}, "provider_protocol"),
        ({"status": 403}, "provider_protocol"),
        ({"status": 404}, "provider_protocol"),
        ({"status": 429}, "rate_limited"),
        ({"status": 500}, "provider_unavailable"),
        ({"status": 529, "body": "<html>"}, "provider_unavailable"),
        ({"status": 302, "headers": {"Location": "/login"}}, "provider_protocol"),
        ({"body": requests.ReadTimeout()}, "provider_unavailable"),
        ({"body": requests.exceptions.SSLError()}, "tls_error"),
        ({"body": "not JSON", "content_type": "application/json"}, "provider_protocol"),
        ({"body": RuntimeError()}, "internal"),
        ({"json": {}}, "provider_protocol"),
        ({"json": {"data": None}}, "provider_protocol"),
        ({"json": {"data": []}}, "provider_protocol"),
        ({"json": []}, "provider_protocol"),
    ],
)
def test_everything_else_changes_nothing(browser, connected, openrouter, answer, code):
    """PM 124, 126, 121: what is no verdict is said and noted, and the key stays as it was."""
    before = row()
    openrouter.mock.upsert("GET", f"{API}/key", **answer)
    assert outcome(check(browser))[1] == code
    changed = {name for name, value in row().items() if value != before[name]}
    assert changed == {"check_began_at", "check_error", "updated_at"}
    assert row()["check_error"] == code


def test_note_is_taken_back(browser, connected, openrouter):
    """The note of a check that failed goes with the next one that does not."""
    openrouter.mock.upsert("GET", f"{API}/key", status=500)
    check(browser)
    wait()
    openrouter.knows()
    check(browser)
    assert row()["check_error"] == ""


def test_management_key(browser, connected, openrouter):
    """PM 127: a key that turns out to be a management key is flagged, and on the page as well."""
    openrouter.knows(is_management_key=True)
    assert outcome(check(browser)) == ("error", "management_key")
    assert row()["check_error"] == "management_key"
    assert b"management key" in browser.get("/openrouter/").content


def test_unreadable(browser, connected, openrouter, settings):
    """PM 128: OpenRouter is not asked about a key that cannot be read, and the row says why."""
    settings.FERNET_KEYS = ["x" * 43]
    assert outcome(check(browser)) == ("warning", "key_unreadable")
    assert row()["status"] == "unreadable"
    assert asked(openrouter) == []


def test_unreadable_counts_as_failed(browser, connected, openrouter, settings):
    """A key that cannot be read is put behind others by whoever checks many, until it heals."""
    own, settings.FERNET_KEYS = settings.FERNET_KEYS, ["x" * 43]
    check(browser)
    assert row()["check_error"] == "key_unreadable"
    browser.get("/openrouter/")
    assert browser.get("/openrouter/").content.count(b"can no longer be read") == 1
    settings.FERNET_KEYS = own
    assert get_api_key(connected.user) == KEY
    assert (row()["status"], row()["check_error"]) == ("active", "")


def test_readable_again(browser, connected, openrouter):
    """A key that can be read again, because its encryption key came back, is active again."""
    OpenRouterKey.objects.update(status="unreadable")
    check(browser)
    assert row()["status"] == "active"


def test_readable_again_while_openrouter_is_down(browser, connected, openrouter):
    """A check that opened the key shows it as active, whatever OpenRouter has to say."""
    OpenRouterKey.objects.update(status="unreadable", check_error="key_unreadable")
    openrouter.fails()
    assert outcome(check(browser)) == ("error", "provider_unavailable")
    assert (row()["status"], row()["check_error"]) == ("active", "provider_unavailable")


def test_nothing_to_check(browser, openrouter):
    """Without a key nobody is asked, and the visitor is told."""
    assert outcome(check(browser)) == ("info", "not_connected")
    assert asked(openrouter) == []


def test_never_another_question(browser, connected, openrouter):
    """``GET /key`` is all that is ever asked: neither models nor credits."""
    for _ in range(3):
        check(browser)
        browser.get("/openrouter/")
        wait(3600)
    assert set(asked(openrouter)) == {f"GET {API}/key"}


# Thirty seconds


def test_throttled(browser, connected, openrouter):
    """D21: a second check within 30 seconds is not made, and says when it can be."""
    check(browser)
    list(browser.get("/openrouter/").context["messages"])
    assert outcome(check(browser)) == ("warning", "throttled")
    assert len(asked(openrouter)) == 1
    response = browser.post("/openrouter/check/", headers=JSON)
    assert response.status_code == 429
    assert 1 <= int(response["Retry-After"]) <= 30


def test_free_again(browser, connected, openrouter):
    """D21: after 30 seconds the key can be checked again."""
    check(browser)
    began = timezone.now() - CHECK_INTERVAL
    OpenRouterKey.objects.update(check_began_at=began)
    check(browser)
    assert len(asked(openrouter)) == 2


def test_clock_that_was_set_back(browser, connected, openrouter):
    """A turn that lies in the future does not lock the key until then."""
    OpenRouterKey.objects.update(check_began_at=timezone.now() + timedelta(days=1))
    assert outcome(check(browser)) == ("success", "checked")


def test_clocks_that_differ(browser, connected, openrouter):
    """D21: a server whose clock is a little behind does not ask again at once."""
    OpenRouterKey.objects.update(check_began_at=timezone.now() + timedelta(seconds=5))
    assert outcome(check(browser)) == ("warning", "throttled")


def test_a_failed_check_counts(browser, connected, openrouter):
    """D21: OpenRouter is left alone for 30 seconds after a check that failed, too."""
    openrouter.mock.upsert("GET", f"{API}/key", status=500)
    check(browser)
    check(browser)
    assert len(asked(openrouter)) == 1


def test_a_new_key_is_not_throttled(browser, connected, openrouter):
    """The turn belongs to the key: after connecting again the new one can be checked at once."""
    check(browser)
    openrouter.grants(OTHER_KEY)
    browser.get(start(browser).path, {"code": CODE})
    openrouter.mock.calls.reset()
    check(browser)
    assert len(asked(openrouter)) == 1


@pytest.mark.postgresql
@pytest.mark.django_db(transaction=True)
def test_twenty_at_once(user, connected, openrouter):
    """DR 202: twenty checks at the same time ask OpenRouter once."""
    barrier = threading.Barrier(20)
    ends = []

    def press():
        key = find_key(user)
        barrier.wait()
        try:
            check_key(key)
            ends.append("asked")
        except Throttled:
            ends.append("throttled")
        finally:
            connection.close()

    threads = [threading.Thread(target=press) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(ends) == ["asked"] + 19 * ["throttled"]
    assert len(asked(openrouter)) == 1


# Whom a verdict is about


def during(openrouter, happening, status=401):
    """Let something happen while OpenRouter is asked."""

    def answer(request):
        happening()
        return (status, {}, '{"data": {"usage": 99}}')

    openrouter.mock.remove("GET", f"{API}/key")
    openrouter.mock.add_callback("GET", f"{API}/key", answer, content_type="application/json")


@pytest.mark.parametrize("status", [200, 401])
def test_reconnect_meanwhile_wins(browser, user, connected, openrouter, status):
    """T27: a verdict about a key that was replaced meanwhile is dropped, which is said."""
    values = OpenRouterKey.derive(user.pk, OTHER_KEY)
    during(openrouter, lambda: OpenRouterKey.objects.update(**values, check_began_at=None), status)
    assert outcome(check(browser)) == ("info", "key_changed")
    assert (row()["status"], row()["usage"]) == ("active", 0)


@pytest.mark.parametrize("status", [200, 401, 500])
def test_disconnect_meanwhile_wins(browser, user, connected, openrouter, status):
    """T27: a check brings no row back that was deleted meanwhile."""
    during(openrouter, lambda: services.disconnect(user), status)
    assert outcome(check(browser)) == ("info", "key_changed")
    assert not OpenRouterKey.objects.exists()


def test_the_same_key_again(user, connected, openrouter):
    """The verdict of a check before a reconnect with the same key is dropped as well."""
    during(openrouter, lambda: OpenRouterKey.objects.update(check_began_at=None))
    with pytest.raises(KeyChanged):
        services.check(user)
    assert row()["status"] == "active"


def test_overtaken_check(user, connected, openrouter):
    """Of two checks that overlap, the one that began later has the say."""
    later = timezone.now() + timedelta(seconds=31)
    overtake = {"check_began_at": later, "status": "rejected"}
    during(openrouter, lambda: OpenRouterKey.objects.update(**overtake), status=200)
    with pytest.raises(KeyChanged):
        services.check(user)
    assert row()["status"] == "rejected"


def test_verdict_of_a_view_is_not_repeated_about_another_key(user, connected, openrouter):
    """T27: what a view found out is not written to a key that was connected since."""
    openrouter.forgets()
    rejection = confirm_rejection(find_key(user), KEY)
    assert rejection is not None
    since = timezone.now() + timedelta(seconds=1)
    OpenRouterKey.objects.update(connected_at=since, status="active")
    introspection.repeat_verdict(rejection)
    assert row()["status"] == "active"
    mark_unreadable(*identity(connected))
    assert row()["status"] == "active"


def test_replaced_before(user, connected, openrouter):
    """A key that was replaced before its check is not asked about."""
    key = find_key(user)
    OpenRouterKey.objects.update(**OpenRouterKey.derive(user.pk, OTHER_KEY))
    with pytest.raises(NotConnected):
        check_key(key)
    assert asked(openrouter) == []


# A 401 during use


def test_confirmation_takes_a_turn(user, connected, openrouter):
    """A site that calls on and on with a 401 that is not confirmed asks once in 30 seconds."""
    for _ in range(5):
        assert confirm_rejection(find_key(user), KEY) is None
    assert len(asked(openrouter)) == 1


def test_confirmation_of_somebody_else(user, connected, openrouter):
    """Where another request has just confirmed it, nobody asks again."""
    openrouter.forgets()
    assert isinstance(confirm_rejection(find_key(user), KEY), KeyRejected)
    assert isinstance(confirm_rejection(find_key(user), KEY), KeyRejected)
    assert len(asked(openrouter)) == 1


def test_confirmation_after_disconnecting(user, connected, openrouter):
    """A key that is used on after it was deleted here is asked about, and no row comes back."""
    key = find_key(user)
    services.disconnect(user)
    openrouter.forgets()
    assert isinstance(confirm_rejection(key, KEY), KeyRejected)
    assert not OpenRouterKey.objects.exists()


def test_verdict_is_repeated(user, connected, openrouter):
    """A key that was rejected before and is rejected again is simply checked again."""
    openrouter.forgets()
    with pytest.raises(KeyRejected):
        services.check(user)
    wait()
    with pytest.raises(KeyRejected):
        services.check(user)
    assert timezone.now() - row()["checked_at"] < timedelta(seconds=20)


# The page


def test_page_asks_when_it_was_long_ago(browser, connected, openrouter):
    """``manage`` asks again once what is stored is older than ``CHECK_MAX_AGE``."""
    openrouter.knows(usage=3)
    browser.get("/openrouter/")
    assert asked(openrouter) == []
    wait(301)
    assert "US$\xa03".encode() in browser.get("/openrouter/").content
    assert len(asked(openrouter)) == 1


def test_age_is_a_setting(browser, connected, openrouter, settings):
    """``CHECK_MAX_AGE`` says how old a stored status may be."""
    settings.OPENROUTER_AUTH_CHECK_MAX_AGE = timedelta(hours=2)
    wait(3600)
    browser.get("/openrouter/")
    assert asked(openrouter) == []


def test_page_asks_about_a_key_that_was_never_checked(browser, connected, openrouter):
    """A key that could not be checked when it came is checked by the page."""
    OpenRouterKey.objects.update(checked_at=None)
    browser.get("/openrouter/")
    assert row()["checked_at"] is not None


@pytest.mark.parametrize("extra", [{"headers": {"Sec-Purpose": "prefetch"}}, {"method": "head"}])
def test_nobody_looks(browser, connected, openrouter, extra):
    """A browser that asks before its user does, or for the head only, makes no check."""
    wait(3600)
    getattr(browser, extra.pop("method", "get"))("/openrouter/", **extra)
    assert asked(openrouter) == []


def test_page_says_what_went_wrong(browser, connected, openrouter):
    """A page whose check failed shows what was known before, and says so."""
    wait(3600)
    openrouter.mock.upsert("GET", f"{API}/key", status=500, body="<h1>secret</h1>")
    content = browser.get("/openrouter/").content.decode()
    assert "could not be checked" in content
    assert "did not answer in time" in content
    assert "secret" not in content
    assert "sk-or-v1-0e6...1c9" in content


def test_page_shows_the_verdict(browser, connected, openrouter):
    """A page whose check finds the key dead says so at once."""
    wait(3600)
    openrouter.forgets()
    assert b"no longer accepts this key" in browser.get("/openrouter/").content


def test_page_does_not_decrypt_in_vain(browser, connected, openrouter):
    """The page of an unreadable key asks nobody and finds nothing out by decrypting."""
    OpenRouterKey.objects.update(status="unreadable", checked_at=None)
    assert b"can no longer be read" in browser.get("/openrouter/").content
    assert asked(openrouter) == []


@pytest.mark.parametrize("days", [14, 1, -1])
def test_expiry_is_announced(browser, connected, openrouter, days):
    """A key that expires within 14 days, or did, is announced."""
    moment = timezone.now() + timedelta(days=days) - timedelta(minutes=1)
    OpenRouterKey.objects.update(expires_at=moment)
    content = browser.get("/openrouter/").content
    assert (b"has expired" if days < 0 else b"expires soon") in content


def test_expiry_far_away(browser, connected, openrouter):
    """A key that lives longer than 14 days is nothing to worry about."""
    OpenRouterKey.objects.update(expires_at=timezone.now() + timedelta(days=15))
    assert b"expires soon" not in browser.get("/openrouter/").content


def test_asked_and_granted(browser, openrouter, settings):
    """What this site asked for and what was granted are both shown; a limit is no balance."""
    settings.OPENROUTER_AUTH_AUTHORIZE_PARAMS = {"limit": 20, "workspace_id": "w"}
    settings.OPENROUTER_AUTH_KEY_LABEL = "Site of ann"
    openrouter.grants(limit=5, limit_remaining=4)
    browser.get(start(browser).path, {"code": CODE})
    assert row()["requested"] == {
        "limit": "20",
        "workspace_id": "w",
        "key_label": "Site of ann",
    }
    content = browser.get("/openrouter/").content.decode()
    terms = re.findall(r"<dt>([^<]+)</dt><dd><bdi>([^<]+)</bdi></dd>", content)
    asked_for = [("Name", "Site of ann"), ("Spending limit", "US$\xa020.00"), ("Workspace", "w")]
    assert terms[-3:] == asked_for
    assert "US$\xa01.00 of US$\xa05.00 used" in content
    assert "balance" not in content.lower()


def test_nothing_asked(browser, connected):
    """A site that asks for nothing says nothing about it."""
    assert b"This site asked for" not in browser.get("/openrouter/").content


# JSON, methods, next


def test_json_check(browser, connected, openrouter):
    """A program that checks gets the new status."""
    openrouter.knows(usage=7)
    response = browser.post("/openrouter/check/", headers=JSON)
    assert (response.status_code, response.json()["usage"]) == (200, 7)


@pytest.mark.parametrize(("prepare", "status"), [("forgets", 409), ("down", 503)])
def test_json_check_that_fails(browser, connected, openrouter, prepare, status):
    """A program is told as problem details what was found or went wrong."""
    if prepare == "down":
        openrouter.mock.upsert("GET", f"{API}/key", status=500)
    else:
        openrouter.forgets()
    response = browser.post("/openrouter/check/", headers=JSON)
    assert response.status_code == status
    assert response["Content-Type"] == "application/problem+json"


def test_check_without_signing_in(client, db):
    """A stranger is sent to sign in, and a program is told so."""
    assert client.post("/openrouter/check/")["Location"].startswith("/accounts/login/")
    assert client.post("/openrouter/check/", headers=JSON).status_code == 401


@pytest.mark.parametrize(
    ("headers", "name"), [({}, "Location"), ({"HX-Request": "true"}, "HX-Redirect")]
)
def test_check_after_the_session_has_ended(client, user, headers, name):
    """After signing in again comes the connection page: ``check`` could not be opened."""
    response = client.post("/openrouter/check/", {"next": "/shop/"}, headers=headers)
    page = parse_qs(urlsplit(response[name]).query)["next"][0]
    assert page == "/openrouter/?next=%2Fshop%2F"
    client.force_login(user)
    assert client.get(page).status_code == 200


def test_check_returns_to_where_it_was_asked(browser, connected, openrouter):
    """``next`` is where a check ends, and only on this site."""
    assert check(browser, next="/shop/?a=1")["Location"] == "/shop/?a=1"
    assert check(browser, next="//evil.example/")["Location"] == "/openrouter/"


@pytest.mark.parametrize("accept", ["application/json", "text/html"])
def test_check_is_a_post(browser, connected, openrouter, accept):
    """JS 225, RH 82: GET checks nothing; a program gets its 405 as JSON."""
    response = browser.get("/openrouter/check/", headers={"Accept": accept})
    assert (response.status_code, response["Allow"]) == (405, "POST")
    assert ("json" in response["Content-Type"]) == (accept == "application/json")
    assert asked(openrouter) == []


# Stale keys


def test_stale_keys(connected, openrouter):
    """Stale is what was not checked for that long, or never; dead keys are left alone."""
    hour = timedelta(hours=1)
    assert not stale_keys(hour).exists()
    wait(3601)
    assert stale_keys(hour).get() == connected
    OpenRouterKey.objects.update(checked_at=None)
    assert stale_keys(hour).get() == connected
    OpenRouterKey.objects.update(status="rejected")
    assert not stale_keys(hour).exists()


def test_wrong_encryption_keys(browser, connected, openrouter, settings):
    """Where the encryption keys themselves are wrong, the key counts as unreadable."""
    settings.FERNET_KEYS = [None]
    assert outcome(check(browser)) == ("warning", "key_unreadable")


def test_turn_hides_the_key(connected, openrouter):
    """LK 182: neither ``repr`` of a turn nor of its row shows the key."""
    turn = introspection.take_turn(OpenRouterKey.objects.get())
    assert KEY not in f"{turn!r} {turn}"


def test_unknown_limit(browser, connected, openrouter):
    """An answer that says nothing about limits does not make a key unlimited."""
    openrouter.mock.upsert("GET", f"{API}/key", json={"data": {}})
    check(browser)
    content = browser.get("/openrouter/").content
    assert b"not known" in content
    assert b"No limit" not in content


def test_words_for_every_code():
    """Each code has words for people, one that nobody knows as well."""
    assert message_of("key_rejected") == KeyRejected.message
    assert message_of("of-tomorrow") == OpenRouterAuthError.message
