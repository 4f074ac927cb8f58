"""The results of runs as figures that can be added, for one run or for many."""

from collections import Counter
from dataclasses import dataclass, field, fields


@dataclass(slots=True, kw_only=True)
class Totals:
    """Tasks by how they ended, why they failed and what clients saw; calls, writes, steps; faults that struck.

    `judged` is how often checks that excuse many runs have judged, `judging` in how many runs each has.
    """

    accepted: int = 0
    statuses: Counter[str] = field(default_factory=Counter)
    reasons: Counter[str] = field(default_factory=Counter)
    told: Counter[str] = field(default_factory=Counter)
    calls: int = 0
    in_doubt: int = 0
    virtual_seconds: float = 0.0
    steps: int = 0
    writes: int = 0
    fired: Counter[str] = field(default_factory=Counter)
    judged: Counter[str] = field(default_factory=Counter)
    judging: Counter[str] = field(default_factory=Counter)

    def add(self, other: "Totals") -> None:
        """Add the figures of other runs."""
        for name in _NAMES:
            mine, others = getattr(self, name), getattr(other, name)
            if isinstance(mine, Counter):
                mine.update(others)
            else:
                setattr(self, name, mine + others)


_NAMES = tuple(one.name for one in fields(Totals))
