"""Distinguishes a worker that died from a task that kills its workers.

A stall is a claim that ended without a finished call. The first claim makes as many calls at a time as usual. After the
first claim another worker takes the task over at once, with half as many calls. Each later claim waits longer and makes
fewer calls. The last claim makes a single call after a long rest. If that worker dies too, the task has killed it. See
decision 0018.
"""

from typing import NamedTuple

from .. import limits


class Rests(NamedTuple):
    """How long a task rests, in ms, after a claim that ended without a finished call.

    `between_ms` has an entry for each claim of a row except the last. The next claim starts at least the entry's time
    after the first claim, and at least half as long after the previous one. After the last claim the task rests until
    `least_ms` have passed since the first.
    """

    between_ms: tuple[int, ...] = ()
    least_ms: int = 0


def rests(max_attempts: int) -> Rests:
    """Return the rests of a row of `max_attempts` claims. The first rest is 0, each later one triples.

    With only two claims, the second is the last one and gets the long rest.
    """
    last_ms = limits.STALL_REST_SECONDS * 1000
    waits = [last_ms / 3 ** (max_attempts - 2 - claim) for claim in range(max_attempts - 1)]
    if len(waits) > 1:
        waits[0] = 0  # most workers that die are not killed by their task
    return Rests(tuple(map(round, waits)), round(limits.STALL_SECONDS_LEAST * 1000))


def width(stalls: int, max_attempts: int, usual: int) -> int:
    """Return how many calls may be in flight after `stalls` claims in a row without a finished call."""
    if stalls == 0:
        return usual
    return 1 if stalls >= max_attempts - 1 else max(1, usual >> stalls)
