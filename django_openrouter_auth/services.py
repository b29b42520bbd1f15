"""The use cases: begin, complete, disconnect, and reading a key. Only this module writes rows.

A connection is made in this order, and no step touches the network inside a transaction::

    begin ──> attempt row ──> (OpenRouter) ──> claim ──> exchange ──> GET /key ──> store
"""

import hashlib
import logging
import re
import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlencode, urlsplit

from django.contrib.auth import get_user_model
from django.contrib.auth.base_user import AbstractBaseUser
from django.contrib.auth.models import AnonymousUser
from django.core.exceptions import FieldDoesNotExist, ImproperlyConfigured
from django.db import DatabaseError, IntegrityError, router, transaction
from django.db.models import Q
from django.urls import reverse
from django.utils import timezone
from django.utils.crypto import constant_time_compare
from django.utils.datastructures import MultiValueDict
from django.views.decorators.debug import sensitive_variables

from .conf import LOOPBACK_HOSTS, app_settings, declared_settings
from .exceptions import (
    AccessDenied,
    AttemptInProgress,
    AttemptInterrupted,
    AttemptUsed,
    CodeMalformed,
    CodeMissing,
    InsecureCallback,
    KeyRefusedAtConnect,
    KeyRejected,
    KeyUnreadable,
    ManagementKey,
    Misconfigured,
    ModeMismatch,
    NotConnected,
    OpenRouterAuthError,
    ProviderErrorParam,
    StateExpired,
    StateUnknown,
    StorageFailed,
    UserMismatch,
)
from .models import ConnectAttempt, ConnectAttemptQuerySet, OpenRouterKey
from .pkce import make_code_challenge, make_code_verifier

if TYPE_CHECKING:
    from .client import ExchangedKey, OpenRouterConnection, OpenRouterSession
    from .key_info import KeyInfo

logger = logging.getLogger("django_openrouter_auth")

User = AbstractBaseUser | AnonymousUser

STATE = re.compile(r"[A-Za-z0-9_-]{43}")
CODE = re.compile(r"[\x21-\x7e]{1,512}")
CONNECTED = "connected"
FIRST_CHECK_PATIENCE = 5
ENDED_ATTEMPTS_KEPT = 20
STORE_TRIES = 10


@dataclass(frozen=True)
class Connected:
    """What a finished attempt came to.

    Attributes:
        next_url: where the user wanted to go, or an empty string.
        is_new: whether this request made the connection, rather than an earlier one.
        is_checked: whether OpenRouter confirmed the key.
        replaced_hash: fingerprint of the key that was stored before, or ``None``.
    """

    next_url: str
    is_new: bool
    is_checked: bool = True
    replaced_hash: str | None = None


def _hash(value: str) -> str:
    return hashlib.sha256(value.encode()).hexdigest()


def _attempts() -> ConnectAttemptQuerySet:
    return ConnectAttempt.objects.using(router.db_for_write(ConnectAttempt))


def _keys() -> Any:
    return OpenRouterKey.objects.using(router.db_for_write(OpenRouterKey))


def _connect() -> "OpenRouterConnection":
    # requests takes long to import, and most processes never call OpenRouter.
    from .client import OpenRouterConnection  # noqa: PLC0415 - as said

    return OpenRouterConnection()


# Begin


@sensitive_variables()
def begin(
    *, user: AbstractBaseUser, browser: str, origin: str, next_url: str = "", key_label: str = ""
) -> str:
    """Start an attempt and return the URL of OpenRouter's consent page for it.

    Args:
        user: who connects.
        browser: the random value that this browser's session holds.
        origin: scheme and host of this site, as OpenRouter and the browser reach it.
        next_url: a path of this site to return to, already checked.
        key_label: the name that the key shall have at OpenRouter, at most 100 characters.

    Raises:
        InsecureCallback: OpenRouter would not return to this origin.
        Misconfigured: a URL setting or the encryption keys cannot be used.

    Source: OpenRouter OAuth PKCE guide, step 1.
    """
    _require_usable_settings()
    _require_accepted_callback(origin)
    state = secrets.token_urlsafe(32)
    method = app_settings.CODE_CHALLENGE_METHOD
    verifier = make_code_verifier() if method is not None else None
    now = timezone.now()
    attempts = _attempts()
    attempts.superfluous(
        user.pk,
        since=now - app_settings.ATTEMPT_MAX_AGE,
        pending=app_settings.MAX_PENDING_ATTEMPTS - 1,
        ended=ENDED_ATTEMPTS_KEPT,
    ).delete()
    try:
        attempts.create(
            user_id=user.pk,
            state_hash=_hash(state),
            browser_hash=_hash(browser),
            code_verifier=verifier,
            method=method or "",
            next_url=next_url,
            created_at=now,
        )
    except ImproperlyConfigured:
        failure = Misconfigured(stage="start")
    else:
        challenge = make_code_challenge(verifier, method) if verifier and method else None
        return _authorization_url(origin, state, challenge, method, key_label)
    raise failure


def _require_usable_settings() -> None:
    by_name = declared_settings()
    for name in ("SITE_URL", "AUTHORIZE_URL", "API_URL"):
        if by_name[f"OPENROUTER_AUTH_{name}"].is_wrong():
            raise Misconfigured(stage="start")


def _require_accepted_callback(origin: str) -> None:
    """Refuse an origin that OpenRouter does not return to.

    Source: OpenRouter OAuth PKCE guide: https, or http on localhost and 127.0.0.1, any port.
    """
    parts = urlsplit(origin)
    if parts.scheme != "https" and not (
        parts.scheme == "http" and parts.hostname in LOOPBACK_HOSTS
    ):
        raise InsecureCallback(stage="start")


def _authorization_url(
    origin: str, state: str, challenge: str | None, method: str | None, key_label: str
) -> str:
    ours: dict[str, Any] = {
        "callback_url": origin.rstrip("/") + reverse("openrouter_auth:callback", args=[state]),
        "code_challenge": challenge,
        "code_challenge_method": method,
        "key_label": key_label or None,
        "state": state,
    }
    wanted = {**app_settings.AUTHORIZE_PARAMS, **ours}
    query = urlencode(
        {
            name: str(value).lower() if isinstance(value, bool) else value
            for name, value in wanted.items()
            if value is not None
        },
        quote_via=quote,
    )
    url = app_settings.AUTHORIZE_URL
    return f"{url}{'&' if '?' in url else '?'}{query}"


# Complete


@sensitive_variables()
def complete(
    *, user: AbstractBaseUser, browser: str | None, state: str, answer: MultiValueDict[str, str]
) -> Connected:
    """Finish an attempt with what OpenRouter sent along: exchange the code and store the key.

    Args:
        user: who is signed in now.
        browser: the random value that this browser's session holds, if any.
        state: the state from the callback's path.
        answer: the query parameters of the callback.

    Raises:
        OpenRouterAuthError: its ``code`` tells what happened; an existing connection is
            untouched. Callbacks that fit no attempt of this user and browser change nothing.

    Source: OpenRouter OAuth PKCE guide, step 2.
    """
    attempt = _find_attempt(user, browser, state, answer)
    if attempt.claimed_at is not None:
        return _first_result(attempt)
    now = timezone.now()
    if not _attempts().pending().filter(pk=attempt.pk).update(claimed_at=now):
        raise AttemptInProgress(stage="callback")
    unexpected = ""
    failure: OpenRouterAuthError
    try:
        _require_age(attempt, now)
        return _exchange_and_store(attempt, user, _read_code(answer))
    except OpenRouterAuthError as error:
        failure = error
    # The promise is that nothing at all leaves here unhandled: Django's report of an unhandled
    # exception would hold the request, and so the code.
    except Exception as error:  # noqa: BLE001 - as said
        unexpected = type(error).__name__
        failure = OpenRouterAuthError(stage="callback", outcome_unknown=True)
    _end(attempt, failure, unexpected)
    failure.next_url = attempt.next_url
    raise failure.with_traceback(None)


def _find_attempt(
    user: AbstractBaseUser, browser: str | None, state: str, answer: MultiValueDict[str, str]
) -> Any:
    """Return the attempt on which row, browser, user and mode agree."""
    echoed = answer.getlist("state")
    if not STATE.fullmatch(state) or any(value != state for value in echoed):
        raise StateUnknown(stage="callback")
    attempt = _attempts().with_stored_key().filter(state_hash=_hash(state)).first()
    if attempt is None or browser is None:
        raise StateUnknown(stage="callback")
    # The browser comes first: only the browser that started it may learn whose attempt it is.
    if not constant_time_compare(attempt.browser_hash, _hash(browser)):
        raise StateUnknown(stage="callback")
    if attempt.user_id != user.pk:
        raise UserMismatch(stage="callback")
    if attempt.mode != ConnectAttempt.Mode.CALLBACK:
        raise ModeMismatch(stage="callback")
    return attempt


def _first_result(attempt: Any) -> Connected:
    """Tell the result of the request that claimed this attempt."""
    if attempt.outcome == CONNECTED and attempt.stored_key_hash is not None:
        return Connected(next_url=attempt.next_url, is_new=False)
    if attempt.outcome:
        raise AttemptUsed(stage="callback")
    longest = timedelta(seconds=sum(app_settings.TIMEOUT) + FIRST_CHECK_PATIENCE + 30)
    if timezone.now() - attempt.claimed_at < longest:
        raise AttemptInProgress(stage="callback")
    raise AttemptInterrupted(stage="callback", outcome_unknown=True)


def _require_age(attempt: ConnectAttempt, now: datetime) -> None:
    age = now - attempt.created_at
    # A small negative age is the clock of another web server, a large one is nonsense.
    if not -timedelta(minutes=1) <= age <= app_settings.ATTEMPT_MAX_AGE:
        raise StateExpired(stage="callback")


def _read_code(answer: MultiValueDict[str, str]) -> str:
    """Return the authorization code; it is opaque, so only its shape is looked at.

    Source: OpenRouter OAuth PKCE guide for ``code``; a denial arrives as ``error=access_denied``.
    """
    if "error" in answer:
        denied = answer.getlist("error") == ["access_denied"]
        raise AccessDenied(stage="callback") if denied else ProviderErrorParam(stage="callback")
    codes = answer.getlist("code")
    if not any(codes):
        raise CodeMissing(stage="callback")
    if len(codes) > 1 or not CODE.fullmatch(codes[0]):
        raise CodeMalformed(stage="callback")
    return codes[0]


@sensitive_variables()
def _exchange_and_store(attempt: Any, user: AbstractBaseUser, code: str) -> Connected:
    method = attempt.method or None
    verifier = attempt.code_verifier.reveal() if method else None
    with _connect() as connection:
        exchanged = connection.exchange_code(code, verifier, method)
        is_refused, info = False, None
        try:
            info = connection.read_key(exchanged.api_key, patience=FIRST_CHECK_PATIENCE)
        except KeyRejected:
            is_refused = True
        # The code is spent and the key exists: whatever went wrong here must not lose it.
        except Exception as error:  # noqa: BLE001 - as said
            logger.info("openrouter new key not checked: %s user=%s", type(error).__name__, user.pk)
    if is_refused:
        raise KeyRefusedAtConnect(stage="status", outcome_unknown=True)
    if info is not None and info.is_management_key:
        raise ManagementKey(stage="status")
    replaced = _store(attempt, user, exchanged, info)
    return Connected(attempt.next_url, True, info is not None, replaced)


@sensitive_variables()
def _store(
    attempt: Any, user: AbstractBaseUser, exchanged: "ExchangedKey", info: "KeyInfo | None"
) -> str | None:
    """Store a new key and return the fingerprint of the one that it replaced.

    The attempt's outcome is written first and guards the rest: where a disconnect removed the
    attempt meanwhile, or the user is gone, no key is stored.
    """
    now = timezone.now()
    values = {
        **OpenRouterKey.derive(user.pk, exchanged.api_key),
        **_known(info, now),
        "source": OpenRouterKey.Source.OAUTH,
        "status": OpenRouterKey.Status.ACTIVE,
        "openrouter_user_id": exchanged.openrouter_user_id,
        "connected_at": now,
        "updated_at": now,
    }
    replaced: str | None = attempt.stored_key_hash
    mine = _attempts().unfinished().filter(_still_active(user), pk=attempt.pk)
    for _ in range(STORE_TRIES):
        try:
            with transaction.atomic(using=router.db_for_write(OpenRouterKey)):
                if not mine.update(outcome=CONNECTED):
                    break
                if _write_key(user, values, replaced):
                    return replaced
                transaction.set_rollback(True, using=router.db_for_write(OpenRouterKey))
        # Another request stored or removed a key between our look and our write: look again.
        except IntegrityError:
            pass
        except DatabaseError:
            break
        replaced = _keys().filter(user_id=user.pk).values_list("key_hash", flat=True).first()
    raise StorageFailed(stage="save", outcome_unknown=True)


def _write_key(user: AbstractBaseUser, values: dict[str, Any], replaced: str | None) -> bool:
    """Insert the key, or replace exactly the one that is expected to be there."""
    if replaced is None:
        _keys().create(user_id=user.pk, **values)
        return True
    return bool(_keys().filter(user_id=user.pk, key_hash=replaced).update(**values))


def _known(info: "KeyInfo | None", now: datetime) -> dict[str, Any]:
    """Return the fields that describe a key, emptied where OpenRouter told nothing."""
    return {
        "label": info.label if info else "",
        "usage": info.usage if info else None,
        "limit": info.limit if info else None,
        "limit_remaining": info.limit_remaining if info else None,
        "limit_reset": info.limit_reset if info else "",
        "is_free_tier": info.is_free_tier if info else None,
        "expires_at": info.expires_at if info else None,
        "checked_at": now if info else None,
    }


def _still_active(user: AbstractBaseUser) -> Q:
    """Return the condition that the user of a row may still sign in."""
    model = get_user_model()
    try:
        model._meta.get_field("is_active")
    except FieldDoesNotExist:
        return Q()
    return Q(user__in=model._base_manager.filter(pk=user.pk, is_active=True).values("pk"))


def _end(attempt: ConnectAttempt, failure: OpenRouterAuthError, unexpected: str) -> None:
    """Write down how an attempt failed."""
    logger.log(
        logging.INFO if failure.level == "info" else logging.WARNING,
        "openrouter connect failed: code=%s stage=%s status=%s user=%s%s",
        failure.code,
        failure.stage,
        failure.status_code,
        attempt.user_id,
        f" unexpected={unexpected}" if unexpected else "",
    )
    try:
        _attempts().unfinished().filter(pk=attempt.pk).update(outcome=failure.code)
    except DatabaseError:
        logger.warning("openrouter attempt not closed: user=%s", attempt.user_id)


# Disconnect


def disconnect(user: AbstractBaseUser) -> str | None:
    """Delete a user's stored key and unfinished attempts; return the key's fingerprint.

    Works while OpenRouter is down and for keys that can no longer be read. The key itself stays
    alive at OpenRouter: an app cannot revoke it.
    """
    with transaction.atomic(using=router.db_for_write(OpenRouterKey)):
        # The attempts go first, so that an exchange under way finds its row gone (see _store).
        _attempts().unfinished().filter(user_id=user.pk).delete()
        mine = _keys().filter(user_id=user.pk)
        key_hash: str | None = mine.values_list("key_hash", flat=True).first()
        mine.delete()
    return key_hash


# Use


def find_key(user: AbstractBaseUser) -> OpenRouterKey | None:
    """Return a user's key row, with the secret left in the database; ``None`` without one."""
    key: OpenRouterKey | None = _keys().defer("secret").filter(user_id=user.pk).first()
    return key


def find_key_once(user: AbstractBaseUser) -> OpenRouterKey | None:
    """Return a user's key row, asking the database once per user object.

    The answer, also that there is none, is kept where ``user.openrouter_key`` keeps it.
    """
    relation: Any = OpenRouterKey._meta.get_field("user").remote_field
    if not relation.is_cached(user):
        relation.set_cached_value(user, find_key(user))
    key: OpenRouterKey | None = relation.get_cached_value(user)
    return key


def reveal_key(user: User | None) -> str:
    """Return a user's key in plain text.

    Raises:
        NotConnected: the user has no key, or nobody is signed in.
        KeyRejected: OpenRouter rejected the key.
        KeyUnreadable: the key cannot be decrypted; the row says so from now on.
    """
    return _reveal(user)[1]


def open_session(user: User | None) -> "OpenRouterSession":
    """Return a session that calls OpenRouter with a user's key; raises as ``reveal_key`` does."""
    from .client import OpenRouterSession  # noqa: PLC0415 - see _connect

    key, api_key = _reveal(user)
    return OpenRouterSession(api_key, is_rejected=lambda: _confirm_rejection(key, api_key))


@sensitive_variables()
def _reveal(user: User | None) -> tuple[OpenRouterKey, str]:
    key: OpenRouterKey | None = None
    if user is not None and user.pk is not None:
        key = _keys().filter(user_id=user.pk).first()
    if key is None:
        raise NotConnected(stage="use")
    if key.status == OpenRouterKey.Status.REJECTED:
        raise KeyRejected(stage="use")
    try:
        api_key: str = key.secret.reveal()
    except KeyUnreadable:
        _set_status(key, OpenRouterKey.Status.UNREADABLE, unless=OpenRouterKey.Status.REJECTED)
        raise
    if key.status == OpenRouterKey.Status.UNREADABLE:
        _set_status(key, OpenRouterKey.Status.ACTIVE, unless=OpenRouterKey.Status.REJECTED)
    return key, api_key


@sensitive_variables()
def _confirm_rejection(key: OpenRouterKey, api_key: str) -> bool:
    """Ask OpenRouter whether a key is dead, after it answered 401; if so, write it down."""
    try:
        with _connect() as connection:
            connection.read_key(api_key)
    except KeyRejected:
        _set_status(key, OpenRouterKey.Status.REJECTED, checked_at=timezone.now())
        return True
    except OpenRouterAuthError as error:
        logger.info("openrouter 401 not confirmed: code=%s user=%s", error.code, key.user_id)
    return False


def _set_status(key: OpenRouterKey, status: str, *, unless: str = "", **also: datetime) -> None:
    """Change the status of the very key that was looked at, never of one that replaced it."""
    same = _keys().filter(pk=key.pk, key_hash=key.key_hash)
    same.exclude(status__in=[status, unless]).update(
        status=status, updated_at=timezone.now(), **also
    )
