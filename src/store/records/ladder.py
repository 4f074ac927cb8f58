"""The counters of a structured task, and what a retry of gaps begins with."""

from typing import NamedTuple


class LadderCounts(NamedTuple):
    """The counters of a structured task, absolute, and the share of its text that gaps leave; None: there is no gap."""

    reasks: int = 0
    rejected: int = 0
    repaired: int = 0
    coverage: float | None = None


NOTHING_COUNTED = LadderCounts()


class Inherited(NamedTuple):
    """What a task got from the one whose gaps it makes: so many outputs, and where each merge level's calls end."""

    outputs: int
    merges: tuple[tuple[int, ...], ...]
