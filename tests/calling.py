"""What the tests of using a key share: a working key, and what a model is asked and answers."""

import os
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.utils import timezone

from django_openrouter_auth.models import OpenRouterKey
from django_openrouter_auth.signals import key_rejected

from .connecting import KEY
from .standin import Standin

CHAT = "/api/v1/chat/completions"
ASKED: dict[str, Any] = {"model": "m", "messages": [{"role": "user", "content": "Hello"}]}
CHOICE = {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "Hi"}}
ANSWER = {
    "id": "gen-1",
    "object": "chat.completion",
    "created": 1,
    "model": "m",
    "system_fingerprint": None,
    "choices": [CHOICE],
}


def begin_anew() -> None:
    """Forget connections and certificates, as another process would begin."""
    # Every test session loads this file, and few need the SDKs.
    from django_openrouter_auth import openai_sdk, openrouter_sdk, sdks

    for module in (openai_sdk, openrouter_sdk):
        sdks._connections(module.KeyClient, os.getpid()).close()
    sdks._connections.cache_clear()
    sdks._trust_store.cache_clear()


@pytest.fixture
def pools() -> Iterator[None]:
    """The connections of this process, closed when the test ends."""
    yield
    begin_anew()


@pytest.fixture
def key(user: User, standin: Standin) -> OpenRouterKey:
    """The key row of ``user``, whose key OpenRouter knows."""
    standin.minted.append(KEY)
    derived = OpenRouterKey.derive(user.pk, KEY)
    return OpenRouterKey.objects.create(user=user, connected_at=timezone.now(), **derived)


def attempt(call: Callable[[], Any]) -> Any:
    """Return what a call returns or raises."""
    try:
        return call()
    except Exception as error:  # noqa: BLE001 - what it may be is asserted later
        return error


async def attempt_async(call: Callable[[], Any]) -> Any:
    """Return what an asynchronous call returns or raises."""
    try:
        return await call()
    except Exception as error:  # noqa: BLE001 - whatever a call raises is looked at
        return error


@pytest.fixture
def rejections() -> Iterator[list[Any]]:
    """The keys of which ``key_rejected`` was sent."""
    heard: list[Any] = []

    def listen(user: Any, key: Any, **others: Any) -> None:
        heard.append(key)

    key_rejected.connect(listen)
    yield heard
    key_rejected.disconnect(listen)
