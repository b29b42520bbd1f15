"""What becomes of a failure on its way from the exchange to the log, the record and the page."""

import logging

import pytest

from django_openrouter_auth import attempt_table, storing
from django_openrouter_auth.attempts import open_attempt
from django_openrouter_auth.authorization import AuthorizationRequest
from django_openrouter_auth.exceptions import (
    AccessDenied,
    AttemptInterrupted,
    EnteredCodeRejected,
    ExchangeRejected,
    ManagementKey,
    NewKeyRejected,
    OpenRouterAuthError,
    PastedKeyNotStored,
    PastedKeyRejected,
    StorageFailed,
)
from django_openrouter_auth.fields import fingerprint
from django_openrouter_auth.finishing import (
    Connected,
    exchange_and_store,
    finish_attempt,
    verify_and_store,
)
from django_openrouter_auth.models import ConnectAttempt
from django_openrouter_auth.testing import connect

from .connecting import CODE, KEY, OTHER_KEY

CALLBACK, ENTERED_CODE, PASTED, ADMIN = (
    ConnectAttempt.Mode.CALLBACK,
    ConnectAttempt.Mode.CODE,
    ConnectAttempt.Mode.PASTED,
    ConnectAttempt.Mode.ADMIN,
)


@pytest.fixture
def fail(user):
    """Let an attempt fail; return the failure that leaves it."""

    def fail(mode, error, **values):
        def obtain():
            raise error

        attempt = open_attempt(user, mode=mode, **values)
        with pytest.raises(OpenRouterAuthError) as raised:
            finish_attempt(attempt, user, obtain)
        return raised.value

    return fail


REFUSED = ExchangeRejected(stage="exchange", status_code=403)
NOT_STORED = StorageFailed(stage="save", outcome_unknown=True)
DENIED = AccessDenied(stage="callback")


@pytest.mark.parametrize(
    ("mode", "error", "level", "told"),
    [
        (CALLBACK, REFUSED, "WARNING", "code=exchange_rejected stage=exchange status=403 {}"),
        (ENTERED_CODE, REFUSED, "WARNING", "code=exchange_rejected stage=exchange status=403 {}"),
        (PASTED, NOT_STORED, "WARNING", "code=storage_failed stage=save status=None {}"),
        (CALLBACK, DENIED, "INFO", "code=access_denied stage=callback status=None {}"),
        (
            CALLBACK,
            ValueError("secret"),
            "WARNING",
            "code=internal stage=callback status=None {} unexpected=ValueError",
        ),
    ],
)
def test_log(fail, user, caplog, mode, error, level, told):
    """LK 187: a failure is one line: code, stage, status, user; a denial is no warning."""
    caplog.set_level(logging.INFO)
    fail(mode, error)
    (record,) = caplog.records
    assert (record.name, record.levelname) == ("django_openrouter_auth", level)
    assert record.getMessage() == f"openrouter connect failed: {told}".format(f"user={user.pk}")


@pytest.mark.parametrize(
    ("mode", "error", "kind"),
    [
        (CALLBACK, REFUSED, ExchangeRejected),
        (ENTERED_CODE, REFUSED, EnteredCodeRejected),
        (ENTERED_CODE, NOT_STORED, StorageFailed),
        (PASTED, NOT_STORED, PastedKeyNotStored),
        (ADMIN, NOT_STORED, PastedKeyNotStored),
        (PASTED, PastedKeyRejected(), PastedKeyRejected),
    ],
)
def test_words_for_the_way(fail, mode, error, kind):
    """Only who entered a code may try again, and only who entered a key still has it."""
    assert type(fail(mode, error)) is kind


@pytest.mark.parametrize(
    ("mode", "may_be_left"),
    [(CALLBACK, True), (ENTERED_CODE, True), (PASTED, False), (ADMIN, False)],
)
def test_key_that_may_be_left_over(fail, mode, may_be_left):
    """Of what nobody foresaw a key may be left over at OpenRouter, unless it was there before."""
    assert fail(mode, RuntimeError()).outcome_unknown is may_be_left


def test_way_back(fail):
    """A failure carries where the user wanted to go."""
    assert fail(CALLBACK, REFUSED, next_url="/chat/").next_url == "/chat/"


@pytest.fixture
def attempt(user):
    """An attempt for which a code was entered."""
    asked = AuthorizationRequest(code_verifier="v" * 43, method="S256", requested={})
    return attempt_table.find(open_attempt(user, mode=ENTERED_CODE, request=asked).state_hash)


def test_new_key_that_is_refused(attempt, user, openrouter):
    """123: a new key that is refused at once was made, and is left over at OpenRouter."""
    openrouter.forgets()
    with pytest.raises(NewKeyRejected) as raised:
        exchange_and_store(attempt, user, CODE)
    assert (raised.value.stage, raised.value.outcome_unknown) == ("status", True)


def test_new_management_key(attempt, user, openrouter):
    """127: a management key that was handed out is left over as well."""
    openrouter.knows(is_management_key=True)
    with pytest.raises(ManagementKey) as raised:
        exchange_and_store(attempt, user, CODE)
    assert (raised.value.stage, raised.value.outcome_unknown) == ("status", True)


def test_lost_encryption_key(attempt, user, openrouter, settings):
    """An attempt whose verifier cannot be read is interrupted before anything is asked."""
    settings.FERNET_KEYS = ["another" * 10]
    with pytest.raises(AttemptInterrupted) as raised:
        exchange_and_store(attempt, user, CODE)
    assert (raised.value.stage, openrouter.exchanges) == ("callback", [])


def test_entered_key_that_is_refused(user, openrouter):
    """A key that was entered and is refused says so with OpenRouter's answer."""
    openrouter.forgets()
    with pytest.raises(PastedKeyRejected) as raised:
        verify_and_store(open_attempt(user, mode=PASTED), user, KEY)
    assert (raised.value.stage, raised.value.status_code) == ("status", 401)
    assert not raised.value.outcome_unknown


def test_good_code(attempt, user, openrouter):
    """A code makes a new connection that was checked, and goes on where the user wanted to."""
    attempt.next_url = "/chat/"
    assert exchange_and_store(attempt, user, CODE) == Connected("/chat/", is_new=True)


@pytest.fixture
def one_try(user, monkeypatch):
    """A user with a key, and nothing that is stored at the second try."""
    connect(user)
    monkeypatch.setattr(storing, "STORE_TRIES", 1)


def test_code_replaces_at_once(one_try, attempt, user, openrouter):
    """The key that was stored when the attempt was found is replaced at the first try."""
    openrouter.grants(OTHER_KEY)
    assert exchange_and_store(attempt, user, CODE).replaced_hash == fingerprint(KEY)


def test_entered_key_replaces_at_once(one_try, user, openrouter):
    """The key that is stored when another is entered is replaced at the first try."""
    entered = open_attempt(user, mode=PASTED)
    assert verify_and_store(entered, user, OTHER_KEY).replaced_hash == fingerprint(KEY)


def test_entered_key(user, openrouter):
    """A key that was entered makes a new connection that leads nowhere else."""
    connected = verify_and_store(open_attempt(user, mode=PASTED), user, KEY)
    assert connected == Connected(next_url="", is_new=True)
