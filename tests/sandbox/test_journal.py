import io

import pytest
from django.core.management import call_command

from django_openrouter_auth.sandbox import journal
from django_openrouter_auth.sandbox.models import SandboxCode, SandboxRequest
from django_openrouter_auth.sandbox.tokens import digest, mask

from . import ACCOUNT, CHALLENGE, VERIFIER

pytestmark = pytest.mark.django_db


def test_a_request_is_written_down(call, key, clock):
    """Time, method, path, status and the headers that name the app."""
    headers = {
        "User-Agent": "my-app/1",
        "Referer": "https://app.example",
        "X-OpenRouter-Title": "My app",
        "X-OpenRouter-Categories": "general-chat",
        "X-OpenRouter-App-Visibility": "hidden",
    }
    call("api_key", key=key, headers=headers)
    seen = SandboxRequest.objects.get()
    assert str(seen) == "GET /openrouter-sandbox/api/v1/key 200"
    assert seen.at == clock.now()
    assert seen.had_authorization
    assert seen.key_hash == digest(key)
    assert seen.user_agent == "my-app/1"
    assert (seen.http_referer, seen.title) == ("https://app.example", "My app")
    assert (seen.categories, seen.visibility) == ("general-chat", "hidden")


def test_the_old_title_header_counts(call):
    """X-Title is the title where the new header is missing."""
    call("api_key", headers={"X-Title": "My app"})
    seen = SandboxRequest.objects.get()
    assert seen.title == "My app"
    assert not seen.had_authorization


def test_refusals_are_written_down_too(call):
    """Wrong methods and wrong bodies leave a line as well."""
    call("api_exchange", method="GET")
    call("api_exchange", json={"code": 1})
    assert [seen.status for seen in SandboxRequest.objects.all()] == [400, 405]


def test_exchanges_are_counted_by_code(call):
    """A test can ask how often a code was exchanged, and whether a key went along."""
    call("api_exchange", json={"code": "a"})
    call("api_exchange", json={"code": "a"})
    call("api_exchange", json={"code": "b"})
    call("api_exchange", method="OPTIONS")
    call("api_key")
    assert SandboxRequest.objects.exchanges("a").count() == 2
    assert SandboxRequest.objects.exchanges().count() == 3
    assert not SandboxRequest.objects.exchanges().filter(had_authorization=True)


def test_requests_are_found_by_key(call, key):
    """A test can ask where a key went."""
    call("api_key", key=key)
    call("api_key", key="another")
    assert SandboxRequest.objects.with_key(key).count() == 1


def test_calls_for_management_are_found(client, call):
    """A test can ask whether an app tried to manage keys."""
    call("api_key")
    call("api_exchange", json={})
    call("api_keys")
    client.delete("/openrouter-sandbox/api/v1/keys/abc")
    methods = [seen.method for seen in SandboxRequest.objects.management()]
    assert methods == ["DELETE", "GET"]


def test_the_journal_forgets(call, monkeypatch):
    """Only the newest requests are kept."""
    assert journal.KEPT == 500
    monkeypatch.setattr(journal, "KEPT", 3)
    for number in range(5):
        call("api_key", headers={"X-Title": str(number)})
    assert [seen.title for seen in SandboxRequest.objects.all()] == ["4", "3", "2"]


def test_no_secret_is_stored_or_logged(call, caplog):
    """Codes, keys and verifiers, "plain" ones too, are in the database as hashes at the most."""
    code = SandboxCode.issue(account=ACCOUNT, code_challenge=CHALLENGE, method="S256")
    plain = SandboxCode.issue(account=ACCOUNT, code_challenge=VERIFIER, method="plain")
    body = {"code_verifier": VERIFIER}
    first = call("api_exchange", json=body | {"code": code, "code_challenge_method": "S256"})
    second = call("api_exchange", json=body | {"code": plain, "code_challenge_method": "plain"})
    keys = [first.json()["key"], second.json()["key"]]
    call("api_key", key=keys[0])
    call("api_credits", key=keys[1])
    dump = dumped()
    assert digest(keys[0]) in dump
    assert not [secret for secret in (code, plain, VERIFIER, *keys) if secret in dump]
    assert not [secret for secret in (code, plain, VERIFIER, *keys) if secret in caplog.text]


def test_a_misplaced_key_is_masked(client, key):
    """A client that takes the key for its hash, in a path, leaves the mask in the journal."""
    client.get(f"/openrouter-sandbox/api/v1/keys/{key}")
    assert f"/api/v1/keys/{mask(key)}" in dumped()
    assert key not in dumped()


def dumped():
    """Return all rows of the sandbox as text."""
    dump = io.StringIO()
    call_command("dumpdata", "openrouter_sandbox", stdout=dump)
    return dump.getvalue()
