"""Several processes, one database, and TLS that ends before the site."""

import os
import signal
from concurrent.futures import ThreadPoolExecutor
from hashlib import sha256
from threading import Barrier
from urllib.parse import parse_qs, urlsplit

import pytest

from tests.processes import wait_until

from .site import PROCESS
from .visitor import CONNECTED, SITE

pytestmark = pytest.mark.deployment

DOCTOR = ("openrouter_auth_doctor", "--offline")
EXCHANGES = (
    "SELECT status FROM openrouter_sandbox_sandboxrequest"
    " WHERE path LIKE '%%/auth/keys' AND code_hash = %s"
)
STORED_KEYS = (
    "SELECT key_hash FROM django_openrouter_auth_openrouterkey"
    " JOIN auth_user ON auth_user.id = user_id WHERE username LIKE %s"
)
ATTEMPTS = (
    "SELECT 1 FROM django_openrouter_auth_connectattempt"
    " WHERE user_id = (SELECT id FROM auth_user WHERE username = %s)"
)
WAITING = (
    "SELECT count(*) FROM pg_stat_activity"
    " WHERE datname = current_database() AND wait_event_type = 'Lock'"
)
MINTED_KEYS = "SELECT key_hash FROM openrouter_sandbox_sandboxkey"


def exchanges(databases, callback):
    """Return how OpenRouter answered the exchanges of a callback's code."""
    code = parse_qs(urlsplit(callback).query)["code"][0]
    return databases["openrouter"].rows(EXCHANGES, sha256(code.encode()).hexdigest())


def at_once(function, arguments):
    """Call a function for each argument, all at the same moment; return the results."""
    arguments = list(arguments)
    start = Barrier(len(arguments))

    def call(argument):
        start.wait()
        return function(argument)

    with ThreadPoolExecutor(len(arguments)) as pool:
        return list(pool.map(call, arguments))


@pytest.mark.parametrize("name", ["with_site_url", "with_proxy_header", "with_proxy_beside"])
def test_connecting(name, request, databases):
    """Connect through nginx; whether SITE_URL, Django or gunicorn tells, the callback is https."""
    visitor = request.getfixturevalue(name).visitor()
    location, callback = visitor.start(visitor.sign_in(name))
    assert callback.startswith(f"{SITE}/openrouter/callback/")
    arrival = visitor.consent(location)
    assert arrival.startswith(callback)
    page = visitor.arrive(arrival)
    assert CONNECTED in page.text
    assert exchanges(databases, arrival) == [(200,)]
    [stored] = databases["site"].rows(STORED_KEYS, name)
    assert stored in databases["openrouter"].rows(MINTED_KEYS)
    assert visitor.get("/openrouter/status/").json()["connected"] is True


def test_form_of_another_site(with_site_url):
    """Behind nginx, too, a form of another site starts nothing."""
    visitor = with_site_url.visitor()
    page = visitor.sign_in("victim")
    assert visitor.press(page, Origin="https://evil.example").status_code == 403


def test_twenty_users_at_once(with_site_url, databases):
    """Twenty users connect at the same time; several processes serve them, each its own key."""
    served = set()

    def connect(number):
        visitor = with_site_url.visitor()
        visitor.http.hooks["response"].append(lambda answer, **_: served.add(process(answer)))
        return visitor.connect(f"crowd-{number}").text

    pages = at_once(connect, range(20))
    assert [CONNECTED in page for page in pages] == [True] * 20
    stored = databases["site"].rows(STORED_KEYS, "crowd-%")
    assert len(set(stored)) == 20
    assert set(stored) <= set(databases["openrouter"].rows(MINTED_KEYS))
    assert len(served - {None}) > 1


def process(answer):
    """Return the process of the site that gave an answer, or ``None`` for OpenRouter's."""
    return int(answer.headers[PROCESS]) if answer.url.startswith(SITE) else None


def test_one_callback_at_once(with_site_url, databases):
    """One callback in eight requests at the same moment: one exchange, one key, no error page.

    The attempt's row is held until at least three have read it and wait to claim it. That takes
    more than one process, because none has more than two threads.
    """
    visitor = with_site_url.visitor()
    location, _ = visitor.start(visitor.sign_in("hasty"))
    arrival = visitor.consent(location)
    tabs = [visitor.twin() for _ in range(8)]
    with ThreadPoolExecutor(len(tabs)) as pool:
        with databases["site"].connect() as holder:
            assert holder.execute(f"{ATTEMPTS} FOR UPDATE", ["hasty"]).fetchall() == [(1,)]
            waiting = [pool.submit(tab.get, arrival) for tab in tabs]
            assert wait_until(lambda: databases["site"].rows(WAITING)[0] >= (3,))
        answers = [request.result() for request in waiting]
    assert [answer.status_code for answer in answers] == [303] * 8
    assert len({process(answer) for answer in answers}) > 1
    assert exchanges(databases, arrival) == [(200,)]
    assert len(databases["site"].rows(STORED_KEYS, "hasty")) == 1
    assert visitor.get("/openrouter/status/").json()["connected"] is True


def test_killed_worker(with_site_url, databases):
    """A worker that dies while its user is at OpenRouter takes nothing along."""
    visitor = with_site_url.visitor()
    started = visitor.press(visitor.sign_in("orphan"))
    killed = process(started)
    arrival = visitor.consent(started.headers["Location"])
    os.kill(killed, signal.SIGKILL)
    page = visitor.arrive(arrival)
    assert CONNECTED in page.text
    assert process(page) != killed
    assert exchanges(databases, arrival) == [(200,)]


def test_connections_after_the_fork(with_proxy_header):
    """Workers of a preloaded site keep a connection to OpenRouter open each, and share none.

    The site called OpenRouter before gunicorn forked it, so that all workers inherit an open
    connection, in the very thread that serves.
    """
    visitor = with_proxy_header.visitor()
    visitor.connect("caller")
    tabs = [visitor.twin() for _ in range(8)]
    answers = [answer for _ in range(5) for answer in at_once(lambda tab: tab.get("/ask/"), tabs)]
    assert {answer.status_code for answer in answers} == {200}
    assert len({answer.json()["label"] for answer in answers}) == 1
    used = {(process(answer), answer.json()["connection"]) for answer in answers}
    processes, connections = ({pair[index] for pair in used} for index in range(2))
    assert len(used) == len(processes) == len(connections) == 2


def test_without_site_url_and_proxy_header(with_neither, databases):
    """A site that does not know it is https says what to set, and sends nobody to OpenRouter."""
    visitor = with_neither.visitor()
    page = visitor.sign_in("stuck")
    told = visitor.follow(visitor.press(page))
    assert told.url.startswith(SITE)
    assert "OPENROUTER_AUTH_SITE_URL" in told.text
    answer = visitor.press(page, Accept="application/json")
    assert (answer.status_code, answer.json()["code"]) == (500, "insecure_callback")
    assert databases["site"].rows(ATTEMPTS, "stuck") == []


def test_doctor_without_site_url_and_proxy_header(with_neither):
    """The doctor of such a site names the setting and fails."""
    done = with_neither.manage(*DOCTOR)
    assert done.returncode == 1, done.stderr
    assert "OPENROUTER_AUTH_SITE_URL" in done.stdout


def test_doctor_with_site_url(with_site_url):
    """The doctor of a site with SITE_URL shows the callback and is content."""
    done = with_site_url.manage(*DOCTOR)
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{SITE}/openrouter/callback/" in done.stdout


def test_doctor_with_proxy_header(with_proxy_header):
    """The doctor of a site that Django tells about https is content, too."""
    done = with_proxy_header.manage(*DOCTOR)
    assert done.returncode == 0, done.stdout + done.stderr


def test_forged_host(with_any_host):
    """RH 76: whatever host is asked for, the callback's origin is SITE_URL's."""
    visitor = with_any_host.visitor("https://evil.example")
    page = visitor.sign_in("lured")
    _, callback = visitor.start(page)
    assert callback.startswith(f"{SITE}/openrouter/callback/")
    forwarded = visitor.press(
        page, **{"X-Forwarded-Host": "other.example", "Origin": "https://other.example"}
    )
    [callback] = parse_qs(urlsplit(forwarded.headers["Location"]).query)["callback_url"]
    assert callback.startswith(f"{SITE}/openrouter/callback/")


def test_host_that_is_not_allowed(with_site_url):
    """RH 76: nginx lets every host through, and Django only ALLOWED_HOSTS."""
    visitor = with_site_url.visitor("https://evil.example")
    assert visitor.get("/").status_code == 400
