"""Recognises repeated submissions: an SDK repeats a request by itself after a lost answer, and says so in headers.

The SDKs send no idempotency key with a repetition. A repetition has the same API key, the same body, and a count of 1
or more.
"""

import re
from collections.abc import Mapping
from math import ceil

from ...core import limits
from ...store.joining import Joining
from ..base.exchange import Exchange

_COUNT = re.compile(r"[0-9]{1,3}")
_SECONDS = re.compile(r"[0-9]{1,7}(?:\.[0-9]{1,20})?")
_TIMEOUTS = ("x-stainless-read-timeout", "x-stainless-timeout")


def joining(exchange: Exchange, body_digest: str) -> Joining:
    """Say what a submission without an Idempotency-Key may join.

    A submission with a count of 0 joins no task, but later submissions may join its task.
    """
    headers = exchange.request.headers
    sendings = _sendings(headers)
    seconds = min(sendings * (_timeout(headers) + limits.JOINING_PAUSE_SECONDS), limits.JOINING_SECONDS_MOST)
    return Joining(f"{exchange.key_id or '-'} {body_digest}", sendings, ceil(seconds * 1000))


def _sendings(headers: Mapping[str, str]) -> int:
    """Read how often the request was sent before. A malformed or foreign count is 0."""
    text = headers.get("x-stainless-retry-count", "0")
    return int(text) if _COUNT.fullmatch(text) else 0


def _timeout(headers: Mapping[str, str]) -> float:
    for name in _TIMEOUTS:
        if _SECONDS.fullmatch(text := headers.get(name, "")):
            return float(text)
    return limits.JOINING_TIMEOUT_SECONDS
