"""Adds the figures of ended tasks to the sums, which metrics and plots read instead of tasks."""

from ...domain import limits
from ...domain.errors import StoreError
from ...domain.settings import Settings
from ...run.invocation import Invocation
from ...run.log import Log
from ...store.d1 import Store
from ...store.tallies import Tallies
from .duty import Duty, DutyCost, SweepAllowance


class Folding:
    """Adds the figures of ended tasks to the sums, in a sweep and before the metrics are read."""

    def __init__(self, store: Store, settings: Settings, log: Log) -> None:
        self._store = store.beside(Tallies)
        self._settings = settings
        self._log = log

    async def run(self) -> bool:
        """Add tasks that have ended since the last run to the sums, in one transaction. Return whether there are more.

        Calls that a dead worker has left on an ended task are put in doubt, and added too. A failure of D1 is logged,
        and the next call of `run` continues.
        """
        plan = self._settings.plan
        kept_ms = {self._settings.retention_ms, limits.RESPONSE_UNSTORED_SECONDS * 1000}
        most, claim_ms = limits.FOLD_TASKS_MOST[plan], self._settings.longest_claim_ms
        try:
            found = await self._store.foldable(sorted(kept_ms), most, claim_ms)
            await self._store.fold(found, limits.SAMPLE_TASKS_MOST[plan])
        except StoreError as error:
            self._log.failure("fold_failed", error)
            return False
        return found.more


class FoldingDuty(Duty):
    """Adds ended tasks to the sums, in as many pages as the plan allows. The next sweep, or reader, adds the others."""

    cost = DutyCost(2, 16)  # Adding up one page of ended tasks takes a read and a write, with their statements.
    alone = True

    def __init__(self, invocation: Invocation) -> None:
        self._folding = Folding(invocation.store, invocation.settings, invocation.log)
        self._pages = limits.FOLD_PAGES_MOST[invocation.settings.plan]

    async def advance(self, allowance: SweepAllowance) -> bool:
        """Add one page of ended tasks."""
        self._pages -= 1
        return await self._folding.run() and self._pages > 0
