"""Encryption at rest: the model field that seals a secret, and the sealed value.

Why not ``fernet_fields.EncryptedTextField`` itself: version 0.9 encrypts the SQL expression of
``bulk_update()`` in place of the value and so destroys the row, writes plaintext into
``dumpdata``, raises while a row is loaded that cannot be decrypted, and knows nothing of
``SECRET_KEY_FALLBACKS``. Each has a test.
"""

import base64
import hashlib
import hmac
import re
from collections.abc import Callable
from functools import lru_cache
from typing import Any, Self

from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from django.core.exceptions import FieldError, ImproperlyConfigured
from django.db.models import Case, Model, Value
from django.db.models.expressions import Col
from django.db.models.functions import Cast
from django.db.models.query_utils import DeferredAttribute
from django.utils.encoding import force_bytes
from fernet_fields import EncryptedTextField
from fernet_fields.hkdf import derive_fernet_key

from .conf import encryption_keys, uses_key_derivation
from .exceptions import KeyUnreadable

MASK = "..."
PREFIX = "sk-or-v1-"


@lru_cache(maxsize=8)
def _fernet(keys: tuple[str | bytes, ...], derive: bool) -> MultiFernet:
    return MultiFernet([Fernet(derive_fernet_key(key) if derive else key) for key in keys])


def fernet() -> MultiFernet:
    """Return the cipher of the encryption keys that are set now, newest first.

    Raises:
        ImproperlyConfigured: where the keys cannot be used.
    """
    try:
        return _fernet(encryption_keys(), uses_key_derivation())
    except ValueError:
        problem = ImproperlyConfigured("FERNET_USE_HKDF is off and FERNET_KEYS are no Fernet keys.")
    raise problem


def reencryption() -> Callable[[bytes], bytes | None]:
    """Return a function that re-encrypts one token with the newest of the keys that are set now.

    It does what ``MultiFernet.rotate`` does, the time in the token included, with two more
    answers: the token itself where the newest key alone opens it, ``None`` where no key does.

    Raises:
        ImproperlyConfigured: where the keys cannot be used.
    """
    fernet()
    keys, derive = encryption_keys(), uses_key_derivation()
    newest = _fernet(keys[:1], derive)
    others = tuple(key for key in keys if force_bytes(key) != force_bytes(keys[0]))
    older = _fernet(others, derive) if others else None

    def opened(cipher: MultiFernet | None, token: bytes) -> bytes | None:
        try:
            return cipher.decrypt(token) if cipher else None
        except InvalidToken:
            return None

    def reencrypt(token: bytes) -> bytes | None:
        # Older keys first: to ask the newest, and then rotate(), which asks it again, takes 40 %
        # longer.
        plaintext = opened(older, token)
        if plaintext is not None:
            return newest.encrypt_at_time(plaintext, _made_at(token))
        return None if opened(newest, token) is None else token

    return reencrypt


def _made_at(token: bytes) -> int:
    """Return the time in a token that was opened: eight bytes after the version.

    Source: Fernet specification. ``extract_timestamp()`` would verify the token once more.
    """
    return int.from_bytes(base64.urlsafe_b64decode(token[:12])[1:9])


def mask(api_key: str) -> str:
    """Return what people may see of a key: ``sk-or-v1-0e6...1c9``, or only its end."""
    if api_key.startswith(PREFIX) and len(api_key) >= 40:
        return f"{api_key[: len(PREFIX) + 3]}{MASK}{api_key[-3:]}"
    return f"{MASK}{api_key[-3:]}"


def fingerprint(api_key: str) -> str:
    """Return the lowercase hex SHA-256 by which OpenRouter's own links name a key."""
    return hashlib.sha256(api_key.encode()).hexdigest()


def owner_fingerprint(owner_id: object, api_key: str) -> str:
    """Return the lowercase hex SHA-256 that ties a key to one user."""
    return hashlib.sha256(f"{owner_id}:{api_key}".encode()).hexdigest()


class SealedKey(str):
    """A stored secret that stays closed until ``reveal()``; as text it is only its mask.

    Being a ``str`` of the mask, it cannot show more than that in templates, JSON, f-strings,
    logs or a debugger; pickling carries the ciphertext.

    Args:
        token: the ciphertext.
        shown: the mask.
        owner: the owner's primary key and fingerprint (see :func:`owner_fingerprint`) where the
            secret may only be revealed for its owner, else ``None``.
    """

    __slots__ = ("_owner", "token")

    token: bytes
    _owner: tuple[object, str] | None

    def __new__(
        cls, token: bytes, shown: str = MASK, owner: tuple[object, str] | None = None
    ) -> Self:
        sealed = super().__new__(cls, shown)
        sealed.token, sealed._owner = token, owner
        return sealed

    @classmethod
    def seal(cls, plaintext: str) -> Self:
        """Encrypt a secret with the newest encryption key."""
        return cls(fernet().encrypt(plaintext.encode()))

    def reveal(self) -> str:
        """Return the secret itself.

        Raises:
            KeyUnreadable: it cannot be decrypted, whatever the damage, or the key that it holds
                belongs to another user.
        """
        try:
            plaintext = fernet().decrypt(self.token).decode()
        except (InvalidToken, ImproperlyConfigured, UnicodeDecodeError):
            plaintext = ""
        if not plaintext or not self._may_reveal(plaintext):
            raise KeyUnreadable(stage="use")
        return plaintext

    def _may_reveal(self, plaintext: str) -> bool:
        if self._owner is None:
            return True
        owner_id, expected = self._owner
        return hmac.compare_digest(owner_fingerprint(owner_id, plaintext), expected)

    # Two keys with the same mask are two keys.

    def __eq__(self, other: object) -> bool:
        return isinstance(other, SealedKey) and self.token == other.token

    def __ne__(self, other: object) -> bool:
        return not self == other

    def __hash__(self) -> int:
        return hash(self.token)

    def __repr__(self) -> str:
        return f"<SealedKey {self}>"

    def __reduce__(self) -> tuple[Any, ...]:
        return (type(self), (self.token, str(self), self._owner))


NOBODY = ("", "")
DAMAGED = "damaged:"
TOKEN = re.compile(rb"[A-Za-z0-9_=-]+")


class _SealedAttribute(DeferredAttribute):
    """Seal plaintext at once when it is assigned; bind what is read to its row."""

    field: "EncryptedKeyField"

    def __get__(self, instance: Model | None, owner: type[Model] | None = None) -> Any:
        value = super().__get__(instance, owner)
        if instance is None or not isinstance(value, SealedKey):
            return value
        return self.field.bind(value, instance)

    def __set__(self, instance: Model, value: object) -> None:
        if isinstance(value, str) and not isinstance(value, SealedKey):
            value = SealedKey.seal(value)
        instance.__dict__[self.field.attname] = value


class EncryptedKeyField(EncryptedTextField):  # type: ignore[misc]  # fernet-fields has no types
    """Store a secret encrypted; its attribute is a :class:`SealedKey`.

    Args:
        shown_as: name of the field that holds the mask to show.
        owner: name of the attribute that identifies the owner. The secret is then revealed
            only where ``owner_hash`` agrees (see :func:`owner_fingerprint`).
        owner_hash: name of the field that holds the owner's fingerprint.
    """

    descriptor_class = _SealedAttribute

    def __init__(
        self, *args: Any, shown_as: str = "", owner: str = "", owner_hash: str = "", **kwargs: Any
    ) -> None:
        self.shown_as, self.owner, self.owner_hash = shown_as, owner, owner_hash
        kwargs["editable"] = False
        super().__init__(*args, **kwargs)

    def bind(self, sealed: SealedKey, instance: Model) -> SealedKey:
        """Return a sealed value with the mask and the owner of the row that it was read from."""
        row = instance.__dict__
        if not self.owner:
            return sealed
        # By attribute, so that a row that was loaded in part loads what is missing.
        owner = (getattr(instance, self.owner), str(getattr(instance, self.owner_hash)))
        return SealedKey(sealed.token, str(row.get(self.shown_as) or MASK), owner)

    # The base class caches these on the field, so that changed settings would go unseen.

    @property
    def keys(self) -> tuple[str | bytes, ...]:
        return encryption_keys()

    @property
    def fernet_keys(self) -> tuple[str | bytes, ...]:
        derive = uses_key_derivation()
        return tuple(derive_fernet_key(key) if derive else key for key in self.keys)

    @property
    def fernet(self) -> MultiFernet:
        return fernet()

    def from_db_value(
        self, value: Any, expression: object, connection: object, *args: object
    ) -> SealedKey | None:
        """Wrap the ciphertext; nothing is decrypted while rows are loaded."""
        if value is None:
            return None
        token = value.encode() if isinstance(value, str) else bytes(value)
        return SealedKey(token, owner=NOBODY if self.owner else None)

    def to_python(self, value: Any) -> SealedKey | None:
        """Read the serialized form, which is the ciphertext (see ``value_to_string``)."""
        if value is None or isinstance(value, SealedKey):
            return value
        text = str(value)
        if text.startswith(DAMAGED):
            token = base64.b64decode(text.removeprefix(DAMAGED))
        else:
            token = text.encode()
        return SealedKey(token, owner=NOBODY if self.owner else None)

    def value_to_string(self, obj: Model) -> str:
        """Serialize the ciphertext, damaged bytes included: a dump restores what it found."""
        sealed: SealedKey = self.value_from_object(obj)
        if TOKEN.fullmatch(sealed.token):
            return sealed.token.decode()
        return DAMAGED + base64.b64encode(sealed.token).decode()

    def get_db_prep_save(self, value: Any, connection: Any) -> Any:
        """Return the ciphertext; plaintext given to ``update()`` is encrypted on the way."""
        if hasattr(value, "as_sql"):
            if self._keeps_sealed(value):
                return value
            raise FieldError(f"{self.name} takes a key, not a database expression.")
        return self.get_db_prep_value(value, connection)

    def get_db_prep_value(self, value: Any, connection: Any, prepared: bool = False) -> Any:
        """Return the ciphertext: Django before 5.2.3 comes here for ``bulk_update()``."""
        if value is None:
            return None
        sealed = value if isinstance(value, SealedKey) else SealedKey.seal(str(value))
        return connection.Database.Binary(sealed.token)

    def _keeps_sealed(self, expression: Any) -> bool:
        """Return whether every value of an expression goes through this class.

        ``bulk_update()`` writes ``CASE WHEN pk = 1 THEN value … END``, with a cast around it on
        PostgreSQL. Everything else could bring plaintext into the column.
        """
        if isinstance(expression, Cast):
            return self._keeps_sealed(expression.get_source_expressions()[0])
        if isinstance(expression, Case):
            results = [case.result for case in expression.cases]
            return all(map(self._keeps_sealed, [*results, expression.default]))
        if isinstance(expression, Value):
            return expression.value is None or isinstance(
                expression.output_field, EncryptedKeyField
            )
        return isinstance(expression, Col) and isinstance(expression.target, EncryptedKeyField)
