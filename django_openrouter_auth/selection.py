"""Asking OpenRouter about a few chosen keys while somebody waits for the result."""

from collections.abc import Iterable
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from itertools import islice

from django.views.decorators.debug import sensitive_variables

from .exceptions import KeyChanged, OpenRouterAuthError
from .introspection import Turn, ask, settle, take_turn
from .key_info import KeyInfo
from .keys import key_rows, open_connection

ACCEPTED = "accepted"
# Three rounds of eight questions, each answered within five seconds or not at all.
SELECTION = 24
WORKERS = 8
PATIENCE = 5
LONGEST_WAIT = SELECTION // WORKERS * PATIENCE


@sensitive_variables()
def check_selection(pks: Iterable[int]) -> dict[int, str]:
    """Ask OpenRouter about a few keys, and write down what it says.

    Args:
        pks: primary keys; those beyond the first 24 are left alone.

    Returns:
        For each key, by its primary key, ``accepted`` or the code of what went wrong. Keys that
        are gone are left out.
    """
    codes: dict[int, str] = {}
    with ThreadPoolExecutor(WORKERS) as pool:
        under_way: dict[Future[KeyInfo | OpenRouterAuthError], Turn] = {}
        for key in key_rows().filter(pk__in=list(islice(pks, SELECTION))):
            try:
                turn = take_turn(key)
            except OpenRouterAuthError as error:
                codes[key.pk] = error.code
            else:
                under_way[pool.submit(_ask, turn.api_key)] = turn
        for future in as_completed(under_way):
            turn, answer = under_way[future], future.result()
            code = ACCEPTED if isinstance(answer, KeyInfo) else answer.code
            codes[turn.key.pk] = code if settle(turn, answer) else KeyChanged.code
    return codes


@sensitive_variables()
def _ask(api_key: str) -> KeyInfo | OpenRouterAuthError:
    with open_connection() as connection:
        return ask(api_key, connection, patience=PATIENCE)
