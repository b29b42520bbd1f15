"""OpenRouter over sockets: what tests/test_provider_answers.py and test_key_status.py leave out."""

import re

import pytest
from django.utils import timezone

from django_openrouter_auth import transport
from django_openrouter_auth.models import ConnectAttempt, OpenRouterKey
from django_openrouter_auth.testing import CODE, KEY, connect
from tests import test_key_status, test_provider_answers
from tests.connecting import row, start
from tests.standin import STATUS, Standin, known, refusal, silence

from .outcomes import Told, record_answer, told_by

pytestmark = pytest.mark.django_db

# The catalogue has no cases of these numbers.
LEFT_OUT = {117, 125}


@pytest.fixture
def check(browser, user, standin, request):
    """Have a stored key checked by an OpenRouter that answers as it is told."""
    connect(user, KEY, usage=1.25)

    def check(*answers):
        standin.answer(STATUS, *answers)
        response = browser.post("/openrouter/check/")
        record_answer(request.node, response)
        assert response.status_code == 303
        return told_by(response)

    return check


def kept():
    """Return the key row without what a check notes about itself."""
    notes = {"check_began_at", "check_error", "checked_at", "updated_at"}
    return {name: value for name, value in row().items() if name not in notes}


def test_check(check, standin):
    """122: what OpenRouter says of a stored key is stored, and the key is active."""
    standin.minted.append(KEY)
    before = timezone.now()
    assert check() == Told("checked")
    assert OpenRouterKey.objects.get().checked_at >= before
    assert OpenRouterKey.objects.get().status == "active"


def test_rejected_key(check):
    """123: a stored key that OpenRouter answers with 401 is kept, and called rejected."""
    before = kept()
    assert check(refusal(401, "User not found.")) == Told("KeyRejected")
    assert kept() == before | {"status": "rejected"}


@pytest.mark.parametrize(
    "answer", [*test_key_status.TROUBLE.values(), silence], ids=[*test_key_status.TROUBLE, "slow"]
)
def test_no_verdict(check, settings, answer):
    """124, 126: what is no verdict leaves a stored key as it was, and is noted."""
    settings.OPENROUTER_AUTH_TIMEOUT = (0.1, 0.2)
    before = kept()
    assert not check(answer).is_connected
    assert kept() == before
    assert OpenRouterKey.objects.get().check_error


def test_management_key(check):
    """127: a stored key that turns out to be a management key is flagged, and not taken away."""
    assert check(known(is_management_key=True)) == Told("ManagementKey")
    assert OpenRouterKey.objects.get().status == "active"


def test_unreadable_key(check, standin, settings):
    """128: OpenRouter is not asked about a key that cannot be read."""
    settings.FERNET_KEYS = ["x" * 43]
    assert check() == Told("KeyUnreadable")
    assert standin.journal == []
    assert OpenRouterKey.objects.get().status == "unreadable"


def test_certificate_of_a_stranger(
    browser, user, authority, settings, bare_environment, request, leaks
):
    """110: OpenRouter with the certificate of a stranger gets neither code nor verifier."""
    leaks.plant(code=CODE)
    transport.trust_store.cache_clear()
    with Standin(authority.context) as stranger:
        settings.OPENROUTER_AUTH_API_URL = stranger.url
        response = browser.get(start(browser).path, {"code": CODE})
        assert told_by(response) == Told("TLSError")
        assert stranger.journal == []
    transport.trust_store.cache_clear()
    record_answer(request.node, response)
    assert ConnectAttempt.objects.get().outcome == "tls_error"


def test_every_case_is_played():
    """Each case of group PM has a test over sockets."""
    here = {name: test for name, test in globals().items() if name.startswith("test_")}
    tests = [*vars(test_provider_answers).values(), *vars(test_key_status).values(), *here.values()]
    promises = [test.__doc__ for test in tests if callable(test) and test.__doc__]
    numbered = [re.match(r"(?:PM )?(\d[^:]*):", promise) for promise in promises]
    played = {int(one) for match in numbered if match for one in re.findall(r"\d+", match[1])}
    assert set(range(87, 129)) - LEFT_OUT <= played
