"""Shrinks a failing run: removes more and more of its faults as long as the run still fails."""

from collections.abc import Callable

RUNS_MOST = 300


def shrink(fails: Callable[[frozenset[int]], bool], fired: int) -> frozenset[int]:
    """Return the ordinals, from 1 to `fired`, of faults without which the run still fails.

    `fails(muted)` runs the seed with `FaultPlan(muted=muted)` and returns whether the run fails. Halves of the faults
    are tried first, then smaller and smaller blocks, as in delta debugging. The faults that remain need not be the
    smallest possible set.
    """
    muted: frozenset[int] = frozenset()
    block = max(1, fired // 2)
    runs = 0
    while True:
        for start in range(1, fired + 1, block):
            candidate = muted | frozenset(range(start, min(start + block, fired + 1)))
            if candidate == muted or runs >= RUNS_MOST:
                continue
            runs += 1
            if fails(candidate):
                muted = candidate
        if block == 1 or runs >= RUNS_MOST:
            return muted
        block = max(1, block // 2)
