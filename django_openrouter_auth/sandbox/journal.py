"""The journal of API requests: what a client really sent, without its secrets."""

import json
import re

from django.db import models
from django.http import HttpRequest
from django.utils import timezone

from .tokens import KEY, digest, mask

KEPT = 500
"""How many requests the journal remembers."""

BEARER = re.compile(r"Bearer\s+(\S+)", re.IGNORECASE)


def bearer_key(request: HttpRequest) -> str:
    """Return the key of the ``Authorization`` header, or ``""``."""
    found = BEARER.fullmatch(request.headers.get("Authorization", "").strip())
    return found[1] if found else ""


def json_object(request: HttpRequest) -> dict[str, object]:
    """Return the body of a request as a JSON object; anything else counts as ``{}``."""
    try:
        body = json.loads(request.body)
    except ValueError:
        return {}
    return body if isinstance(body, dict) else {}


class SandboxRequestQuerySet(models.QuerySet["SandboxRequest"]):
    """Questions that a test asks."""

    def exchanges(self, code: str | None = None) -> "SandboxRequestQuerySet":
        """Return the attempts to exchange a code: one code's, or all."""
        found = self.filter(path__endswith="/auth/keys", method="POST")
        return found if code is None else found.filter(code_hash=digest(code))

    def with_key(self, key: str) -> "SandboxRequestQuerySet":
        """Return the requests that carried a key."""
        return self.filter(key_hash=digest(key))

    def management(self) -> "SandboxRequestQuerySet":
        """Return the calls to ``/keys`` and below; an app has no business there."""
        return self.filter(path__regex=r"/api/v1/keys(/|$)")


class SandboxRequest(models.Model):
    """One request to the API, as the sandbox saw it."""

    at = models.DateTimeField()
    method = models.CharField(max_length=16)
    path = models.CharField(max_length=500)
    status = models.PositiveSmallIntegerField()
    code_hash = models.CharField(max_length=64, blank=True)
    key_hash = models.CharField(max_length=64, blank=True)
    had_authorization = models.BooleanField()
    user_agent = models.CharField(max_length=300, blank=True)
    http_referer = models.CharField(max_length=300, blank=True)
    title = models.CharField(max_length=300, blank=True)
    categories = models.CharField(max_length=300, blank=True)
    visibility = models.CharField(max_length=300, blank=True)

    objects = SandboxRequestQuerySet.as_manager()

    class Meta:
        ordering = ["-pk"]
        verbose_name = "request"

    def __str__(self) -> str:
        return f"{self.method} {self.path} {self.status}"

    @classmethod
    def record(cls, request: HttpRequest, status: int) -> None:
        """Write a request down and forget the oldest ones.

        Source: OpenRouter documentation, "App attribution", for the headers.
        """
        code = json_object(request).get("code")
        key = bearer_key(request)
        headers = request.headers
        cls.objects.create(
            at=timezone.now(),
            method=(request.method or "")[:16],
            # A client that mistakes the key for its hash would put it into the path.
            path=KEY.sub(lambda found: mask(found[0]), request.path)[:500],
            status=status,
            code_hash=digest(code) if isinstance(code, str) else "",
            key_hash=digest(key) if key else "",
            had_authorization="Authorization" in headers,
            user_agent=headers.get("User-Agent", "")[:300],
            http_referer=headers.get("Referer", "")[:300],
            title=headers.get("X-OpenRouter-Title", headers.get("X-Title", ""))[:300],
            categories=headers.get("X-OpenRouter-Categories", "")[:300],
            visibility=headers.get("X-OpenRouter-App-Visibility", "")[:300],
        )
        oldest_kept = cls.objects.values_list("pk", flat=True)[KEPT - 1 : KEPT].first()
        if oldest_kept is not None:
            cls.objects.filter(pk__lt=oldest_kept).delete()
