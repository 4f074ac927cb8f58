"""The counters of a structured task, and what a task that retries gaps starts with."""

from typing import NamedTuple


class LadderCounts(NamedTuple):
    """The counters of a structured task since its start, and `coverage`: the share of its text that has outputs."""

    reasks: int = 0
    rejected: int = 0
    repaired: int = 0
    coverage: float | None = None


NOTHING_COUNTED = LadderCounts()


class Inherited(NamedTuple):
    """What a task got from the task whose gaps it retries: how many outputs, and the plan of each merge level."""

    outputs: int
    merges: tuple[tuple[int, ...], ...]
