"""Holds the results of one run, or of many runs, as figures that can be added."""

from collections import Counter
from dataclasses import dataclass, field, fields


@dataclass(slots=True, kw_only=True)
class Totals:
    """The figures of one or more runs: tasks by how they ended, why they failed, and what clients were told.

    Other figures are model calls, writes, steps, and faults that struck. `judged` is how often each check that has
    exceptions has judged, and `judging` in how many runs it has.
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
        """Add the figures of other runs to the figures of this object."""
        for name in _NAMES:
            mine, others = getattr(self, name), getattr(other, name)
            if isinstance(mine, Counter):
                mine.update(others)
            else:
                setattr(self, name, mine + others)


_NAMES = tuple(one.name for one in fields(Totals))
