"""The sweep's duty to send due webhook deliveries."""

from collections.abc import Sequence

from ...kernel.run.invocation import Invocation
from ...kernel.store.d1 import BoundStatement, Row
from ...kernel.work.sweep.duty import Duty, DutyCost, SweepAllowance
from .deliverer import deliverer_of
from .deliveries_store import DueDelivery, look, read_look

# What one webhook delivery takes: its claim, the message and the attempt's record, with their statements.
_DELIVERY = DutyCost(3, 6)


class Sending(Duty):
    """Sends due webhook deliveries: at once, or at the sweep's end if tasks may run in this invocation."""

    def __init__(self, invocation: Invocation) -> None:
        self._deliverer = deliverer_of(invocation)
        self._plan = invocation.settings.plan
        self._due: Sequence[DueDelivery] = ()

    def look(self) -> BoundStatement:
        """Make the statement that finds due deliveries."""
        return look(self._plan)

    def found(self, rows: Sequence[Row], *, runs_tasks: bool) -> None:
        """Send the deliveries, or keep them."""
        self._due = read_look(rows)
        if not runs_tasks:
            self._begin()

    def kept(self) -> DutyCost:
        """Return what one delivery takes, if some are kept."""
        return _DELIVERY if self._due else DutyCost()

    async def advance(self, allowance: SweepAllowance) -> bool:
        """Begin to send the deliveries that were kept. The deliverer spends only what the invocation has left."""
        self._begin()
        return False

    def _begin(self) -> None:
        self._deliverer.begin(self._due)
        self._due = ()
