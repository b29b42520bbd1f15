"""Re-encryption, batch by batch: what is written, what is left, and what survives an end."""

import os
import shutil
import subprocess
import sys
import tracemalloc
from contextlib import nullcontext
from functools import reduce
from unittest.mock import MagicMock

import pytest
from cryptography.fernet import Fernet, MultiFernet
from django.contrib.auth.models import User
from django.core.exceptions import ImproperlyConfigured
from django.db import connection
from django.test import override_settings
from fernet_fields.hkdf import derive_fernet_key

from django_openrouter_auth import rotation
from django_openrouter_auth.exceptions import KeyUnreadable
from django_openrouter_auth.fields import SealedKey, reencryption
from django_openrouter_auth.models import OpenRouterKey
from django_openrouter_auth.rotation import RotationCounts, rotate_keys
from django_openrouter_auth.shortcuts import get_api_key
from django_openrouter_auth.testing import connect

from .connecting import KEY, OTHER_KEY
from .example_site import ROOT
from .stored_keys import NEW, OLD, api_key, column, opened, store_keys, write

DAMAGES = [b"", b"damaged", b"gAAAAA", b"\xff\x00", b"g" * 200]


@pytest.fixture(autouse=True)
def old_keys(settings):
    """Everything is encrypted with the old key at first."""
    settings.FERNET_KEYS = [OLD]


def rotate(settings, keys=(NEW, OLD), **options):
    """Rotate with these keys; return the sums."""
    settings.FERNET_KEYS = list(keys)
    return reduce(RotationCounts.plus, rotate_keys("default", **options), RotationCounts())


# One token


def cipher(*keys):
    """Return the cipher of encryption keys."""
    return MultiFernet([Fernet(derive_fernet_key(key)) for key in keys])


def test_token_keeps_its_time(settings):
    """ST 139: a re-encrypted token opens with the newest key and tells the time of the old one."""
    token = cipher(OLD).encrypt_at_time(KEY.encode(), 1_234_567_890)
    settings.FERNET_KEYS = [NEW, OLD]
    fresh = reencryption()(token)
    assert cipher(NEW).decrypt(fresh) == KEY.encode()
    assert cipher(NEW).extract_timestamp(fresh) == 1_234_567_890


@pytest.mark.parametrize("keys", [[NEW], [NEW, OLD], [NEW, NEW.encode(), OLD]])
def test_token_of_the_newest_key_is_left(settings, keys):
    """ST 140: what the newest key opens is given back as it is, also where it is listed twice."""
    settings.FERNET_KEYS = keys
    token = cipher(NEW).encrypt(KEY.encode())
    assert reencryption()(token) is token


@pytest.mark.parametrize("keys", [[NEW], [NEW, OLD]])
@pytest.mark.parametrize("damage", DAMAGES)
def test_damaged_token(settings, keys, damage):
    """M04: what no key opens is said to be so, whatever it is."""
    settings.FERNET_KEYS = keys
    assert reencryption()(damage) is None


def test_third_key_from_the_end(settings):
    """Every listed key is tried, not only the one before the newest."""
    token = cipher(OLD).encrypt(KEY.encode())
    settings.FERNET_KEYS = [NEW, "another" * 10, OLD]
    assert cipher(NEW).decrypt(reencryption()(token)) == KEY.encode()


@pytest.mark.parametrize("payload", [b"", b"\xff\xfe"])
def test_payload_that_is_no_key(settings, payload):
    """A token with a senseless payload is re-encrypted like any other, and stays as senseless."""
    token = cipher(OLD).encrypt(payload)
    settings.FERNET_KEYS = [NEW, OLD]
    assert cipher(NEW).decrypt(reencryption()(token)) == payload


def test_switched_key_derivation(settings):
    """ST 151: without derivation, tokens of derived keys are unreadable and left alone."""
    token = cipher(OLD).encrypt(KEY.encode())
    settings.FERNET_KEYS = [Fernet.generate_key().decode()]
    settings.FERNET_USE_HKDF = False
    assert reencryption()(token) is None


# All rows


def test_every_row_opens_with_the_newest_key_alone(settings, db):
    """ST 139: after rotating, the old key is needed for no row, and each holds what it held."""
    store_keys(7)
    assert rotate(settings, batch_size=3) == RotationCounts(rotated=7)
    assert opened(NEW) == [api_key(number) for number in range(7)]


def test_users_notice_nothing(settings, db):
    """ST 139: a user's key is the same one before, between and after."""
    user = store_keys(1)[0].user
    settings.FERNET_KEYS = [NEW, OLD]
    assert get_api_key(user) == api_key(0)
    rotate(settings)
    assert get_api_key(user) == api_key(0)
    settings.FERNET_KEYS = [NEW]
    assert get_api_key(user) == api_key(0)


def test_nothing_else_of_a_row_changes(settings, db):
    """Rotating changes the ciphertext alone: who looks at ``updated_at`` sees no news."""
    (before,) = store_keys(1)
    rotate(settings)
    after = OpenRouterKey.objects.get()
    names = {field.attname for field in OpenRouterKey._meta.fields} - {"secret"}
    assert {name: getattr(after, name) for name in names} == {
        name: getattr(before, name) for name in names
    }


def test_second_time(settings, db):
    """ST 140: rotating again writes nothing."""
    store_keys(5)
    rotate(settings)
    before = column()
    assert rotate(settings, batch_size=2) == RotationCounts(newest=5)
    assert column() == before


def test_dry_run(settings, db):
    """ST 144: a dry run counts the same and writes nothing."""
    rows = store_keys(3)
    write(rows[1], b"damaged")
    before = column()
    counts = rotate(settings, dry_run=True)
    assert column() == before
    assert counts == RotationCounts(rotated=2, unreadable=1) == rotate(settings)


def test_old_key_is_gone(settings, db):
    """ST 145: without the old key, all rows are unreadable and stay as they are."""
    store_keys(3)
    before = column()
    assert rotate(settings, keys=[NEW], batch_size=2) == RotationCounts(unreadable=3)
    assert column() == before


@pytest.mark.parametrize("damage", DAMAGES)
def test_unreadable_row_is_left(settings, db, damage):
    """D18: a row that no key opens keeps its bytes, and stops no other."""
    rows = store_keys(3)
    write(rows[1], damage)
    assert rotate(settings, batch_size=1) == RotationCounts(rotated=2, unreadable=1)
    assert opened(NEW) == [api_key(0), None, api_key(2)]
    assert column()[1] == damage


def test_token_with_foreign_bytes(settings, db):
    """A token that opens in spite of bytes that do not belong there is found again and written."""
    (row,) = store_keys(1)
    (token,) = column()
    write(row, token[:50] + b"\xff ,'\\\n" + token[50:])
    assert rotate(settings) == RotationCounts(rotated=1)
    assert opened(NEW) == [api_key(0)]


def test_text_in_the_column(settings, db):
    """M04: SQLite may hold text where bytes belong; it is re-encrypted all the same."""
    if connection.vendor != "sqlite":
        return
    (row,) = store_keys(1)
    write(row, column()[0].decode())
    assert rotate(settings) == RotationCounts(rotated=1)
    assert opened(NEW) == [api_key(0)]


def test_strange_text_in_the_column(settings, db):
    """M04: text that is no token at all is unreadable, and left."""
    if connection.vendor != "sqlite":
        return
    (row,) = store_keys(1)
    write(row, "密钥")
    assert rotate(settings) == RotationCounts(unreadable=1)
    assert column() == ["密钥"]


def test_gaps_and_batches(settings, db):
    """Every row is reached once, whatever the batches and the gaps between primary keys."""
    for row in store_keys(9)[2:8:2]:
        row.delete()
    sizes = [sum(batch) for batch in rotate_with(settings, batch_size=4)]
    assert sizes == [4, 2]
    assert None not in opened(NEW)


def test_order_of_batches(settings, db):
    """Batches follow the primary key, also where the database would choose another order."""
    if connection.vendor != "sqlite":
        return
    store_keys(3)
    with connection.cursor() as cursor:
        cursor.execute("PRAGMA reverse_unordered_selects = ON")
        try:
            assert rotate(settings, batch_size=2) == RotationCounts(rotated=3)
        finally:
            cursor.execute("PRAGMA reverse_unordered_selects = OFF")


def test_transactions(settings, db, monkeypatch):
    """Each batch is one transaction of the database that was named."""
    store_keys(3)
    names = []

    def atomic(using):
        names.append(using)
        return nullcontext()

    monkeypatch.setattr(rotation.transaction, "atomic", atomic)
    rotate(settings, batch_size=2)
    assert names == ["default", "default"]


def test_statement_of_postgresql(db):
    """On PostgreSQL one statement carries a batch: tokens, primary keys and what was read."""
    server = MagicMock(vendor="postgresql", alias="default")
    execute = server.cursor.return_value.__enter__.return_value.execute
    rotation._write(server, [(b"new1", 1, b"\xff 1"), (b"new2", 2, b"old2")])
    ((statement, parameters),) = (call.args for call in execute.call_args_list)
    assert statement.count("%s") == len(parameters) == 3
    tokens, pks, held = parameters
    assert tokens.split(" ") == ["new1", "new2"]
    assert pks == [1, 2]
    assert list(map(bytes.fromhex, held.split(" "))) == [b"\xff 1", b"old2"]


def rotate_with(settings, **options):
    """Begin to rotate to the new key; the batches are still to be asked for."""
    settings.FERNET_KEYS = [NEW, OLD]
    return rotate_keys("default", **options)


def test_rows_that_come_meanwhile(settings, db):
    """Users who connect while rows are rotated are reached too, if they need it."""
    store_keys(2)
    batches = rotate_with(settings, batch_size=2)
    next(batches)
    settings.FERNET_KEYS = [OLD]
    connect(User.objects.create(username="late"))
    assert list(batches) == [RotationCounts(rotated=1)]
    assert opened(NEW) == [api_key(0), api_key(1), KEY]


@pytest.mark.parametrize("keys", [[], [None], "FERNET_USE_HKDF"])
def test_unusable_keys(settings, db, keys):
    """M06: with keys that cannot be used nothing is read or written."""
    store_keys(1)
    before = column()
    if keys == "FERNET_USE_HKDF":
        settings.FERNET_USE_HKDF, keys = False, [NEW]
    with pytest.raises(ImproperlyConfigured):
        rotate(settings, keys=keys)
    assert column() == before


# Somebody else at the same time


def just_before_writing(monkeypatch, interfere):
    """Do something between reading and writing."""
    write_batch = rotation._write

    def late(*arguments):
        interfere()
        return write_batch(*arguments)

    monkeypatch.setattr(rotation, "_write", late)


def test_reconnect_meanwhile(settings, db, monkeypatch):
    """T18: a user who reconnects between reading and writing keeps the new key."""
    rows = store_keys(3)
    fields = OpenRouterKey.derive(rows[1].user_id, OTHER_KEY)

    def reconnect():
        OpenRouterKey.objects.filter(pk=rows[1].pk).update(**fields)

    just_before_writing(monkeypatch, reconnect)
    assert rotate(settings) == RotationCounts(rotated=2, changed=1)
    assert [get_api_key(row.user) for row in rows] == [api_key(0), OTHER_KEY, api_key(2)]


def test_disconnect_meanwhile(settings, db, monkeypatch):
    """T18: a key that is deleted between reading and writing stays deleted."""
    rows = store_keys(2)
    just_before_writing(monkeypatch, rows[0].delete)
    assert rotate(settings) == RotationCounts(rotated=1, changed=1)
    assert opened(NEW) == [api_key(1)]


def test_two_rotations_at_once(settings, db, monkeypatch):
    """Of two commands that do the same work, one writes a row and the other finds it changed."""
    store_keys(3)
    settings.FERNET_KEYS = [NEW, OLD]
    others = []

    def rotate_too():
        monkeypatch.undo()
        others.extend(rotate_keys("default"))

    just_before_writing(monkeypatch, rotate_too)
    assert list(rotate_keys("default")) == [RotationCounts(changed=3)]
    assert others == [RotationCounts(rotated=3)]
    assert opened(NEW) == [api_key(number) for number in range(3)]


def test_worker_without_the_new_key(settings, connected, browser, user):
    """ST 146: a worker that was not told the new key says "unreadable"; its pages work."""
    row = OpenRouterKey.objects.get()
    write(row, cipher(OLD).encrypt(KEY.encode()))
    rotate(settings)
    settings.FERNET_KEYS = [OLD]
    with pytest.raises(KeyUnreadable):
        get_api_key(user)
    assert browser.get("/openrouter/status/").json()["status"] == "unreadable"
    assert browser.get("/openrouter/").status_code == 200
    settings.FERNET_KEYS = [NEW]
    assert get_api_key(user) == KEY


@pytest.mark.parametrize("keys", [[OLD], [Fernet.generate_key().decode()]])
def test_pages_with_switched_key_derivation(settings, connected, browser, user, keys):
    """ST 151: without key derivation a key is unreadable, and no page fails over it."""
    settings.FERNET_USE_HKDF, settings.FERNET_KEYS = False, keys
    with pytest.raises(KeyUnreadable):
        get_api_key(user)
    assert browser.get("/openrouter/status/").json()["status"] == "unreadable"
    assert browser.get("/openrouter/").status_code == 200


def test_overridden_keys_are_undone(db):
    """ST 150: keys that a test overrides hold for the test, and the old ones afterwards."""
    with override_settings(FERNET_KEYS=[NEW]):
        new = SealedKey.seal(KEY)
        assert new.reveal() == KEY
    with pytest.raises(KeyUnreadable):
        new.reveal()
    assert cipher(OLD).decrypt(SealedKey.seal(KEY).token) == KEY.encode()


# Stopped in the middle


@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError])
def test_stopped_in_the_second_batch(settings, db, monkeypatch, error):
    """ST 142: stopped after one batch, that one is stored, all rows open, a rerun completes."""
    store_keys(5)
    calls = []

    def stop():
        calls.append(None)
        if len(calls) == 2:
            raise error

    with monkeypatch.context() as patch:
        just_before_writing(patch, stop)
        with pytest.raises(error):
            rotate(settings, batch_size=2)
    by_new, by_old = opened(NEW), opened(OLD)
    assert [new or old for new, old in zip(by_new, by_old, strict=True)] == [
        api_key(number) for number in range(5)
    ]
    assert by_new[:2] == [api_key(0), api_key(1)]
    assert by_new[2:] == [None] * 3
    assert rotate(settings, batch_size=2) == RotationCounts(rotated=3, newest=2)
    assert opened(NEW) == [api_key(number) for number in range(5)]


MEBIBYTE = 1024 * 1024


@pytest.mark.process
def test_memory_is_flat(settings, transactional_db):
    """DR 208: 10,000 rows take no more memory than their batches, with ``DEBUG`` either."""
    store_keys(10_000)
    settings.DEBUG = True
    tracemalloc.start()
    try:
        done = rotate(settings, batch_size=500)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert done == RotationCounts(rotated=10_000)
    assert peak < 2 * MEBIBYTE


# Other databases

TWO_DATABASES = """
from tests.settings import *
folder = BASE_DIR.__class__(__file__).parent
DATABASES = {
    name: {"ENGINE": "django.db.backends.sqlite3", "NAME": folder / f"{name}.sqlite3"}
    for name in ("default", "other")
}
class Router:
    def db_for_write(self, model, **hints):
        return "other" if model._meta.app_label == "django_openrouter_auth" else None
DATABASE_ROUTERS = [Router()] if (folder / "routed").exists() else []
FERNET_KEYS = (folder / "keys").read_text().split(",")
"""

STORE_IN_BOTH = """
import django; django.setup()
from django.contrib.auth.models import User
from django.core.management import call_command
from django.utils import timezone
from django_openrouter_auth.models import OpenRouterKey
for alias in ("default", "other"):
    call_command("migrate", database=alias, verbosity=0)
    user = User.objects.using(alias).create(username="ann")
    OpenRouterKey.objects.using(alias).create(
        user_id=user.pk, connected_at=timezone.now(), **OpenRouterKey.derive(user.pk, "k" * 40)
    )
"""

WHICH_OPEN = """
import django; django.setup()
from django_openrouter_auth.exceptions import KeyUnreadable
from django_openrouter_auth.models import OpenRouterKey
for alias in ("default", "other"):
    try:
        OpenRouterKey.objects.using(alias).get().secret.reveal()
        print(alias)
    except KeyUnreadable:
        pass
"""


def run(folder, *command, keys):
    """Run Python on the site in a folder; return what it printed."""
    (folder / "keys").write_text(keys)
    return subprocess.run(
        [sys.executable, "-W", "error", *command],
        env={
            **os.environ,
            "DJANGO_SETTINGS_MODULE": "two_databases",
            "PYTHONPATH": os.pathsep.join([str(folder), *sys.path]),
        },
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    ).stdout


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    """A site with two databases, and a key of the old encryption key in each."""
    folder = tmp_path_factory.mktemp("prepared")
    (folder / "two_databases.py").write_text(TWO_DATABASES)
    run(folder, "-c", STORE_IN_BOTH, keys=OLD)
    return folder


@pytest.mark.process
@pytest.mark.parametrize(
    ("arguments", "routed", "changed"),
    [
        ([], False, "default"),
        (["--database", "other"], False, "other"),
        (["--database=default"], True, "default"),
        ([], True, "other"),
    ],
)
def test_other_databases(prepared, tmp_path, arguments, routed, changed):
    """ST 147: only the named database is changed; by default the one that keys are written to."""
    shutil.copytree(prepared, tmp_path, dirs_exist_ok=True)
    if routed:
        (tmp_path / "routed").touch()
    command = ["-m", "django", "openrouter_auth_rotate_keys", *arguments]
    assert "Re-encrypted: 1\n" in run(tmp_path, *command, keys=f"{NEW},{OLD}")
    assert run(tmp_path, "-c", WHICH_OPEN, keys=NEW).split() == [changed]
