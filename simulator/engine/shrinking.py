"""Makes a failing run readable: removes more and more faults, as long as the run still fails."""

from collections.abc import Callable


def shrink(fails: Callable[[frozenset[int]], bool], fired: int, *, runs_most: int = 300) -> frozenset[int]:
    """Find faults to mute, of the `fired` ones by ordinal from 1, such that the run still fails without them.

    `fails(muted)` runs the seed with `FaultPlan(muted=muted)`. Halves are tried first, then smaller and smaller blocks,
    as in delta debugging. The remaining set need not be the smallest.
    """
    muted: frozenset[int] = frozenset()
    block = max(1, fired // 2)
    runs = 0
    while True:
        for start in range(1, fired + 1, block):
            candidate = muted | frozenset(range(start, min(start + block, fired + 1)))
            if candidate == muted or runs >= runs_most:
                continue
            runs += 1
            if fails(candidate):
                muted = candidate
        if block == 1 or runs >= runs_most:
            return muted
        block = max(1, block // 2)
