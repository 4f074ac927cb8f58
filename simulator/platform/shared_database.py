"""Simulates the queue of a database that many callers share, which serves one call at a time, in order of arrival.

A call waits for the service time of each call before it. If a caller gives up, its call stays in the queue: the
database still serves the call, and its writes land.
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

    `service_seconds` is how long the database takes for one call. `others` is the number of callers of other Workers,
    who call again as soon as they are served: while faults last, this many calls come before each call of the Worker.
    `stall_seconds` is the range of a stall's length. The rate of the fault `d1_shared` is the probability that a stall
    begins at a call.
    """

    service_seconds: float = 0.01
    others: int = 0
    stall_seconds: tuple[float, float] = (1.0, 30.0)

    @classmethod
    def drawn(cls, rng: Random) -> "Sharing":
        """Draw how busy a shared database is: from an idle one to one that takes 5 s for a call."""
        return cls(rng.choice(SERVICE_SECONDS), rng.choice(_OTHERS))


class CallQueue:
    """The queue of calls at one database, stored as the time at which all waiting calls will have been served."""

    def __init__(self, sharing: Sharing, faults: FaultPlan, now: Callable[[], float]) -> None:
        self.sharing = sharing
        self._faults = faults
        self._now = now
        self._free_at = 0.0

    def join(self) -> float:
        """Add one call to the queue. Returns the seconds until the database has served this call."""
        now, sharing = self._now(), self.sharing
        others = sharing.others if self._faults.active else 0
        if self._faults.fires("d1_shared", "d1"):
            self.stall(self._faults.between(*sharing.stall_seconds))
        self._free_at = max(now + others * sharing.service_seconds, self._free_at) + sharing.service_seconds
        return self._free_at - now

    def wait_seconds(self) -> float:
        """Return the seconds until the database has served all calls that are in the queue now."""
        return max(0.0, self._free_at - self._now())

    def stall(self, seconds: float) -> None:
        """Serve no call for this many seconds, after the calls that already wait in the queue."""
        self._free_at = max(self._now(), self._free_at) + seconds
