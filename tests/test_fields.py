"""The sealed field: what it does better than its base class, and what a sealed value shows."""

import copy
import json
import pickle
from collections.abc import Callable
from typing import Any

import pytest
from cryptography.fernet import Fernet, InvalidToken
from django.core import serializers
from django.core.exceptions import FieldError, ImproperlyConfigured
from django.core.serializers.json import DjangoJSONEncoder
from django.db import connection, transaction
from django.db.models import Case, F, Subquery, Value, When
from django.db.models.functions import Cast
from django.template import Context, Template
from fernet_fields.hkdf import derive_fernet_key

from django_openrouter_auth.exceptions import KeyUnreadable
from django_openrouter_auth.fields import EncryptedKeyField, SealedKey, fernet, mask
from django_openrouter_auth.models import OpenRouterKey

from .connecting import HINT, KEY, OTHER_KEY
from .models import Ours, Plain

pytestmark = pytest.mark.django_db


def plaintext(instance: Any) -> str:
    """Return the secret of either model."""
    return str(instance.secret.reveal() if isinstance(instance, Ours) else instance.secret)


def ciphertext(model: Any) -> bytes:
    """Return the only value in the column, as the database holds it."""
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT secret FROM {model._meta.db_table}")
        return bytes(cursor.fetchone()[0])


def survives_bulk_update(model: Any, settings: Any) -> None:
    """``bulk_update`` keeps a secret."""
    instance = model.objects.create(secret=KEY)
    model.objects.bulk_update([instance], ["secret"])
    assert plaintext(model.objects.get()) == KEY


def dumps_no_plaintext(model: Any, settings: Any) -> None:
    """A dump holds no plaintext."""
    model.objects.create(secret=KEY)
    assert KEY not in serializers.serialize("json", model.objects.all())


def loads_rows_that_cannot_be_decrypted(model: Any, settings: Any) -> None:
    """A damaged row loads."""
    model.objects.create(secret=KEY)
    with connection.cursor() as cursor:
        cursor.execute(f"UPDATE {model._meta.db_table} SET secret = %s", [b"damaged"])
    assert len(model.objects.all()) == 1


def honours_secret_key_fallbacks(model: Any, settings: Any) -> None:
    """Without encryption keys, a rotated ``SECRET_KEY`` keeps rows readable."""
    del settings.FERNET_KEYS
    old = settings.SECRET_KEY
    model.objects.create(secret=KEY)
    settings.SECRET_KEY, settings.SECRET_KEY_FALLBACKS = "new" * 20, [old]
    forget_cached_keys(model)
    assert plaintext(model.objects.get()) == KEY


def sees_changed_settings(model: Any, settings: Any) -> None:
    """New encryption keys are used at once."""
    model.objects.create(secret=KEY)
    settings.FERNET_KEYS = ["another" * 10]
    model.objects.create(secret=OTHER_KEY)
    assert plaintext(model.objects.latest("pk")) == OTHER_KEY
    assert not opens(bytes_of_latest(model), "encryption-key-of-the-tests-" + "0123456789" * 2)


def bytes_of_latest(model: Any) -> bytes:
    """Return the newest value in the column."""
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT secret FROM {model._meta.db_table} ORDER BY id DESC")
        return bytes(cursor.fetchone()[0])


def opens(token: bytes, key: str) -> bool:
    """Return whether an encryption key opens a token."""
    try:
        Fernet(derive_fernet_key(key)).decrypt(token)
    except InvalidToken:
        return False
    return True


def forget_cached_keys(model: Any) -> None:
    """Take the base class's own cache out of the question, as a new process would."""
    for name in ("keys", "fernet_keys", "fernet"):
        model._meta.get_field("secret").__dict__.pop(name, None)


PROMISES: list[Callable[[Any, Any], None]] = [
    survives_bulk_update,
    dumps_no_plaintext,
    loads_rows_that_cannot_be_decrypted,
    honours_secret_key_fallbacks,
    sees_changed_settings,
]


@pytest.mark.parametrize("promise", PROMISES, ids=lambda promise: promise.__name__)
def test_field_keeps_what_its_base_class_breaks(settings, promise):
    """M01, M05, M07, M08, ST 149, ST 150: each promise holds for our field."""
    promise(Ours, settings)


@pytest.mark.parametrize("promise", PROMISES, ids=lambda promise: promise.__name__)
def test_base_class_still_needs_us(settings, promise):
    """The same promises are broken by fernet-fields; when one of these fails, we can shrink."""
    forget_cached_keys(Plain)
    try:
        with pytest.raises(Exception):  # noqa: B017, PT011 - each promise breaks in its own way
            promise(Plain, settings)
    finally:
        forget_cached_keys(Plain)


def test_loading_never_decrypts(monkeypatch):
    """Rows are loaded, counted and saved without the encryption key being asked for."""
    Ours.objects.create(secret=KEY)

    def refuse() -> None:
        raise AssertionError

    monkeypatch.setattr("django_openrouter_auth.fields.fernet", refuse)
    instance = Ours.objects.get()
    instance.save()
    assert str(instance.secret) == "..."


def test_saving_keeps_the_ciphertext():
    """ST 138: a row that is loaded and saved keeps its ciphertext byte by byte."""
    Ours.objects.create(secret=KEY)
    before = ciphertext(Ours)
    Ours.objects.get().save()
    assert ciphertext(Ours) == before


def test_column_holds_a_fernet_token():
    """ST 129: what is stored is a Fernet token, and never the same one twice."""
    Ours.objects.create(secret=KEY)
    first = ciphertext(Ours)
    Ours.objects.update(secret=KEY)
    assert first.startswith(b"gAAAAA")
    assert ciphertext(Ours) != first
    assert plaintext(Ours.objects.get()) == KEY


def test_nothing_is_stored_for_none():
    """No secret is no ciphertext either."""
    Ours.objects.create(secret=None)
    assert Ours.objects.get().secret is None


def test_bulk_create():
    """``bulk_create`` encrypts each secret."""
    Ours.objects.bulk_create([Ours(secret=KEY), Ours(secret=OTHER_KEY)])
    assert {plaintext(row) for row in Ours.objects.all()} == {KEY, OTHER_KEY}


def test_bulk_update_to_new_secrets():
    """``bulk_update`` gives each row its own new secret, or none."""
    rows = [Ours.objects.create(secret=KEY) for _ in range(3)]
    rows[0].secret, rows[1].secret = OTHER_KEY, None
    Ours.objects.bulk_update(rows, ["secret"])
    found = [row.secret and row.secret.reveal() for row in Ours.objects.order_by("pk")]
    assert found == [OTHER_KEY, None, KEY]


@pytest.mark.parametrize(
    "expression",
    [
        Value(KEY),
        F("id"),
        Case(When(pk=1, then=Value(KEY)), default=Value("")),
        Case(When(pk=1, then=Value(KEY)), output_field=EncryptedKeyField()),
        Subquery(Ours.objects.values("id")[:1]),
    ],
    ids=["value", "column", "case", "typed case", "subquery"],
)
def test_expressions_are_refused(expression):
    """M05: an expression could bring plaintext into the column, so it is refused."""
    Ours.objects.create(secret=KEY)
    with pytest.raises(FieldError), transaction.atomic():
        Ours.objects.update(secret=expression)
    assert plaintext(Ours.objects.get()) == KEY


@pytest.mark.parametrize(("plain", "is_refused"), [(True, True), (False, False)])
def test_cast(plain, is_refused):
    """A cast, which ``bulk_update()`` adds on PostgreSQL, is as good as what is inside it."""
    field = Ours._meta.get_field("secret")
    inside = Value(KEY) if plain else Value(SealedKey.seal(KEY), output_field=field)
    expression = Cast(inside, output_field=field)
    if is_refused:
        with pytest.raises(FieldError):
            field.get_db_prep_save(expression, connection)
    else:
        assert field.get_db_prep_save(expression, connection) is expression


def test_own_column_is_not_refused():
    """A column of the same kind holds ciphertext already."""
    Ours.objects.create(secret=KEY)
    Ours.objects.update(secret=F("secret"))
    assert plaintext(Ours.objects.get()) == KEY


def test_lookups_are_refused():
    """A secret cannot be searched for."""
    with pytest.raises(FieldError):
        Ours.objects.filter(secret=KEY).exists()
    with pytest.raises(FieldError):
        Ours.objects.filter(secret__contains="sk").exists()
    assert not Ours.objects.filter(secret__isnull=False).exists()


@pytest.mark.parametrize("damage", [b"", b"damaged", b"gAAAAA", b"\xff\x00", b"g" * 200])
def test_damaged_ciphertext(damage):
    """M04: whatever stands in the column, it loads, shows its mask and refuses to open."""
    Ours.objects.create(secret=KEY)
    with connection.cursor() as cursor:
        cursor.execute(f"UPDATE {Ours._meta.db_table} SET secret = %s", [damage])
    sealed = Ours.objects.get().secret
    assert str(sealed) == "..."
    with pytest.raises(KeyUnreadable):
        sealed.reveal()


def test_text_in_the_column():
    """M04: SQLite may hold text where bytes belong."""
    if connection.vendor != "sqlite":
        return
    Ours.objects.create(secret=KEY)
    token = ciphertext(Ours).decode()
    with connection.cursor() as cursor:
        cursor.execute(f"UPDATE {Ours._meta.db_table} SET secret = %s", [token])
    assert plaintext(Ours.objects.get()) == KEY


@pytest.mark.parametrize("payload", [b"", b"\xff\xfe"])
def test_valid_token_with_a_senseless_payload(payload):
    """M04: a token that opens to nothing, or to no text, is as unreadable as a broken one."""
    with pytest.raises(KeyUnreadable):
        SealedKey(fernet().encrypt(payload)).reveal()


def test_sealed_key_opens_only_when_asked():
    """``reveal()`` gives the key back."""
    assert SealedKey.seal(KEY).reveal() == KEY


SHOWN: list[Callable[[SealedKey], str]] = [
    str,
    repr,
    "{}".format,
    "%s".__mod__,
    "%r".__mod__,
    json.dumps,
    lambda sealed: json.dumps({"key": sealed}, cls=DjangoJSONEncoder),
    lambda sealed: Template("{{ key }}").render(Context({"key": sealed})),
    lambda sealed: f"{sealed:>40}",
    lambda sealed: "".join(list(sealed)),
    lambda sealed: sealed.upper(),
    lambda sealed: sealed.encode().decode(),
]


@pytest.mark.parametrize("show", SHOWN, ids=range(len(SHOWN)))
def test_sealed_key_shows_its_mask(show):
    """LK 182: however a sealed key is turned into text, only its mask comes out."""
    sealed = SealedKey(SealedKey.seal(KEY).token, HINT)
    shown = show(sealed)
    assert KEY not in shown
    assert HINT.upper() in shown.upper()


def test_two_keys_with_one_mask_are_two_keys():
    """Comparing sealed keys compares what they hold, not what they show."""
    one, two = (SealedKey(SealedKey.seal(key).token, HINT) for key in (KEY, OTHER_KEY))
    assert one != two
    assert one != HINT
    assert one == SealedKey(one.token)
    assert len({one, two, SealedKey(one.token)}) == 2
    assert hash(one) != hash(two)


@pytest.mark.parametrize("duplicate", [copy.copy, copy.deepcopy])
def test_copies_stay_sealed(duplicate):
    """LK 181: a copy holds ciphertext and mask, and still opens."""
    twin = duplicate(SealedKey(SealedKey.seal(KEY).token, HINT))
    assert str(twin) == HINT
    assert twin.reveal() == KEY


def test_pickle_carries_the_ciphertext():
    """LK 181: a pickled sealed key holds no plaintext, and still opens."""
    data = pickle.dumps(SealedKey(SealedKey.seal(KEY).token, HINT))
    assert KEY.encode() not in data
    assert pickle.loads(data).reveal() == KEY


def test_pickle_stays_bound_to_its_owner():
    """D16: pickling does not lose whose key it is."""
    sealed = SealedKey(SealedKey.seal(KEY).token, HINT, owner=(1, "not the fingerprint"))
    with pytest.raises(KeyUnreadable):
        pickle.loads(pickle.dumps(sealed)).reveal()


def test_what_belongs_to_a_row_is_closed_without_it():
    """Away from its row a user's key opens for nobody; what has no owner opens."""
    bound, free = OpenRouterKey._meta.get_field("secret"), Ours._meta.get_field("secret")
    token = SealedKey.seal(KEY).token
    for read in (
        lambda field: field.from_db_value(token, None, connection),
        lambda field: field.to_python(token.decode()),
    ):
        assert read(free).reveal() == KEY
        with pytest.raises(KeyUnreadable):
            read(bound).reveal()


@pytest.mark.parametrize(("hint", "shown"), [("hint", "hint"), ("", "...")])
def test_row_lends_its_mask(hint, shown):
    """A key shows the mask that its row holds, and only dots where it holds none."""
    assert str(OpenRouterKey(secret=KEY, hint=hint).secret) == shown


def test_row_without_a_secret():
    """A row that has no secret yet says so."""
    assert OpenRouterKey(secret=None).secret is None


def test_never_in_a_form():
    """No form of Django's has a field for a secret."""
    assert EncryptedKeyField().editable is False
    assert EncryptedKeyField(editable=True).editable is False


def test_options():
    """A field takes Django's options, and belongs to nobody unless it is told to whom."""
    field = EncryptedKeyField("name", null=True)
    assert (field.verbose_name, field.null) == ("name", True)
    assert (field.shown_as, field.owner, field.owner_hash) == ("", "", "")


def test_assigned_plaintext_is_sealed_at_once():
    """LK 182: from the moment of the assignment, the instance holds no plaintext."""
    instance = Ours(secret=KEY)
    assert KEY not in repr(vars(instance))
    assert instance.secret.reveal() == KEY


def test_serialized_rows_come_back():
    """``dumpdata`` and ``loaddata`` carry the ciphertext and restore it."""
    Ours.objects.create(secret=KEY)
    Ours.objects.create(secret=None)
    text = serializers.serialize("json", Ours.objects.all())
    Ours.objects.all().delete()
    for item in serializers.deserialize("json", text):
        item.save()
    first, second = Ours.objects.order_by("pk")
    assert plaintext(first) == KEY
    assert second.secret is None


def test_damaged_rows_are_serialized_too():
    """A row that cannot be read is dumped and restored as it is."""
    Ours.objects.create(secret=KEY)
    with connection.cursor() as cursor:
        cursor.execute(f"UPDATE {Ours._meta.db_table} SET secret = %s", [b"\xff\x00x"])
    for layout in ("json", "xml"):
        text = serializers.serialize(layout, Ours.objects.all())
        for item in serializers.deserialize(layout, text):
            item.save()
        assert ciphertext(Ours) == b"\xff\x00x"


@pytest.mark.parametrize(
    ("key", "shown"),
    [
        (KEY, HINT),
        ("x" * 37 + "abc", "...abc"),
        ("sk-or-v1-" + "y" * 20, "...yyy"),
        ("sk-or-v1-" + "y" * 30, "...yyy"),
        ("sk-or-v1-" + "y" * 31, "sk-or-v1-yyy...yyy"),
        ("0123456789" * 2, "...789"),
    ],
)
def test_mask(key, shown):
    """LK 178: prefix and three characters at each end of a usual key; three of any other."""
    assert mask(key) == shown


def test_newest_key_encrypts_and_older_ones_read(settings):
    """ST 148: keys are newest first; rows of every listed key open."""
    old = SealedKey.seal(KEY)
    settings.FERNET_KEYS = ["new" * 20, *settings.FERNET_KEYS]
    assert old.reveal() == KEY
    new = SealedKey.seal(OTHER_KEY)
    settings.FERNET_KEYS = ["new" * 20]
    assert new.reveal() == OTHER_KEY
    with pytest.raises(KeyUnreadable):
        old.reveal()


def test_rotated_secret_key_without_fernet_keys(settings):
    """ST 148: with ``FERNET_KEYS`` set, a new ``SECRET_KEY`` changes nothing."""
    sealed = SealedKey.seal(KEY)
    settings.SECRET_KEY = "another" * 10
    assert sealed.reveal() == KEY


def test_switched_key_derivation(settings):
    """ST 151: rows of the other way of derivation are unreadable, not an error page."""
    sealed = SealedKey.seal(KEY)
    settings.FERNET_USE_HKDF = False
    with pytest.raises(KeyUnreadable):
        sealed.reveal()
    settings.FERNET_KEYS = [Fernet.generate_key().decode()]
    assert SealedKey.seal(KEY).reveal() == KEY


@pytest.mark.parametrize("keys", [[], [None], [""], {"a": 1}, 7, ["x", 7]])
def test_unusable_encryption_keys(settings, keys):
    """M06: keys with which fernet-fields would encrypt in a way that anybody can undo."""
    settings.FERNET_KEYS = keys
    with pytest.raises(ImproperlyConfigured):
        SealedKey.seal(KEY)


@pytest.mark.parametrize("keys", ["a-lone-string" * 3, b"lone-bytes" * 4])
def test_lone_encryption_key_is_taken_whole(settings, keys):
    """M06: a string in place of a list is one key, and not as many keys as characters."""
    settings.FERNET_KEYS = keys
    sealed = SealedKey.seal(KEY)
    settings.FERNET_KEYS = [keys]
    assert sealed.reveal() == KEY


def test_bytes_are_fine_as_encryption_keys(settings):
    """Encryption keys may be bytes, as in fernet-fields."""
    settings.FERNET_KEYS = [b"x" * 40]
    assert SealedKey.seal(KEY).reveal() == KEY


def test_base_classes_own_properties_agree(settings):
    """What other code may ask the field for follows the settings too."""
    field = Ours._meta.get_field("secret")
    settings.FERNET_KEYS = ["one" * 20, "two" * 20]
    assert field.keys == ("one" * 20, "two" * 20)
    assert field.fernet_keys == (derive_fernet_key("one" * 20), derive_fernet_key("two" * 20))
    settings.FERNET_USE_HKDF = False
    assert field.fernet_keys == ("one" * 20, "two" * 20)
    settings.FERNET_USE_HKDF = True
    assert field.fernet.decrypt(SealedKey.seal(KEY).token) == KEY.encode()
