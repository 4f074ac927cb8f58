"""A worker that died, told from a task that kills its workers: by claims in a row that ended without a finished call.

The first is as wide as usual. After it the task is taken over at once, by half as many calls. Each later one waits
longer and is narrower, and the last makes a single call: who dies then, with nothing else in flight, after a long
rest, has died of the task. See decision 0018.
"""

from typing import NamedTuple

from . import limits


class Rests(NamedTuple):
    """How long a task rests, in ms, when a claim has ended without a finished call.

    `between_ms` has an entry for the first claim of a row, the second and so on, but not for the last: the next claim
    is written so long after the first one at the earliest, and half as long after the one before. After the last
    claim the task rests until `least_ms` have passed since the first.
    """

    between_ms: tuple[int, ...] = ()
    least_ms: int = 0


def rests(max_attempts: int) -> Rests:
    """Return the rests of a row of so many claims: each three times as long as the one before, none after the first.

    Where there are but two claims, the second is the last, and rests as long as a last one does.
    """
    last_ms = limits.STALL_REST_SECONDS * 1000
    waits = [last_ms / 3 ** (max_attempts - 2 - claim) for claim in range(max_attempts - 1)]
    if len(waits) > 1:
        waits[0] = 0  # most workers that die do so for reasons of their own
    return Rests(tuple(map(round, waits)), round(limits.STALL_SECONDS_LEAST * 1000))


def width(stalls: int, max_attempts: int, usual: int) -> int:
    """Return how many calls may be in flight when `stalls` claims in a row have ended without a finished call."""
    if stalls == 0:
        return usual
    return 1 if stalls >= max_attempts - 1 else max(1, usual >> stalls)
