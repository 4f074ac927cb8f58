"""Recognises a submission that an SDK repeats by itself after a lost answer, by the SDK's headers.

OpenAI's SDKs send no Idempotency-Key with a repeated request. A repeated request has the same API key and the same
body, and its header `x-stainless-retry-count` is 1 or more.
"""

import re
from collections.abc import Mapping
from math import ceil
from typing import Final

from ...core import limits
from ...store.joining import Joining
from ..base.endpoint import Parameter
from ..base.exchange import Exchange

# The headers by which a repeated submission is recognised.
JOINING: Final = (
    Parameter(
        "x-stainless-retry-count",
        "How often the SDK has sent this request before. From 1 on, the answer is the task of the first "
        "attempt, if that came within the SDK's own timeouts and there is no Idempotency-Key.",
        {"type": "string"},
        "header",
    ),
    Parameter(
        "x-stainless-read-timeout", "The SDK's timeout in seconds (Python); 600 without.", {"type": "string"}, "header"
    ),
    Parameter("x-stainless-timeout", "The same (JavaScript).", {"type": "string"}, "header"),
)
_COUNT = re.compile(r"[0-9]{1,3}")
_SECONDS = re.compile(r"[0-9]{1,7}(?:\.[0-9]{1,20})?")
_TIMEOUTS = ("x-stainless-read-timeout", "x-stainless-timeout")


def joining(exchange: Exchange, body_digest: str) -> Joining:
    """Return which earlier task a submission without an Idempotency-Key may join.

    A submission with the retry count 0 joins no task, and a later submission may join the task that it made.
    """
    headers = exchange.request.headers
    sendings = _sendings(headers)
    seconds = min(sendings * (_timeout(headers) + limits.JOINING_PAUSE_SECONDS), limits.JOINING_SECONDS_MOST)
    return Joining(f"{exchange.key_id or '-'} {body_digest}", sendings, ceil(seconds * 1000))


def _sendings(headers: Mapping[str, str]) -> int:
    """Read how often the SDK has sent the request before. A missing or malformed count of sends is read as 0."""
    text = headers.get("x-stainless-retry-count", "0")
    return int(text) if _COUNT.fullmatch(text) else 0


def _timeout(headers: Mapping[str, str]) -> float:
    for name in _TIMEOUTS:
        if _SECONDS.fullmatch(text := headers.get(name, "")):
            return float(text)
    return limits.JOINING_TIMEOUT_SECONDS
