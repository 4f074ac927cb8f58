"""A database that many callers share: it serves one call at a time, in the order in which the calls came.

A call's latency is the number of callers before it times the service time. If a caller gives up, its call stays in the
queue: it is still served, and its writes land.
"""

from collections.abc import Callable
from dataclasses import dataclass
from random import Random

from simulator.engine.fault_plan import FaultPlan

SERVICE_SECONDS = (0.005, 0.01, 0.02)
_OTHERS = (0, 0, 0, 20, 60, 120, 240)


@dataclass(frozen=True, slots=True)
class Sharing:
    """How busy a shared database is.

    `others` are callers of other Workers, who call again as soon as they are served: while faults last, this many calls
    come before each of ours. `stall_seconds` is the range of a stall's length. The rate of the fault `d1_shared` says
    how often a stall begins, at each call.
    """

    service_seconds: float = 0.01
    others: int = 0
    stall_seconds: tuple[float, float] = (1.0, 30.0)

    @classmethod
    def drawn(cls, rng: Random) -> "Sharing":
        """Draw how a database is shared: from an idle one to one that takes 5 s a call."""
        return cls(rng.choice(SERVICE_SECONDS), rng.choice(_OTHERS))


class Line:
    """The queue before one database, stored as the moment at which all waiting calls are served."""

    def __init__(self, sharing: Sharing, faults: FaultPlan, now: Callable[[], float]) -> None:
        self.sharing = sharing
        self._faults = faults
        self._now = now
        self._free_at = 0.0

    def join(self) -> float:
        """Add one call to the queue. Returns the seconds until the call is served."""
        now, sharing = self._now(), self.sharing
        others = sharing.others if self._faults.active else 0
        if self._faults.fires("d1_shared", "d1"):
            self.stall(self._faults.between(*sharing.stall_seconds))
        self._free_at = max(now + others * sharing.service_seconds, self._free_at) + sharing.service_seconds
        return self._free_at - now

    def stall(self, seconds: float) -> None:
        """Serve no call for this long. Calls that already wait in the queue are served first."""
        self._free_at = max(self._now(), self._free_at) + seconds
