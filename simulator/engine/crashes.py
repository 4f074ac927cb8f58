"""Exhaustive crashes: die at each suspension point of a run, before and after its effect, once or twice.

`run(crash_at)` makes a world without latency and random faults under `FaultPlan(rng, crash_at=crash_at)`, keeps
`point_labels`, runs the world, checks its promises, and returns the labels of the points that it passed.
"""

from collections.abc import Callable, Iterator

from simulator.engine.fault_plan import When

type Crashes = dict[int, When]
type Run = Callable[[Crashes], list[str]]

_WHENS: tuple[When, ...] = ("before", "after")


def single_crashes(run: Run) -> Iterator[tuple[str, Crashes]]:
    """Run every single crash. After each run, yield the crash and the label of its point."""
    labels = run({})
    for point, label in enumerate(labels, 1):
        for when in _WHENS:
            run({point: when})
            yield label, {point: when}


def pairs_of_crashes(run: Run, *, points_most: int = 40) -> Iterator[Crashes]:
    """Yield every pair of crashes within the first points. The caller may choose, because there are many.

    The second crash of a pair lies in the run that follows the first crash. This function runs no pair.
    """
    for first in range(1, min(len(run({})), points_most) + 1):
        for when in _WHENS:
            passed = len(run({first: when}))
            for second in range(first + 1, min(passed, points_most) + 1):
                for then in _WHENS:
                    yield {first: when, second: then}
