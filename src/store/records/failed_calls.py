"""Writes failed model calls as parameters of SQL statements, and as entries of the log of calls."""

from collections.abc import Iterator, Sequence

from ...core import limits
from ..d1.statement import as_json
from . import structures
from .claims import FailedCall


def written(fence: int, calls: Sequence[FailedCall]) -> Iterator[str]:
    """Return one or more parameters of RECORD_FAILURES for the failed calls of a claim.

    A failed call may have a rejected answer of up to 8,000 characters, or a provider's refusal. Therefore the calls are
    divided among several parameters, each small enough.
    """
    entries: list[str] = []
    size = 0
    for call in calls:
        entry = as_json(_failed(call, fence))
        added = len(entry.encode())
        if entries and size + added > limits.PIECE_BYTES_MOST:
            yield f"[{','.join(entries)}]"
            entries, size = [], 0
        entries.append(entry)
        size += added
    yield f"[{','.join(entries)}]"


def _failed(call: FailedCall, fence: int) -> list[int | str | None]:
    tried, failure = call.tried, call.failure
    counts = (tried.attempts, tried.calls, int(call.final))
    words = (failure.code, failure.message, int(failure.retryable))
    held = None if call.held is None else as_json(call.held)
    rung = None if call.rejection is None else structures.rung_text(call.rejection)
    kept = (_log(call, fence), rung, call.gap_chars, call.refusal)
    return [*call.key, *counts, *words, tried.counted, call.rests_until, held, *kept]


def _log(call: FailedCall, fence: int) -> str | None:
    """Write the entry of a failed call for the column `failures.log`."""
    made = call.made
    if made is None:
        return None
    assert made.failure is not None
    times = (made.started_ms, made.ended_ms, int(made.answered))
    message = made.failure.message[: limits.ATTEMPT_MESSAGE_CHARS_MOST]
    return as_json([[fence, made.number, *times, made.failure.code, message, made.route, made.model]])
