import datetime as dt
import json
import re
from decimal import Decimal
from http import HTTPStatus

import pytest
from django.db import connection

from django_openrouter_auth.sandbox.faults import RETRY_AFTER
from django_openrouter_auth.sandbox.models import SandboxCode, SandboxKey, SandboxRequest
from django_openrouter_auth.sandbox.tokens import digest

from . import ACCOUNT, CHALLENGE, VERIFIER

pytestmark = pytest.mark.django_db

OTHER_VERIFIER = "x" * 43


@pytest.fixture
def code():
    """Issue a code with an S256 challenge."""
    return SandboxCode.issue(account=ACCOUNT, code_challenge=CHALLENGE, method="S256")


@pytest.fixture
def exchange(call):
    """Exchange a code as the guide shows it."""

    def exchange(code, **more):
        body = {"code": code, "code_verifier": VERIFIER, "code_challenge_method": "S256"} | more
        given = {name: value for name, value in body.items() if value is not ...}
        return call("api_exchange", json=given)

    return exchange


def test_a_code_becomes_a_key(exchange, code):
    """The answer is a key of 73 characters and the user's identifier, and nothing else."""
    answer = exchange(code)
    assert answer.status_code == HTTPStatus.OK
    body = answer.json()
    assert list(body) == ["key", "user_id"]
    assert re.fullmatch(r"sk-or-v1-[0-9a-f]{64}", body["key"])
    assert body["user_id"].startswith("user_")


def test_the_key_has_the_terms_of_the_consent(exchange):
    """Account, name, limit, reset and expiry go from the code to the key."""
    expires_at = dt.datetime(2099, 1, 1, tzinfo=dt.UTC)
    code = SandboxCode.issue(
        account=ACCOUNT,
        name="OAuth: x",
        limit=Decimal("2.50"),
        limit_reset="daily",
        key_expires_at=expires_at,
    )
    key = exchange(code, code_challenge_method=...).json()["key"]
    row = SandboxKey.objects.get(key_hash=digest(key))
    assert (row.account, row.name, row.limit) == (ACCOUNT, "OAuth: x", Decimal("2.50"))
    assert (row.limit_reset, row.expires_at) == ("daily", expires_at)


def test_every_approval_mints_a_new_key(exchange):
    """Two codes of one account make two keys, and the first goes on working."""
    keys = {
        exchange(
            SandboxCode.issue(account=ACCOUNT, code_challenge=CHALLENGE, method="S256")
        ).json()["key"]
        for _ in range(2)
    }
    assert len(keys) == 2
    assert all(SandboxKey.find(key) for key in keys)


@pytest.mark.parametrize(
    ("challenge", "method", "given"),
    [
        (CHALLENGE, "S256", {}),
        (VERIFIER, "plain", {"code_challenge_method": "plain"}),
        (VERIFIER, "", {"code_challenge_method": ...}),
        (VERIFIER, "", {"code_challenge_method": None}),
        ("", "", {"code_challenge_method": ..., "code_verifier": ...}),
    ],
)
def test_the_guides_three_ways_work(exchange, challenge, method, given):
    """S256, plain and no challenge at all; a challenge without a method is a plain one."""
    code = SandboxCode.issue(account=ACCOUNT, code_challenge=challenge, method=method)
    assert exchange(code, **given).status_code == HTTPStatus.OK


def assert_refused(answer, status, message):
    """Compare a refusal with the wire, where the message comes first."""
    assert answer.status_code == status
    assert answer.content.decode() == json.dumps({"error": {"message": message, "code": status}})


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "DELETE"])
def test_it_is_for_post_only(call, method):
    """Other methods are 405."""
    answer = call("api_exchange", method=method)
    assert answer.status_code == HTTPStatus.METHOD_NOT_ALLOWED
    assert answer["Allow"] == "POST"


def test_a_form_is_not_json(client, code):
    """A body that is not JSON is 405 as well, and leaves the code alone."""
    answer = client.post("/openrouter-sandbox/api/v1/auth/keys", {"code": code})
    assert_refused(answer, 405, "Method Not Allowed")
    assert SandboxCode.objects.get().spent_at is None


@pytest.mark.parametrize(
    ("body", "fields"),
    [
        ({}, ["code"]),
        ([], ["code"]),
        ({"code": 1}, ["code"]),
        ({"code": "c", "code_verifier": None}, ["code_verifier"]),
        ({"code": "c", "code_challenge_method": "s256"}, ["code_challenge_method"]),
        ({"code_verifier": 1, "code_challenge_method": 1}, 3),
    ],
)
def test_a_body_of_the_wrong_shape_is_refused_in_another_shape(call, body, fields):
    """The schema checker's errors have their own envelope with a list, as text, inside."""
    answer = call("api_exchange", json=body)
    assert answer.status_code == HTTPStatus.BAD_REQUEST
    error = answer.json()["error"]
    assert answer.json() == {"success": False, "error": error}
    assert error["name"] == "ZodError"
    issues = json.loads(error["message"])
    if fields == 3:
        assert len(issues) == 3
    else:
        assert [issue["path"] for issue in issues] == [fields]


def test_half_a_document_is_a_body_of_the_wrong_shape(client):
    """What cannot be parsed is refused like an empty object."""
    answer = client.post(
        "/openrouter-sandbox/api/v1/auth/keys", b'{"code":', content_type="application/json"
    )
    assert answer.json()["error"]["name"] == "ZodError"


@pytest.mark.parametrize("unknown", ["nonsense", "", "\ud800"])
def test_an_unknown_code_is_refused_before_anything_else(exchange, unknown):
    """Unknown code: 400, whatever the verifier and the method."""
    answer = exchange(unknown, code_verifier=OTHER_VERIFIER, code_challenge_method="plain")
    assert_refused(answer, 400, "Invalid code")


@pytest.mark.parametrize(
    ("challenge", "method", "given"),
    [
        (CHALLENGE, "S256", ...),
        (CHALLENGE, "S256", "plain"),
        (CHALLENGE, "", "S256"),
        ("", "", "S256"),
    ],
)
def test_the_method_has_to_be_the_one_of_the_consent(exchange, clock, challenge, method, given):
    """A missing or different method is 400, even when code and verifier are bad too."""
    code = SandboxCode.issue(account=ACCOUNT, code_challenge=challenge, method=method)
    clock.move(minutes=11)
    answer = exchange(code, code_challenge_method=given, code_verifier=OTHER_VERIFIER)
    assert_refused(answer, 400, "Invalid code_challenge_method")


def test_a_code_works_for_ten_minutes(exchange, clock):
    """At ten minutes a code is good."""
    code = SandboxCode.issue(account=ACCOUNT, code_challenge=CHALLENGE, method="S256")
    clock.move(minutes=10)
    assert exchange(code).status_code == HTTPStatus.OK


def test_a_code_expires(exchange, clock):
    """After ten minutes it is 403, before the verifier is looked at."""
    code = SandboxCode.issue(account=ACCOUNT, code_challenge=CHALLENGE, method="S256")
    clock.move(minutes=10, seconds=1)
    answer = exchange(code, code_verifier=OTHER_VERIFIER)
    assert_refused(answer, 403, "Authorization code expired")


@pytest.mark.parametrize("verifier", [OTHER_VERIFIER, "", "too short", ..., "ü" * 43])
def test_a_wrong_verifier_is_refused(exchange, code, verifier):
    """Wrong, missing and malformed verifiers are 403 and mint nothing."""
    answer = exchange(code, code_verifier=verifier)
    assert_refused(answer, 403, "Invalid code or code_verifier")
    assert not SandboxKey.objects.exists()


def test_a_wrong_verifier_uses_up_the_code(exchange, code):
    """By default there is no second guess."""
    exchange(code, code_verifier=OTHER_VERIFIER)
    assert_refused(exchange(code), 400, "Invalid code")


def test_a_wrong_verifier_can_be_forgiven(exchange, code, turn):
    """With the switch off the right verifier still works afterwards."""
    turn(burn_code_on_wrong_verifier=False)
    exchange(code, code_verifier=OTHER_VERIFIER)
    assert exchange(code).status_code == HTTPStatus.OK


def test_a_code_works_once(exchange, code):
    """The second exchange is refused like an unknown code, and mints nothing."""
    exchange(code)
    assert_refused(exchange(code), 400, "Invalid code")
    assert SandboxKey.objects.count() == 1


def test_a_used_code_can_be_refused_in_the_other_way(exchange, code, turn):
    """Nobody has published the wording, so there is a switch for it."""
    turn(reused_code_status=403)
    exchange(code)
    assert_refused(exchange(code), 403, "Invalid code or code_verifier")


def test_of_two_exchanges_at_once_one_wins(exchange, code, monkeypatch):
    """A code that is spent between the checks and the minting is not spent twice."""
    accepts = SandboxCode.accepts

    def accepts_while_another_spends(self, verifier):
        SandboxCode.objects.get().spend()
        return accepts(self, verifier)

    monkeypatch.setattr(SandboxCode, "accepts", accepts_while_another_spends)
    assert_refused(exchange(code), 400, "Invalid code")
    assert not SandboxKey.objects.exists()


def test_other_sites_may_call_it_from_a_browser(call, exchange, code):
    """Preflight is 204, and every answer allows any origin."""
    preflight = call("api_exchange", method="OPTIONS")
    assert preflight.status_code == HTTPStatus.NO_CONTENT
    assert preflight["Access-Control-Allow-Methods"] == "POST"
    for answer in (preflight, exchange("nonsense"), exchange(code)):
        assert answer["Access-Control-Allow-Origin"] == "*"


def test_the_authorization_header_does_not_matter(call, code):
    """The generated samples send one; it is neither needed nor looked at."""
    body = {"code": code, "code_verifier": VERIFIER, "code_challenge_method": "S256"}
    assert call("api_exchange", key="<token>", json=body).status_code == HTTPStatus.OK


def spent():
    """Tell whether the one code was used up, and how many keys there are."""
    return SandboxCode.objects.get().spent_at is not None, SandboxKey.objects.count()


@pytest.mark.parametrize(
    ("fault", "status", "content_type"),
    [
        ("server_error", 500, "application/json"),
        ("bad_gateway", 502, "text/html; charset=utf-8"),
        ("unavailable", 503, "text/html; charset=utf-8"),
        ("rate_limited", 429, "application/json"),
        ("redirect", 307, "text/html; charset=utf-8"),
    ],
)
def test_faults_before_the_key_is_made(exchange, code, turn, fault, status, content_type):
    """These faults leave the code as it was."""
    turn(exchange_fault=fault)
    answer = exchange(code)
    assert answer.status_code == status
    assert answer["Content-Type"] == content_type
    assert spent() == (False, 0)


def test_a_rate_limit_says_when_to_come_back(exchange, code, turn):
    """429 carries Retry-After."""
    turn(exchange_fault="rate_limited")
    assert exchange(code)["Retry-After"] == RETRY_AFTER


def test_a_client_that_follows_the_redirect_gets_a_key(client, exchange, code, turn):
    """Whoever follows is found out: a key was made by a second request."""
    turn(exchange_fault="redirect")
    body = {"code": code, "code_verifier": VERIFIER, "code_challenge_method": "S256"}
    answer = client.post(exchange(code)["Location"], body, content_type="application/json")
    assert answer.status_code == HTTPStatus.OK
    assert SandboxRequest.objects.exchanges(code).count() == 2


def test_a_slow_exchange_works_in_the_end(exchange, code, turn, naps):
    """It takes as long as the switch says, and then answers as usual."""
    turn(exchange_fault="slow", slow_seconds=31.5)
    assert exchange(code).status_code == HTTPStatus.OK
    assert naps == [31.5]


def test_a_connection_cut_before_leaves_the_code(exchange, code, turn):
    """Cut before: no answer, no key."""
    turn(exchange_fault="cut_before")
    with pytest.raises(ConnectionResetError):
        exchange(code)
    assert spent() == (False, 0)
    assert SandboxRequest.objects.get().status == 444


@pytest.mark.django_db(transaction=True)
def test_a_connection_cut_after_leaves_a_key_that_nobody_holds(exchange, turn, monkeypatch):
    """Cut after: the key exists all the same, under ATOMIC_REQUESTS too."""
    monkeypatch.setitem(connection.settings_dict, "ATOMIC_REQUESTS", True)
    turn(exchange_fault="cut_after")
    with pytest.raises(ConnectionResetError):
        exchange(SandboxCode.issue(account=ACCOUNT, code_challenge=CHALLENGE, method="S256"))
    assert spent() == (True, 1)


@pytest.mark.parametrize(
    ("fault", "check"),
    [
        ("no_key", lambda body: set(json.loads(body)) == {"user_id"}),
        ("empty", lambda body: body == b""),
        ("invalid_json", lambda body: body.startswith(b'{"key"') and not body.endswith(b"}")),
        ("key_with_newline", lambda body: "\n" in json.loads(body)["key"]),
        ("huge", lambda body: len(body) > 1024 * 1024),
        ("no_user_id", lambda body: json.loads(body)["user_id"] is None),
        ("extra_fields", lambda body: {"key", "userId"} < set(json.loads(body))),
    ],
)
def test_spoiled_answers(exchange, code, turn, fault, check):
    """These answers are 200 and come after the key was made."""
    turn(exchange_fault=fault)
    answer = exchange(code)
    assert answer.status_code == HTTPStatus.OK
    assert answer["Content-Type"] == "application/json"
    assert check(answer.content)
    assert spent() == (True, 1)


def test_a_code_names_its_account_only():
    """What is printed of a code tells nobody the code."""
    code = SandboxCode.issue(account=ACCOUNT)
    assert str(SandboxCode.objects.get()) == f"Code of {ACCOUNT}"
    assert code not in str(SandboxCode.objects.get())
