"""A database that many callers share: it serves one call at a time, in the order in which the calls came.

A call's latency is the number of callers before it times the service time. A caller that gives up leaves its call in
the line: it is still served, and what it writes lands.
"""

from collections.abc import Callable
from dataclasses import dataclass
from random import Random

from simulator.engine.fault_plan import FaultPlan

SERVICE_SECONDS = (0.005, 0.01, 0.02)
_OTHERS = (0, 0, 0, 20, 60, 120, 240)


@dataclass(frozen=True, slots=True)
class Sharing:
    """How busy a shared database is. `others` are callers of other Workers, who ask again as soon as they are served:
    so many stand before each call of ours while faults last. A stall lasts from the one to the other of
    `stall_seconds`; how often one begins is the rate of the fault `d1_shared`, at each call."""

    service_seconds: float = 0.01
    others: int = 0
    stall_seconds: tuple[float, float] = (1.0, 30.0)

    @classmethod
    def drawn(cls, rng: Random) -> "Sharing":
        """Draw one: from an idle database to one that takes 5 s a call."""
        return cls(rng.choice(SERVICE_SECONDS), rng.choice(_OTHERS))


class Line:
    """Who stands in line for one database, as the moment at which all who do are served."""

    def __init__(self, sharing: Sharing, faults: FaultPlan, now: Callable[[], float]) -> None:
        self.sharing = sharing
        self._faults = faults
        self._now = now
        self._free_at = 0.0

    def join(self) -> float:
        """Stand in line for one call; give the seconds until it is served."""
        now, sharing = self._now(), self.sharing
        others = sharing.others if self._faults.active else 0
        if self._faults.fires("d1_shared", "d1"):
            self.stall(self._faults.between(*sharing.stall_seconds))
        self._free_at = max(now + others * sharing.service_seconds, self._free_at) + sharing.service_seconds
        return self._free_at - now

    def stall(self, seconds: float) -> None:
        """Serve nobody for that long. Those who stand in line already are served before it."""
        self._free_at = max(self._now(), self._free_at) + seconds
