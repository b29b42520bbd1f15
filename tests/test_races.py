"""Replay and concurrency: group RC of the threat model's catalogue, with real threads."""

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import timedelta
from threading import Barrier, Event
from time import monotonic
from typing import Any

import pytest
import responses
from django.contrib.auth.models import User
from django.core.handlers.base import BaseHandler
from django.db import (
    DatabaseError,
    IntegrityError,
    InterfaceError,
    OperationalError,
    connection,
    connections,
    transaction,
)
from django.http import HttpResponse
from django.test import Client
from django.utils import timezone

from django_openrouter_auth import attempts, services, storing
from django_openrouter_auth.answers import flow_view
from django_openrouter_auth.fields import fingerprint
from django_openrouter_auth.models import ConnectAttempt, OpenRouterKey
from django_openrouter_auth.shortcuts import get_api_key

from .connecting import (
    API,
    CODE,
    KEY,
    OTHER_KEY,
    is_clean,
    message_text,
    outcome,
    row,
    start,
)
from .test_sessions import during_exchange

PATIENCE = 20


def test_replay_after_success(browser, user, openrouter, db):
    """RC 47: opening the callback again says what happened, exchanges nothing, changes nothing."""
    started = start(browser, next="/ok/")
    browser.get(started.path, {"code": CODE})
    before = row()
    browser.get("/openrouter/")
    for _ in range(2):
        response = browser.get(started.path, {"code": CODE})
        assert response["Location"] == "/ok/"
        assert outcome(response) == ("info", "connected")
    assert len(openrouter.exchanges) == 1
    assert row() == before


def test_replay_after_success_and_disconnect(browser, user, openrouter, db):
    """RC 47: a used callback does not claim a connection that is gone."""
    started = start(browser)
    browser.get(started.path, {"code": CODE})
    browser.post("/openrouter/disconnect/")
    browser.get("/openrouter/")
    response = browser.get(started.path, {"code": CODE})
    assert outcome(response) == ("error", "state_unknown")
    assert not OpenRouterKey.objects.exists()


def test_replay_after_failure(browser, openrouter, db):
    """RC 48: a callback whose code was refused is not tried again."""
    openrouter.refuses()
    started = start(browser)
    browser.get(started.path, {"code": CODE})
    browser.get("/openrouter/")
    response = browser.get(started.path, {"code": CODE})
    assert is_clean(response)
    assert outcome(response) == ("error", "state_unknown")
    assert "already used" in message_text(response)
    assert len(openrouter.exchanges) == 1


def test_second_request_during_the_exchange(browser, user, openrouter, db):
    """RC 52: who comes second while the first is at OpenRouter is told just that."""
    started = start(browser)
    answers = []
    twin = Client()
    twin.cookies = browser.cookies.copy()
    during_exchange(openrouter, lambda: answers.append(twin.get(started.path, {"code": CODE})))
    browser.get(started.path, {"code": CODE})
    (second,) = answers
    assert outcome(second) == ("error", "state_unknown")
    assert "just finishing" in message_text(second)
    assert get_api_key(user) == KEY


def test_interrupted_attempt(browser, openrouter, db):
    """An attempt whose request died is over: nobody is told to wait for it for ever."""
    started = start(browser)
    ConnectAttempt.objects.update(claimed_at=timezone.now() - timedelta(minutes=5))
    response = browser.get(started.path, {"code": CODE})
    assert outcome(response) == ("error", "state_unknown")
    assert "interrupted" in message_text(response)
    assert "/settings/keys" in message_text(response)
    assert openrouter.exchanges == []


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_two_tabs(browser, user, openrouter, db, order):
    """RC 53: two tabs finish in either order; each uses its own verifier, the last one stays."""
    tabs = [start(browser), start(browser)]
    for number, key in zip(order, (KEY, OTHER_KEY), strict=True):
        openrouter.grants(key)
        browser.get(tabs[number].path, {"code": CODE})
    verifiers = [body["code_verifier"] for body in openrouter.exchanges]
    assert len(set(verifiers)) == 2
    assert OpenRouterKey.objects.count() == 1
    assert get_api_key(user) == OTHER_KEY


def test_code_of_the_other_tab(browser, user, openrouter, db):
    """RC 54: a code that OpenRouter refuses for this tab does not spoil the other one."""
    first, second = start(browser), start(browser)
    openrouter.refuses(400, "Invalid code_challenge_method")
    browser.get(first.path, {"code": CODE})
    openrouter.grants()
    browser.get(second.path, {"code": CODE})
    assert get_api_key(user) == KEY


@pytest.mark.parametrize("cap", [1, 5])
def test_oldest_attempt_goes(browser, user, openrouter, db, settings, cap):
    """RC 55: of one attempt too many the oldest is forgotten and the newest works."""
    settings.OPENROUTER_AUTH_MAX_PENDING_ATTEMPTS = cap
    started = [start(browser) for _ in range(cap + 1)]
    assert ConnectAttempt.objects.count() == cap
    response = browser.get(started[0].path, {"code": CODE})
    assert outcome(response) == ("error", "state_unknown")
    browser.get(started[1].path, {"code": CODE})
    assert get_api_key(user) == KEY


def test_expired_attempts_are_pruned(browser, db):
    """RC 56: expired attempts go at the next start and take no live one along."""
    live = start(browser)
    for _ in range(3):
        start(browser)
    pks = ConnectAttempt.objects.order_by("pk").values_list("pk", flat=True)[1:4]
    ConnectAttempt.objects.filter(pk__in=list(pks)).update(
        created_at=timezone.now() - timedelta(hours=1)
    )
    start(browser)
    assert ConnectAttempt.objects.count() == 2
    assert ConnectAttempt.objects.filter(state_hash=fingerprint(live.state)).exists()


def test_attempts_at_the_exchange_are_not_pruned(browser, user, openrouter, db, settings):
    """RC 55: new starts in other tabs do not take the row away from a running exchange."""
    settings.OPENROUTER_AUTH_MAX_PENDING_ATTEMPTS = 1
    started = start(browser)
    during_exchange(openrouter, lambda: [start(browser) for _ in range(3)])
    browser.get(started.path, {"code": CODE})
    assert get_api_key(user) == KEY


def test_ended_attempts_are_kept_in_bounds(browser, openrouter, db):
    """DR 199: nobody fills the table by starting and denying over and over."""
    for _ in range(25):
        browser.get(start(browser).path, {"error": "access_denied"})
    assert ConnectAttempt.objects.count() <= attempts.ENDED_ATTEMPTS_KEPT + 1


def test_interrupted_attempts_are_pruned(browser, db):
    """DR 199: attempts whose request died do not pile up either."""
    for _ in range(25):
        start(browser)
        ConnectAttempt.objects.update(claimed_at=timezone.now() - timedelta(hours=1))
    assert ConnectAttempt.objects.count() <= attempts.ENDED_ATTEMPTS_KEPT + 1


def test_verifier_leaves_the_database_with_the_claim(browser, openrouter, db):
    """A verifier is kept as long as it is needed, and not in the record of the attempt."""
    started = start(browser)
    assert ConnectAttempt.objects.get().code_verifier is not None
    browser.get(started.path, {"code": CODE})
    assert ConnectAttempt.objects.get().code_verifier is None


def test_reconnect_replaces_everything(browser, user, connected, openrouter, db):
    """RC 60: a new key takes the place of the old one in the same row."""
    before = row()
    OpenRouterKey.objects.update(status="rejected", label="old", usage=5)
    openrouter.grants(OTHER_KEY, label="sk-or-v1-a1b...c3d", limit=10)
    response = browser.get(start(browser).path, {"code": CODE})
    after = row()
    assert after["id"] == before["id"]
    assert after["secret"] != before["secret"]
    assert after["status"] == "active"
    assert after["label"] == "sk-or-v1-a1b...c3d"
    assert after["usage"] == 0
    assert after["connected_at"] > before["connected_at"]
    assert get_api_key(user) == OTHER_KEY
    assert f"https://openrouter.ai/keys/{fingerprint(KEY)}" in message_text(response)


def test_disconnect_twice(browser, connected, openrouter, db):
    """RC 61: the second disconnect has nothing to do and says so."""
    assert outcome(browser.post("/openrouter/disconnect/")) == ("success", "disconnected")
    browser.get("/openrouter/")
    response = browser.post("/openrouter/disconnect/")
    assert response.status_code == 303
    assert outcome(response) == ("info", "not_connected")


def test_disconnect_drops_pending_attempts(browser, user, connected, openrouter, db):
    """RC 65: after a disconnect no open tab brings the connection back."""
    started = start(browser)
    browser.post("/openrouter/disconnect/")
    browser.get("/openrouter/")
    response = browser.get(started.path, {"code": CODE})
    assert outcome(response) == ("error", "state_unknown")
    assert openrouter.exchanges == []


def test_disconnect_during_the_exchange_wins(browser, user, openrouter, db):
    """T27: who disconnects while OpenRouter answers stays disconnected, and hears of the key."""
    started = start(browser)
    during_exchange(openrouter, lambda: services.disconnect(user))
    response = browser.get(started.path, {"code": CODE})
    assert outcome(response) == ("error", "storage_failed")
    assert "/settings/keys" in message_text(response)
    assert not OpenRouterKey.objects.exists()


def test_consent_given_twice(browser, user, openrouter, db):
    """RC 66: going back to OpenRouter and allowing again does not exchange a second code."""
    started = start(browser)
    browser.get(started.path, {"code": CODE})
    browser.get("/openrouter/")
    browser.get(started.path, {"code": "another-code"})
    assert len(openrouter.exchanges) == 1


def test_key_stored_between_look_and_write(browser, user, openrouter, db):
    """RC 58: a first connection made elsewhere meanwhile is replaced, and named as replaced."""
    started = start(browser)
    elsewhere = {**OpenRouterKey.derive(user.pk, OTHER_KEY), "connected_at": timezone.now()}
    during_exchange(openrouter, lambda: OpenRouterKey.objects.create(user=user, **elsewhere))
    response = browser.get(started.path, {"code": CODE})
    assert get_api_key(user) == KEY
    assert fingerprint(OTHER_KEY) in message_text(response)


def test_key_removed_between_look_and_write(browser, user, connected, openrouter, db):
    """RC 58: a key that was deleted meanwhile is not missed."""
    started = start(browser)
    during_exchange(openrouter, lambda: OpenRouterKey.objects.all().delete())
    browser.get(started.path, {"code": CODE})
    assert get_api_key(user) == KEY


@pytest.mark.parametrize("trouble", [OperationalError, InterfaceError, IntegrityError, ValueError])
def test_passing_trouble_while_storing(browser, user, openrouter, db, monkeypatch, trouble):
    """T26: a connection lost while OpenRouter answered does not lose the key."""
    write, tries = storing._write_key, []

    def fail_once(*args: Any) -> None:
        tries.append(args)
        if len(tries) == 1:
            raise trouble
        write(*args)

    monkeypatch.setattr(storing, "_write_key", fail_once)
    response = browser.get(start(browser).path, {"code": CODE})
    assert outcome(response) == ("success", "connected")
    assert get_api_key(user) == KEY


def test_fact_that_the_database_does_not_take(browser, user, openrouter, db, monkeypatch):
    """T26: what OpenRouter says about a key never costs the key."""
    facts = {**storing.UNKNOWN_FACTS, "expires_at": "nonsense"}
    monkeypatch.setattr("django_openrouter_auth.key_info.KeyInfo.as_fields", lambda info: facts)
    browser.get(start(browser).path, {"code": CODE})
    assert get_api_key(user) == KEY
    assert OpenRouterKey.objects.get().checked_at is None


def test_confirmation_that_got_lost(browser, user, openrouter, db, monkeypatch):
    """T26: a key that was stored is not announced as lost because the answer to COMMIT was."""
    end = storing._end_connected

    def commit_then_fail(*args: Any) -> None:
        end(*args)
        monkeypatch.setattr(storing, "_end_connected", end)
        ConnectAttempt.objects.update(outcome="connected")
        raise OperationalError

    @contextmanager
    def no_rollback(**kwargs: Any) -> Iterator[None]:
        yield

    monkeypatch.setattr(storing, "_end_connected", commit_then_fail)
    monkeypatch.setattr(storing.transaction, "atomic", no_rollback)
    response = browser.get(start(browser).path, {"code": CODE})
    assert outcome(response) == ("success", "connected")
    assert "previous key" not in message_text(response)
    assert get_api_key(user) == KEY


def test_two_stores_of_one_user(user, connected, db):
    """RC 58: of two keys that are stored at once, the later one replaces the earlier by name."""
    with pytest.raises(IntegrityError):
        storing._write_key(user, OpenRouterKey.derive(user.pk, OTHER_KEY), fingerprint("another"))
    assert get_api_key(user) == KEY


def test_same_key_again(browser, user, connected, openrouter, db):
    """A provider that hands out the same key again has not left an old one behind."""
    response = browser.get(start(browser).path, {"code": CODE})
    assert outcome(response) == ("success", "connected")
    assert "previous key" not in message_text(response)


def test_replay_with_a_rejected_key(browser, connected, openrouter, db):
    """RC 47: a used callback does not call a rejected key connected."""
    started = start(browser)
    browser.get(started.path, {"code": CODE})
    browser.get("/openrouter/")
    OpenRouterKey.objects.update(status="rejected")
    response = browser.get(started.path, {"code": CODE})
    assert outcome(response) == ("error", "state_unknown")
    assert "OpenRouter is connected" not in message_text(response)


def test_attempt_dropped_before_the_claim(browser, openrouter, db, monkeypatch):
    """Who disconnected between look and claim is not told to wait for a result."""
    started = start(browser)
    find = services.find_attempt

    def find_then_drop(*args: Any) -> Any:
        attempt = find(*args)
        ConnectAttempt.objects.all().delete()
        return attempt

    monkeypatch.setattr(services, "find_attempt", find_then_drop)
    response = browser.get(started.path, {"code": CODE})
    assert outcome(response) == ("error", "state_unknown")
    assert "just finishing" not in message_text(response)
    assert openrouter.exchanges == []


@pytest.mark.parametrize("trouble", [DatabaseError, IntegrityError])
def test_database_trouble_while_storing(browser, user, openrouter, db, monkeypatch, trouble):
    """T26: a key that cannot be stored is announced, with the page on which to delete it."""

    def fail(*args: Any) -> bool:
        raise trouble

    monkeypatch.setattr(storing, "_write_key", fail)
    response = browser.get(start(browser).path, {"code": CODE})
    assert outcome(response) == ("error", "storage_failed")
    assert "https://openrouter.ai/settings/keys" in message_text(response)
    assert ConnectAttempt.objects.get().outcome == "storage_failed"


def test_attempt_that_cannot_be_closed(browser, openrouter, db, monkeypatch):
    """A database that fails while the outcome is written does not hide the outcome."""
    openrouter.refuses()
    started = start(browser)

    def fail(*args: Any, **kwargs: Any) -> int:
        raise DatabaseError

    monkeypatch.setattr(attempts.QuerySet, "update", fail)
    monkeypatch.setattr(services, "claim_attempt", lambda attempt: None)
    response = browser.get(started.path, {"code": CODE})
    assert outcome(response) == ("error", "exchange_rejected")


def test_lost_claim(browser, openrouter, db, monkeypatch):
    """RC 52: who loses the race for the row between look and claim goes away empty-handed."""
    started = start(browser)
    find = services.find_attempt

    def find_then_lose(*args: Any) -> Any:
        attempt = find(*args)
        ConnectAttempt.objects.update(claimed_at=timezone.now())
        return attempt

    monkeypatch.setattr(services, "find_attempt", find_then_lose)
    response = browser.get(started.path, {"code": CODE})
    assert outcome(response) == ("error", "state_unknown")
    assert openrouter.exchanges == []


# Real threads on a real server. SQLite in memory is one connection for all threads.


@pytest.fixture
def threads(transactional_db: None) -> Any:
    """Run one function per thread, all at once, and return what they return."""

    def run(*functions: Any) -> list[Any]:
        def work(function: Any) -> Any:
            try:
                return function()
            finally:
                connections.close_all()

        with ThreadPoolExecutor(len(functions)) as pool:
            return list(pool.map(work, functions))

    return run


@pytest.mark.postgresql
def test_sixteen_threads_one_exchange(threads, browser, user, openrouter):
    """RC 52: sixteen deliveries of one callback: one exchange, one row, fifteen true answers."""
    started = start(browser)
    everybody, exchanged = Barrier(16, timeout=PATIENCE), Event()

    def answer(request: Any) -> tuple[int, dict[str, str], str]:
        assert exchanged.wait(PATIENCE)
        return 200, {}, json.dumps({"key": KEY})

    openrouter.mock.remove(responses.POST, f"{API}/auth/keys")
    openrouter.mock.add_callback(
        responses.POST, f"{API}/auth/keys", answer, content_type="application/json"
    )
    told: list[str] = []

    def deliver() -> tuple[str, str, str]:
        twin = Client()
        twin.cookies = browser.cookies.copy()
        everybody.wait()
        response = twin.get(started.path, {"code": CODE})
        assert is_clean(response)
        told.append("")
        if len(told) == 15:
            exchanged.set()
        return (*outcome(response), message_text(response))

    answers = threads(*[deliver] * 16)
    assert len(openrouter.exchanges) == 1
    assert get_api_key(user) == KEY
    winners = [answer for answer in answers if answer[:2] == ("success", "connected")]
    losers = [answer for answer in answers if answer not in winners]
    assert len(winners) == 1
    assert len(losers) == 15
    assert all(answer[:2] == ("error", "state_unknown") for answer in losers)
    assert all("just finishing" in answer[2] for answer in losers)


@pytest.mark.postgresql
def test_first_connections_from_two_sessions_at_once(threads, user, site_url, openrouter):
    """RC 58: two browsers of one user finish their first connection together: one row."""
    together = Barrier(2, timeout=PATIENCE)
    keys = iter((KEY, OTHER_KEY))

    def answer(request: Any) -> tuple[int, dict[str, str], str]:
        together.wait()
        return 200, {}, json.dumps({"key": next(keys)})

    openrouter.mock.remove(responses.POST, f"{API}/auth/keys")
    openrouter.mock.add_callback(
        responses.POST, f"{API}/auth/keys", answer, content_type="application/json"
    )

    def connect() -> tuple[str, str]:
        client = Client()
        client.force_login(User.objects.get(pk=user.pk))
        return outcome(client.get(start(client).path, {"code": CODE}))

    assert threads(connect, connect) == [("success", "connected")] * 2
    assert OpenRouterKey.objects.count() == 1
    assert get_api_key(user) in {KEY, OTHER_KEY}


@pytest.mark.postgresql
def test_two_starts_at_once(threads, browser, user, openrouter):
    """RC 57: two clicks at the same moment both lead to OpenRouter; the later one connects."""
    start(browser)
    together = Barrier(2, timeout=PATIENCE)

    def click() -> Any:
        twin = Client()
        twin.cookies = browser.cookies.copy()
        together.wait()
        return start(twin)

    for started in threads(click, click):
        browser.get(started.path, {"code": CODE})
    assert get_api_key(user) == KEY


@pytest.mark.postgresql
def test_two_disconnects_at_once(threads, browser, connected, openrouter):
    """RC 61: two disconnects at the same moment both end well."""
    together = Barrier(2, timeout=PATIENCE)

    def leave() -> int:
        twin = Client()
        twin.cookies = browser.cookies.copy()
        together.wait()
        return twin.post("/openrouter/disconnect/").status_code

    assert threads(leave, leave) == [303, 303]
    assert not OpenRouterKey.objects.exists()


def until_somebody_waits() -> None:
    """Return when another connection waits for a lock."""
    deadline = monotonic() + PATIENCE
    while monotonic() < deadline:
        with connection.cursor() as cursor:
            # Inside a transaction the server shows the same picture again and again otherwise.
            cursor.execute("SELECT pg_stat_clear_snapshot()")
            cursor.execute(
                "SELECT count(*) FROM pg_stat_activity"
                " WHERE datname = current_database() AND wait_event_type = 'Lock'"
            )
            if cursor.fetchone() != (0,):
                return
    pytest.fail("nobody waits")


@pytest.mark.postgresql
@pytest.mark.parametrize("before", [None, OTHER_KEY])
def test_disconnect_names_the_key_that_came_meanwhile(
    threads, browser, user, openrouter, monkeypatch, before
):
    """T27: a key that is stored while its user disconnects is deleted, and named as such."""
    if before:
        openrouter.grants(before)
        browser.get(start(browser).path, {"code": CODE})
        browser.get("/openrouter/")
    openrouter.grants(KEY)
    started, stored, write = start(browser), Event(), storing._end_connected

    def write_slowly(*arguments: Any) -> None:
        write(*arguments)
        stored.set()
        until_somebody_waits()

    monkeypatch.setattr(storing, "_end_connected", write_slowly)

    def leave() -> Any:
        assert stored.wait(PATIENCE)
        twin = Client()
        twin.cookies = browser.cookies.copy()
        return twin.post("/openrouter/disconnect/")

    _, left = threads(lambda: browser.get(started.path, {"code": CODE}), leave)
    assert not OpenRouterKey.objects.exists()
    assert fingerprint(KEY) in message_text(left)


@pytest.mark.postgresql
def test_user_deleted_by_another_process_during_the_exchange(threads, browser, user, openrouter):
    """SB 39: a user who is deleted by another connection meanwhile gets no key and no 5xx."""
    started = start(browser)

    def delete_elsewhere() -> None:
        threads(lambda: User.objects.get(pk=user.pk).delete())

    during_exchange(openrouter, delete_elsewhere)
    response = browser.get(started.path, {"code": CODE})
    assert is_clean(response)
    assert outcome(response) == ("error", "storage_failed")
    assert not OpenRouterKey.objects.exists()


@pytest.mark.postgresql
def test_nothing_is_locked_during_the_exchange(threads, browser, user, connected, openrouter):
    """No transaction is open while OpenRouter is asked: others write the same rows meanwhile."""
    started = start(browser)
    seen: list[bool] = []

    def write_elsewhere() -> None:
        seen.append(connection.in_atomic_block)
        threads(lambda: OpenRouterKey.objects.update(label="elsewhere"))
        threads(lambda: ConnectAttempt.objects.update(next_url="/elsewhere/"))

    during_exchange(openrouter, write_elsewhere)
    browser.get(started.path, {"code": CODE})
    assert seen == [False]


def test_atomic_requests_of_several_databases(monkeypatch):
    """A view of the flow runs in no transaction, whichever database has ``ATOMIC_REQUESTS``."""
    monkeypatch.setitem(connections.settings, "other", {"ATOMIC_REQUESTS": True})
    view = flow_view("GET")(lambda request: HttpResponse())
    assert BaseHandler().make_view_atomic(view) is view


@pytest.mark.django_db(transaction=True)
def test_atomic_requests(browser, user, openrouter, monkeypatch):
    """Under ``ATOMIC_REQUESTS`` the exchange still runs outside of any transaction."""
    monkeypatch.setitem(connection.settings_dict, "ATOMIC_REQUESTS", True)
    started = start(browser)
    seen: list[bool] = []
    during_exchange(openrouter, lambda: seen.append(connection.in_atomic_block))
    browser.get(started.path, {"code": CODE})
    assert seen == [False]
    assert get_api_key(user) == KEY


@pytest.mark.postgresql
def test_connection_lost_during_the_exchange(threads, browser, user, openrouter):
    """T26: an idle connection that the server ends during the exchange does not lose the key."""
    started = start(browser)

    def end_connection() -> None:
        pid = connection.connection.info.backend_pid

        def terminate() -> None:
            with connection.cursor() as cursor:
                cursor.execute("SELECT pg_terminate_backend(%s)", [pid])

        threads(terminate)

    during_exchange(openrouter, end_connection)
    response = browser.get(started.path, {"code": CODE})
    assert outcome(response) == ("success", "connected")
    assert get_api_key(user) == KEY


@pytest.mark.postgresql
def test_reconnect_and_deletion_do_not_lock_each_other_out(threads, browser, user, connected):
    """M4: storing a key and deleting its user take their locks in the same order."""
    attempt = ConnectAttempt.objects.create(
        user=user, state_hash="s", browser_hash="b", created_at=timezone.now()
    )
    locked = Barrier(2, timeout=PATIENCE)

    def store() -> None:
        with transaction.atomic():
            storing._write_key(user, {"label": "new"}, connected.key_hash)
            locked.wait()
            storing._end_connected(attempt, user)

    def delete() -> None:
        locked.wait()
        User.objects.get(pk=user.pk).delete()

    threads(store, delete)
    assert not User.objects.exists()
