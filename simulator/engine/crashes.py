"""Runs a program with every single crash and pair of crashes: before and after the effect of a suspension point.

The callers' function `run(crash_at)` makes a world without latency and without random faults, under
`FaultPlan(rng, crash_at=crash_at)` with `point_labels`. The function `run` runs the world, checks its promises, and
returns the labels of the suspension points that the run passed.
"""

from collections.abc import Callable, Iterator

from simulator.engine.fault_plan import When

type Crashes = dict[int, When]
type Run = Callable[[Crashes], list[str]]

_WHENS: tuple[When, ...] = ("before", "after")


def single_crashes(run: Run) -> Iterator[tuple[str, Crashes]]:
    """Run a program with every single crash. After each run, yield the label of the crash's point, and the crash."""
    labels = run({})
    for point, label in enumerate(labels, 1):
        for when in _WHENS:
            run({point: when})
            yield label, {point: when}


def pairs_of_crashes(run: Run, *, points_most: int = 40) -> Iterator[Crashes]:
    """Yield every pair of crashes at the first `points_most` suspension points. The caller runs the pairs.

    The second crash of a pair is at a later point of the same run, after the first crash. The caller may run only some
    of the pairs, because there are many.
    """
    for first in range(1, min(len(run({})), points_most) + 1):
        for when in _WHENS:
            passed = len(run({first: when}))
            for second in range(first + 1, min(passed, points_most) + 1):
                for then in _WHENS:
                    yield {first: when, second: then}
