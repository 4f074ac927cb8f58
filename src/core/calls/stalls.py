"""Distinguishes a worker that died by chance from a task that kills every worker that takes it.

A stall is a claim of a task that ended without a finished model call. In a row of stalls, the first claim makes as many
calls at a time as usual. When the worker of the first claim dies, another worker takes the task over at once, and makes
half as many calls at a time. Each later claim in the row of stalls starts after a longer rest and makes fewer calls at
a time. The last claim in a row of stalls makes one call at a time, after a long rest. If the worker of the last claim
dies too, the task counts as the cause. See decision 0018.
"""

from typing import NamedTuple

from .. import limits


class Rests(NamedTuple):
    """How long a task rests, in ms, after each claim that ended without a finished call.

    `between_ms` has a time for each claim of a row of claims without a finished call, except for the last claim. After
    a claim, the next claim starts at least `between_ms` after the first claim of the row, and at least half that time
    after the claim before. After the last claim of the row, the task rests until `least_ms` have passed since the first
    claim.
    """

    between_ms: tuple[int, ...] = ()
    least_ms: int = 0


def rests(max_attempts: int) -> Rests:
    """Return a task's rests for a row of `max_attempts` stalls.

    The first rest is 0, the second is positive, and each later rest is three times the rest before. If `max_attempts`
    is 2, the rest between the two claims is the long one.
    """
    last_ms = limits.STALL_REST_SECONDS * 1000
    waits = [last_ms / 3 ** (max_attempts - 2 - claim) for claim in range(max_attempts - 1)]
    if len(waits) > 1:
        waits[0] = 0  # No rest after the first stall: most workers that die are not killed by their task.
    return Rests(tuple(map(round, waits)), round(limits.STALL_SECONDS_LEAST * 1000))


def width(stalls: int, max_attempts: int, usual: int) -> int:
    """Return how many calls a task may have in flight after `stalls` claims in a row without a finished call."""
    if stalls == 0:
        return usual
    return 1 if stalls >= max_attempts - 1 else max(1, usual >> stalls)
