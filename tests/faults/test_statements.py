"""A database that fails at each statement of a request in turn, in every way it can."""

import pytest
from django.contrib.auth.models import User
from django.db import IntegrityError, InterfaceError

from django_openrouter_auth.models import OpenRouterKey
from django_openrouter_auth.signals import key_connected
from django_openrouter_auth.testing import CODE, KEY, OTHER_KEY

from .outcomes import Case
from .steps import CALLS, answer_lost, cut, do, gone, refused, watched
from .visits import ANEW, REFUSED, REQUESTS, Visit, connect_anew, make_old

pytestmark = pytest.mark.django_db(transaction=True)

FAULTS = {
    "refused": refused,
    "integrity error": lambda position: refused(position, IntegrityError),
    "interface error": lambda position: refused(position, InterfaceError),
    "done, and its answer lost": answer_lost,
    "gone from there on": gone,
}
POSTGRESQL = {"connection cut": cut}
MANY = 40


@pytest.fixture
def visit(openrouter, site_url, request):
    """A function that brings the next user to a request, with OpenRouter ready for it."""
    # Error reports about all of them take long: one kind of fault has to do.
    if request.node.callspec.params["fault"] == "refused":
        leaks = request.getfixturevalue("leaks")
        leaks.plant(old_key=KEY, new_key=OTHER_KEY, newest_key=ANEW, code=CODE)

    def make(request, number):
        made = Visit(User.objects.create(username=f"user {number}"), openrouter)
        REQUESTS[request](made)
        openrouter.grants(OTHER_KEY)
        return made

    def listen(sender, **facts):
        """Be told, as a part of the site: that costs a statement."""

    key_connected.connect(listen, sender=OpenRouterKey)
    yield make
    key_connected.disconnect(listen, sender=OpenRouterKey)


def ask(visit, act):
    """Make the request with a fault in it; return what was told and the names of the steps."""
    with watched(act) as names:
        response = visit.ask()
    return visit.tell(response), names


def exchanges(visit):
    """Return how often a code was sent to OpenRouter so far."""
    return len(visit.openrouter.exchanges)


def judge(request, visit, seen, before, sent):
    """Check that what was told is true, and that what is stored is whole; return what it is.

    Args:
        request: what the user was doing.
        visit: who did it.
        seen: what was told.
        before: the key row before it.
        sent: how often a code was sent to OpenRouter for it so far.
    """
    stored = visit.stored()
    # A code that OpenRouter refused may be entered again: once, and twice more by repeat().
    assert sent <= (3 if request == REFUSED else 1)
    assert seen.what != "error page" or (not request.startswith("callback") and sent == 0)
    if seen.is_connected:
        assert stored == "new key"
    elif seen.what in {"disconnected", "nothing to disconnect"}:
        assert stored == "no key"
    else:
        # An error page, and the words that go with what nobody foresaw, leave that open.
        assert seen.what in {"error page", "OpenRouterAuthError"} or visit.row() == before
    assert stored != "old key" or visit.row() == before
    # Whoever is not told of a key that OpenRouter made and nobody holds cannot delete it.
    is_lost = sent == 1 and stored != "new key" and request not in {"disconnect", REFUSED}
    assert not is_lost or seen.left_over or seen.what == "AttemptInProgress"
    return stored


def repeat(request, visit, begun):
    """Make the request again, at once and later; return what was told."""
    seen = []
    for wait in (lambda visit: None, make_old):
        wait(visit)
        before = visit.row()
        seen.append(ask(visit, do)[0])
        judge(request, visit, seen[-1], before, exchanges(visit) - begun)
    at_once, later = map(str, seen)
    return at_once if at_once == later else f"{at_once}; later {later}"


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("name", REQUESTS)
def test_every_statement(visit, request, name, fault):
    """Wherever the database fails, what is stored is whole, what is told is true, all can go on."""
    walk(request.node, visit, name, fault, FAULTS[fault])


@pytest.mark.postgresql
@pytest.mark.parametrize("fault", POSTGRESQL)
@pytest.mark.parametrize("name", REQUESTS)
def test_every_cut(visit, request, name, fault):
    """The same for a connection that PostgreSQL really ends, at each statement in turn."""
    walk(request.node, visit, name, fault, POSTGRESQL[fault])


def walk(test, visit, request, name, fault):
    """Let a request fail at its first step, then at its second …, until it does not fail."""
    _, steps = ask(visit(request, MANY), do)
    assert steps[:2] == ["read session", "read user"]
    for position, step in enumerate(steps):
        # An answer can get lost on the way from a server only, and those begin without a statement.
        if step in CALLS or (fault is answer_lost and step == "begin"):
            continue
        person = visit(request, position)
        before, begun = person.row(), exchanges(person)
        seen, _ = ask(person, fault(position))
        sent = exchanges(person) - begun
        assert seen.what != "AttemptInProgress"
        stored = judge(request, person, seen, before, sent)
        again = repeat(request, person, begun)
        place = (position + 1, step)
        case = Case("database", request, place, name, str(seen), stored, sent, again)
        case.record(test)
        connect_anew(person)
