"""Everything that can go wrong, each with a stable code and words for a person.

No exception carries anything that came from OpenRouter or from the request: neither a key, a
code, a verifier nor a response body. Text, ``repr``, ``args`` and pickle are safe to log.
"""

from datetime import datetime
from typing import ClassVar

from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _


class OpenRouterAuthError(Exception):
    """The root of the tree; raised itself (code ``internal``) for what nobody foresaw.

    Args:
        stage: where it happened: ``start``, ``callback``, ``exchange``, ``status``, ``save`` or
            ``use``.
        status_code: the HTTP status that OpenRouter answered with, if it did.
        retry_after: seconds to wait before the next try, if OpenRouter named them.
        outcome_unknown: whether OpenRouter may have made a key that nobody holds now.
    """

    code: ClassVar[str] = "internal"
    http_status: ClassVar[int] = 500
    level: ClassVar[str] = "error"
    recovery: ClassVar[str] = "restart"
    message: ClassVar[str | Promise] = _(
        "Something unexpected went wrong on this site. If OpenRouter is not shown as connected, "
        "please start again."
    )

    def __init__(
        self,
        *,
        stage: str = "",
        status_code: int | None = None,
        retry_after: int | None = None,
        outcome_unknown: bool = False,
    ) -> None:
        super().__init__()
        self.stage = stage
        self.status_code = status_code
        self.retry_after = retry_after
        self.outcome_unknown = outcome_unknown
        #: A path of this site to which the user wanted to go, where an attempt was found.
        self.next_url = ""
        #: Primary key, fingerprint and time of connecting of the key that this is a verdict about.
        self.row: tuple[int, str, datetime] | None = None

    def __str__(self) -> str:
        return str(self.message)


# Using a key


class NotConnected(OpenRouterAuthError):
    """Raised when a user has no key, or nobody is signed in."""

    code = "not_connected"
    http_status = 403
    level = "info"
    recovery = "connect"
    message = _("OpenRouter is not connected. Connect it to go on.")


class KeyChanged(NotConnected):
    """Raised when a key was replaced, deleted or checked anew while OpenRouter was asked."""

    code = "key_changed"
    http_status = 409
    recovery = "none"
    message = _(
        "Your connection changed while the key was checked, so the result was dropped. What you "
        "see is how it is now."
    )


class KeyRejected(OpenRouterAuthError):
    """Raised when OpenRouter answered 401 to ``GET /key`` for this key."""

    code = "key_rejected"
    http_status = 409
    level = "warning"
    recovery = "reconnect"
    message = _(
        "OpenRouter no longer accepts this key: it was deleted, switched off or has expired. "
        "This site cannot use it. Connect again to get a new one."
    )


class Throttled(OpenRouterAuthError):
    """Raised when OpenRouter was asked about the same key less than 30 seconds ago."""

    code = "throttled"
    http_status = 429
    level = "warning"
    recovery = "wait"
    message = _(
        "OpenRouter was asked about this key a moment ago, so it was not asked again. Nothing was "
        "changed. You can check the key again in half a minute."
    )


class KeyUnreadable(OpenRouterAuthError):
    """Raised when a stored key cannot be decrypted or belongs to somebody else's row."""

    code = "key_unreadable"
    http_status = 409
    level = "warning"
    recovery = "reconnect"
    message = _(
        "The stored key can no longer be read, so this site cannot use it. Connect again to "
        "replace it."
    )


# Starting


class InsecureCallback(OpenRouterAuthError):
    """Raised when the callback is neither https nor on localhost, which OpenRouter refuses."""

    code = "insecure_callback"
    recovery = "administrator"
    message = _(
        "OpenRouter cannot be connected from this address: it only returns people to https "
        "pages, or to localhost. Nothing was changed. The administrator of this site can set "
        "OPENROUTER_AUTH_SITE_URL to its public https address."
    )


class Misconfigured(OpenRouterAuthError):
    """Raised when a setting makes a safe start impossible."""

    code = "misconfigured"
    recovery = "administrator"
    message = _(
        "OpenRouter cannot be used: this site is not set up for it yet. Nothing was "
        'changed. The administrator can run "manage.py check" to see what is missing.'
    )


# Coming back


class NotAuthenticated(OpenRouterAuthError):
    """Raised when nobody is signed in."""

    code = "not_authenticated"
    http_status = 401
    level = "info"
    recovery = "log_in"
    message = _("You are not signed in, so nothing was changed. Please sign in and start again.")


class StateUnknown(OpenRouterAuthError):
    """Raised when a callback fits no pending attempt of this user in this browser."""

    code = "state_unknown"
    http_status = 400
    message = _(
        "This return from OpenRouter does not belong to a connection that you started in this "
        "browser. Nothing was changed. To connect, please start again."
    )


class AttemptUsed(StateUnknown):
    """Raised when an attempt has already ended, and left no key that can be used."""

    message = _(
        "This return from OpenRouter was already used, so that opening it again changed nothing. "
        "If OpenRouter is not shown as connected, please start again."
    )


class AttemptInProgress(StateUnknown):
    """Raised when another request is finishing the same attempt at this moment."""

    message = _(
        "Another request is just finishing this connection. Please reload this page in a moment "
        "to see the result."
    )


class AttemptInterrupted(StateUnknown):
    """Raised when the request that was finishing an attempt never came to its end."""

    message = _(
        "This connection was interrupted before it was finished. Nothing was saved. To connect, "
        "please start again."
    )


class StateExpired(OpenRouterAuthError):
    """Raised when an attempt is older than ``OPENROUTER_AUTH_ATTEMPT_MAX_AGE``."""

    code = "state_expired"
    http_status = 400
    message = _(
        "The connection was not finished in the time that this site waits. Nothing was changed. "
        "Please start again."
    )


class UserMismatch(OpenRouterAuthError):
    """Raised when an attempt was started by another user of this browser."""

    code = "user_mismatch"
    http_status = 403
    message = _(
        "This connection was started by another user of this site, so it was not finished. "
        "Nothing was changed. To connect your own account, please start again."
    )


class ModeMismatch(OpenRouterAuthError):
    """Raised when an attempt comes back by another way than the one it was started for."""

    code = "mode_mismatch"
    http_status = 400
    message = _(
        "This connection was started in another way, so it cannot be finished here. Nothing was "
        "changed. Please start again."
    )


class AccessDenied(OpenRouterAuthError):
    """Raised when the user chose *Deny* on OpenRouter's page."""

    code = "access_denied"
    http_status = 400
    level = "info"
    recovery = "none"
    message = _(
        "You did not allow access on OpenRouter, so nothing was changed. You can connect whenever "
        "you like."
    )


class ProviderErrorParam(OpenRouterAuthError):
    """Raised when OpenRouter returned with an error other than a denial."""

    code = "provider_error_param"
    http_status = 400
    message = _(
        "OpenRouter could not complete the connection. Nothing was changed. Please start again."
    )


class CodeMissing(OpenRouterAuthError):
    """Raised when OpenRouter returned with neither a code nor an error."""

    code = "code_missing"
    http_status = 400
    message = _(
        "OpenRouter returned without the code that is needed to connect. Nothing was changed. "
        "Please start again."
    )


class CodeMalformed(OpenRouterAuthError):
    """Raised when the code is not one value of 1 to 512 printable ASCII characters."""

    code = "code_malformed"
    http_status = 400
    message = _(
        "The code that came back from OpenRouter is damaged. Nothing was changed. "
        "Please start again."
    )


# Entering a code, or a key


class NoCodeEntered(CodeMissing):
    """Raised when the form for a code was sent without one."""

    recovery = "reenter"
    message = _(
        "No code was entered, so nothing was changed. Please enter the code that OpenRouter shows "
        "you."
    )


class EnteredCodeMalformed(CodeMalformed):
    """Raised when what was entered cannot be a code; no try is lost."""

    recovery = "reenter"
    message = _(
        "This does not look like a code from OpenRouter. Nothing was changed. Please copy it "
        "again, all of it and nothing else."
    )


class KeyInsteadOfCode(CodeMalformed):
    """Raised when an API key was entered in place of a code; it was neither used nor kept."""

    recovery = "reenter"
    message = _(
        "That was an API key and not a code, so it was neither used nor saved. Please enter the "
        "code that OpenRouter shows after you allow access."
    )


class KeyMalformed(OpenRouterAuthError):
    """Raised when what was pasted cannot be a key; OpenRouter was not asked."""

    code = "key_malformed"
    http_status = 400
    recovery = "reenter"
    message = _(
        "This does not look like an OpenRouter key. Nothing was saved. Please copy the key again, "
        "all of it and nothing else."
    )


class NoKeyEntered(KeyMalformed):
    """Raised when the form for a key was sent without one."""

    message = _("No key was entered, so nothing was saved. Please paste your OpenRouter key.")


# Talking to OpenRouter


class ProviderError(OpenRouterAuthError):
    """The parent of everything that OpenRouter, or the way to it, can do wrong."""


class ExchangeRejected(ProviderError):
    """Raised when OpenRouter refused the code (400 or 403)."""

    code = "exchange_rejected"
    http_status = 400
    message = _(
        "OpenRouter did not accept the code: it may have been used before or be too old. Nothing "
        "was saved. Please start again."
    )


class EnteredCodeRejected(ExchangeRejected):
    """Raised when OpenRouter refused a code that was entered, and it may be entered again."""

    recovery = "reenter"
    message = _(
        "OpenRouter did not accept this code. Nothing was saved. Please check that you copied all "
        "of it, or get a new one with the link on this page."
    )


class LastCodeRejected(ExchangeRejected):
    """Raised when OpenRouter refused the fifth code that was entered for one attempt."""

    message = _(
        "OpenRouter did not accept this code either, and five tries are used up. Nothing was "
        "saved. To go on, open the new link on this page and enter the code that it leads to."
    )


class RateLimited(ProviderError):
    """Raised when OpenRouter answered 429."""

    code = "rate_limited"
    http_status = 429
    recovery = "later"
    message = _(
        "OpenRouter is receiving too many requests right now. Nothing was changed here. Please "
        "wait a few minutes and try again."
    )


class ProviderUnavailable(ProviderError):
    """Raised when OpenRouter could not be reached, was too slow, broke off or answered 5xx."""

    code = "provider_unavailable"
    http_status = 503
    recovery = "later"
    message = _(
        "OpenRouter could not be reached or did not answer in time. Nothing was changed here. "
        "Please try again in a few minutes."
    )


class ProviderProtocol(ProviderError):
    """Raised when OpenRouter's answer is not what its documentation promises."""

    code = "provider_protocol"
    http_status = 502
    recovery = "report"
    message = _(
        "OpenRouter gave an answer that this site does not understand. Nothing was changed here. "
        "If it happens again, please tell the administrator of this site."
    )


class TLSError(ProviderError):
    """Raised when OpenRouter's certificate could not be verified."""

    code = "tls_error"
    http_status = 502
    recovery = "administrator"
    message = _(
        "This site could not be sure that it was talking to OpenRouter, so it stopped. Nothing "
        "was changed here. Please tell the administrator of this site."
    )


# A key that is not stored


class ManagementKey(OpenRouterAuthError):
    """Raised when the key could manage the whole account, which no site needs."""

    code = "management_key"
    http_status = 400
    recovery = "ordinary_key"
    message = _(
        "This is a management key: it controls your whole OpenRouter account and cannot call "
        "models, so this site does not use it. Please connect with an ordinary key."
    )


class StorageFailed(OpenRouterAuthError):
    """Raised when OpenRouter made a key, and it could not or may no longer be stored."""

    code = "storage_failed"
    message = _(
        "OpenRouter made a key, but this site could not save it, perhaps because you disconnected "
        "or your account on this site changed meanwhile. To connect, please start again."
    )


class PastedKeyRejected(KeyRejected):
    """Raised when OpenRouter answered 401 about a key that was pasted; it was not saved."""

    recovery = "reenter"
    message = _(
        "OpenRouter does not accept this key, so it was not saved: it may be incomplete, deleted, "
        "switched off or expired. Nothing was changed. Please copy it again, or use another key."
    )


class PastedKeyNotStored(StorageFailed):
    """Raised when a key that was pasted could not or may no longer be stored."""

    recovery = "reenter"
    message = _(
        "This site could not save the key, perhaps because the connection or the account on this "
        "site changed meanwhile. The key itself is as it was. Please try again."
    )


class NewKeyRejected(KeyRejected):
    """Raised when a brand-new key fails its first check; an old connection stays as it is."""

    message = _(
        "OpenRouter made a key and then did not accept it, so it was not saved. What was connected "
        "before stays as it is. Please start again."
    )


def message_of(code: str) -> str | Promise:
    """Return the words that go with a code; an unknown one is told as something unexpected."""
    kinds: list[type[OpenRouterAuthError]] = [OpenRouterAuthError]
    # The list grows while it is walked: parents come before their children.
    for kind in kinds:
        if kind.code == code:
            return kind.message
        kinds.extend(kind.__subclasses__())
    return OpenRouterAuthError.message
