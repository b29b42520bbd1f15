"""What each user should have after anything that can happen: the life of a connection in short.

Plain Python, written from the documentation. It knows nothing of the database or of HTTP, and takes
what OpenRouter said for a fact.
"""

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from .provider import WELL, Exchange

LONGEST_ATTEMPT = timedelta(minutes=30)
FRESH = timedelta(minutes=5)
CHECK_INTERVAL = timedelta(seconds=30)
MOST_PENDING = 5
MOST_ENDED = 20
CODE_TRIES = 5


@dataclass(eq=False)
class Stored:
    """A key that a user has."""

    key: str
    sealed_with: str
    checked_at: datetime | None
    status: str = "active"
    check_began_at: datetime | None = None


@dataclass(eq=False)
class Attempt:
    """An attempt to connect; ``outcome`` is empty until it has ended."""

    user: str
    browser: int | None
    mode: str
    started_at: datetime
    sealed_with: str
    is_claimed: bool = False
    is_dropped: bool = False
    outcome: str = ""
    tries: int = 0


@dataclass
class Visitor:
    """Who is signed in in a browser, and the number by which its session knows the browser."""

    user: str | None = None
    browser: int | None = None


@dataclass
class Reference:
    """The site, as it should be.

    Attributes:
        ring: the encryption keys that the site has, newest first.
        lost: those that it had.
    """

    ring: list[str] = field(default_factory=lambda: ["encryption key 0"])
    lost: list[str] = field(default_factory=list)
    stored: dict[str, Stored] = field(default_factory=dict)
    attempts: list[Attempt] = field(default_factory=list)
    now: datetime = datetime(2030, 1, 1, tzinfo=UTC)
    browsers: int = 0
    made: int = 0

    def is_readable(self, thing: Stored | Attempt) -> bool:
        """Return whether the site has the encryption key for something that it holds."""
        return thing.sealed_with in self.ring

    def age(self, attempt: Attempt) -> timedelta:
        """Return how long ago an attempt was started."""
        return self.now - attempt.started_at

    # Attempts

    def begin(self, visitor: Visitor, mode: str = "callback") -> Attempt:
        """Start an attempt; of a user's older ones few are kept."""
        assert visitor.user
        mine = [one for one in self.attempts if one.user == visitor.user and not one.is_dropped]
        pending = [one for one in mine if not one.is_claimed]
        alive = [one for one in pending if self.age(one) < LONGEST_ATTEMPT]
        ended = [one for one in mine if one.outcome]
        kept = alive[1 - MOST_PENDING :] + ended[-MOST_ENDED:]
        for one in [*pending, *ended]:
            one.is_dropped = one not in kept
        if mode != "pasted" and visitor.browser is None:
            self.browsers += 1
            visitor.browser = self.browsers
        attempt = Attempt(visitor.user, visitor.browser, mode, self.now, self.ring[0])
        attempt.is_claimed = mode == "pasted"
        self.attempts.append(attempt)
        return attempt

    def code_page(self, visitor: Visitor) -> Attempt:
        """Go on with the attempt of this browser for which a code is awaited, or start one."""
        waiting = [
            one
            for one in self._of_browser(visitor)
            if one.user == visitor.user and not one.is_claimed and self.age(one) < LONGEST_ATTEMPT
        ]
        if waiting and self.is_readable(waiting[-1]):
            return waiting[-1]
        return self.begin(visitor, "code")

    def _of_browser(self, visitor: Visitor) -> list[Attempt]:
        return [
            one
            for one in self.attempts
            if one.mode == "code" and one.browser == visitor.browser and not one.is_dropped
        ]

    def awaited(self, visitor: Visitor) -> Attempt | None:
        """Return the attempt to which a code belongs that is entered in this browser."""
        mine = self._of_browser(visitor)
        return next(iter([one for one in mine if not one.is_claimed][-1:] or mine[-1:]), None)

    def claim(self, visitor: Visitor, attempt: Attempt | None, answer: str = "") -> str:
        """Take an attempt for what came back; return the code of what is wrong, or nothing.

        Args:
            visitor: who came back.
            attempt: to which attempt; ``None`` for none that the site knows.
            answer: empty if a code came back, else the code of what that answer means.
        """
        if visitor.browser is None or attempt is None or attempt.is_dropped:
            return "state_unknown"
        if attempt.browser != visitor.browser or answer == "state_unknown":
            return "state_unknown"
        if attempt.user != visitor.user:
            return "user_mismatch"
        if attempt.is_claimed:
            stored = self.stored.get(attempt.user)
            is_usable = stored is not None and stored.status == "active"
            is_again = attempt.mode == "callback" and attempt.outcome == "connected"
            return "connected" if is_usable and is_again else "state_unknown"
        attempt.is_claimed = True
        if self.age(attempt) > LONGEST_ATTEMPT:
            attempt.outcome = "state_expired"
        elif answer:
            attempt.outcome = answer
        elif not self.is_readable(attempt):
            attempt.outcome = "state_unknown"
        return attempt.outcome

    def finish(self, attempt: Attempt, exchange: Exchange, verdict: str) -> str:
        """Return how an attempt ends with what OpenRouter answered to exchange and first check."""
        outcome = exchange.refusal
        if exchange.key:
            is_refused = verdict in {"key_rejected", "management_key"}
            outcome = verdict if is_refused else self.keep(attempt, exchange.key, verdict == WELL)
        if outcome == "exchange_rejected" and attempt.mode == "code":
            attempt.tries += 1
            if attempt.tries < CODE_TRIES:
                attempt.is_claimed = False
                return outcome
        attempt.outcome = outcome
        return outcome

    def keep(self, attempt: Attempt, key: str, is_checked: bool) -> str:
        """Store a key, unless the user disconnected meanwhile; return the outcome."""
        if attempt.is_dropped:
            return "storage_failed"
        checked_at = self.now if is_checked else None
        self.stored[attempt.user] = Stored(key, self.ring[0], checked_at)
        attempt.outcome = "connected"
        return attempt.outcome

    def adopt(self, attempt: Attempt, key: str, verdict: str) -> str:
        """Return how an attempt ends with what OpenRouter said about a key that was pasted."""
        attempt.outcome = self.keep(attempt, key, True) if verdict == WELL else verdict
        return attempt.outcome

    def disconnect(self, user: str) -> str:
        """Forget a user's key and whatever has not ended; return the code of the message."""
        for one in self.attempts:
            one.is_dropped |= one.user == user and not one.outcome
        return "disconnected" if self.stored.pop(user, None) else "not_connected"

    # Keys

    def reveal(self, stored: Stored) -> bool:
        """Return whether a key can be revealed; its status follows."""
        if stored.status == "active" and not self.is_readable(stored):
            stored.status = "unreadable"
        elif stored.status == "unreadable" and self.is_readable(stored):
            stored.status = "active"
        return self.is_readable(stored)

    def use(self, user: str) -> str:
        """Return the key that somebody's code gets, or the code of the error."""
        stored = self.stored.get(user)
        if stored is None:
            return "not_connected"
        if stored.status == "rejected":
            return "key_rejected"
        return stored.key if self.reveal(stored) else "key_unreadable"

    def begin_check(self, stored: Stored | None) -> str:
        """Take the turn to ask about a key; return the code of what is wrong, or nothing."""
        if stored is None:
            return "not_connected"
        began_at = stored.check_began_at
        if began_at is not None and self.now - began_at < CHECK_INTERVAL:
            return "throttled"
        stored.check_began_at = self.now
        return "" if self.reveal(stored) else "key_unreadable"

    def end_check(self, user: str, stored: Stored, verdict: str) -> str:
        """Take note of what OpenRouter said about a key, if the user still has it."""
        if self.stored.get(user) is not stored:
            return "key_changed"
        if verdict in {WELL, "key_rejected"}:
            stored.checked_at = self.now
            stored.status = "active" if verdict == WELL else "rejected"
        return "checked" if verdict == WELL else verdict

    def wants_check(self, stored: Stored | None) -> bool:
        """Return whether the connection page asks OpenRouter before it is shown."""
        if stored is None or stored.status == "unreadable":
            return False
        return stored.checked_at is None or self.now - stored.checked_at > FRESH

    # Encryption keys

    def add(self) -> None:
        """Put a new encryption key in front."""
        self.made += 1
        self.ring.insert(0, f"encryption key {self.made}")

    def lose(self, number: int) -> None:
        """Take one of the encryption keys away; there is always one."""
        self.lost.append(self.ring.pop(number % len(self.ring)))
        if not self.ring:
            self.add()

    def bring_back(self) -> None:
        """Put those that were lost back, at the end."""
        self.ring.extend(self.lost)
        self.lost.clear()

    def rotate(self) -> int:
        """Encrypt every key anew with the newest encryption key; return how many cannot be."""
        for stored in self.stored.values():
            if self.is_readable(stored):
                stored.sealed_with = self.ring[0]
        return sum(not self.is_readable(stored) for stored in self.stored.values())
