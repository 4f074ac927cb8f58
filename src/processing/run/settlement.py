"""How a run lets go of a task that has ended under it: it ends its calls, settles the bill, and keeps the outputs."""

from functools import partial

from ...core.errors import CallAborted
from ...core.settings import Settings
from ...core.states import Status
from ...store.claims import Claim
from ...store.tasks import TaskStore
from .. import clock
from ..caller import Caller
from ..terms import OVERDUE
from .call_groups import Calls
from .call_plan import Plan
from .call_recorder import Bookings
from .ledger import Ledger
from .write_pacer import Pace


class Settlement:
    """The end of one run whose task was cancelled, erased or put back, or whose deadline has come."""

    def __init__(
        self,
        claim: Claim,
        caller: Caller,
        calls: Calls,
        plan: Plan,
        ledger: Ledger,
        bookings: Bookings,
        pace: Pace,
        store: TaskStore,
        settings: Settings,
    ) -> None:
        self._claim = claim
        self._caller = caller
        self._calls = calls
        self._plan = plan
        self._ledger = ledger
        self._bookings = bookings
        self._pace = pace
        self._store = store
        self._settings = settings

    async def settle(self) -> Status | None:
        """Settle the bill of a task that others have ended, or its deadline, and keep what is paid for.

        The worker's own calls in flight are dropped. Lanes are told to abort theirs, before the bill is written: a slow
        database is not to keep calls going that nobody wants. One that does not hear of it makes them to their end, and
        what they give is written then. Behind another claim nothing can be written: there they are in doubt.
        """
        if self._caller.slack_seconds:
            self._bookings.take(self._calls.ended())
            if self._ledger.in_flight:
                await self._caller.abort()
        else:
            await self.drop()
            self._ledger.abandon()
        status = await self._tell()
        if status is not None and self._ledger.in_flight:
            self._ledger.saved()
            rest = await self._calls.rest()
            self._bookings.take([call for call in rest if not isinstance(call.result, CallAborted)])
            self._ledger.abandon()
            return await self._tell() or status
        await self.drop()
        self._ledger.abandon()
        return status

    async def drop(self) -> None:
        """Give up on the calls in flight. What has ended while nobody looked, during a write, is booked."""
        self._bookings.take(await self._calls.drop())

    async def _tell(self) -> Status | None:
        """Write what has happened to a task that has ended. None: it goes on, for this claim or for another."""
        progress = self._ledger.progress((), self._plan.minimum_calls, clock.now())
        settle = partial(self._store.settle, self._claim, progress, OVERDUE, self._settings.retention_ms)
        return await self._pace.insist(settle)
