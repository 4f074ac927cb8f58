"""The kernel's duties of the sweep: it fails tasks that are late or whose workers keep dying, and erases ended tasks.

Tasks are erased after their retention, or before it is over to make space in a nearly full database. The figures of
ended tasks are added to sums, which metrics and plots read instead of tasks.
"""

from ...domain import limits
from ...domain.errors import StoreError
from ...domain.settings import Settings
from ...run.context import crashed
from ...run.invocation import Invocation
from ...run.log import Log
from ...run.waits import OVERDUE
from ...store.d1 import Store
from ...store.sweep import Due
from ...store.tallies import Tallies
from ..worker import Worker
from .duty import Duty, DutyCost, SweepAllowance

# The most that erasing a page takes: to find tasks, count the storage, find tasks again, and erase them.
_PAGE = DutyCost(4, 16)


class EarlyErasure:
    """Erases ended tasks early, the tasks of the largest tenants first, once in a sweep.

    Above nine tenths of STORAGE_MB_MOST, early erasure takes the tenant that stores most, and erases a page of its
    oldest tasks that ended more than a day ago; then the tenant that stores most after that. A walk over a tenant's
    tasks skips those that may not be erased, and the next walk, of any sweep, begins after them. Below nine tenths,
    early erasure makes no call to D1.

    Files that clients uploaded are never erased early. They count for their tenant, and no task is erased because files
    have more than their share.
    """

    def __init__(self, worker: Worker, allowance: SweepAllowance) -> None:
        self._store = worker.store
        self._storage = worker.isolate.storage
        self._settings = worker.settings
        self._log = worker.log
        self._allowance = allowance
        self._is_done = False

    async def run(self) -> int:
        """Erase ended tasks while the database is nearly full; return how many. A failure of D1 is only logged."""
        if self._is_done:
            return 0
        self._is_done = True
        erased = 0
        try:
            for _ in range(limits.CLEAR_PAGES_MOST[self._settings.plan]):
                if not (self._allowance.affords(_PAGE) and self._is_wanted()):
                    break
                gone = await self._page()
                if gone is None:
                    break
                erased += gone
        except StoreError as error:
            self._log.failure("clearance_failed", error)
        if erased:
            self._log("cleared", erased=erased, bytes=self._storage.size)
        return erased

    async def _page(self) -> int | None:
        """Erase the tasks that one walk finds. Return how many these are, or None if no walk would find more tasks."""
        keep_input = self._settings.keep_input
        found = await self._store.oldest_of_largest(limits.CLEAR_TASKS_MOST)
        if found is None:
            await self._store.count_storage(keep_input=keep_input)
            found = await self._store.oldest_of_largest(limits.CLEAR_TASKS_MOST)
        if found is None or not (found.task_keys or found.walks_on):
            return None
        tasks_bytes = self._storage.size - found.files_bytes
        if tasks_bytes < (limits.CLEAR_FRACTION - limits.FILES_FRACTION) * self._settings.storage_bytes_most:
            return None  # the files alone have more than their share, so the erasure of tasks would not help
        return await self._store.erase_early(found, keep_input=keep_input)

    def cost(self) -> DutyCost:
        """Return what early erasure still needs of the sweep's allowance, which duties before it must leave."""
        return _PAGE if not self._is_done and self._is_wanted() else DutyCost()

    def _is_wanted(self) -> bool:
        return self._storage.is_over(round(limits.CLEAR_FRACTION * self._settings.storage_bytes_most))


class Erasure:
    """Erases ended tasks whose retention is over; this is done once in a sweep, for at most ERASE_PAGES_MOST pages."""

    def __init__(self, worker: Worker) -> None:
        self._store = worker.store
        self._plan = worker.settings.plan
        self._log = worker.log
        self._is_done = False

    async def run(self, found: Due | None) -> int:
        """Erase the tasks in `found`, if a page of due tasks was read, and those of further reads; return how many.

        A failure of D1 is only logged, because unfinished tasks are more urgent. The next sweep erases the rest.
        """
        erased, pages = 0, 0 if self._is_done else limits.ERASE_PAGES_MOST[self._plan]
        self._is_done = True
        try:
            for _ in range(pages):
                due = found or await self._store.past_retention(limits.ERASE_TASKS_MOST[self._plan])
                found = None
                if not due.past_retention:
                    break
                erased += await self._store.erase_expired(due)
        except StoreError as error:
            self._log.failure("erasure_failed", error)
        return erased


async def fail_overdue(worker: Worker, due: Due) -> int:
    """Fail the tasks whose deadline has passed, and return how many failed."""
    if not due.overdue:
        return 0
    return len(await worker.store.expire(due.overdue, OVERDUE, worker.settings.retention_ms))


async def give_up(worker: Worker, due: Due) -> int:
    """Fail tasks whose workers died too often and that no worker claims, and return how many."""
    settings = worker.settings
    hopeless = [task_key for task_key, stalls in due.stalls.items() if stalls >= settings.max_attempts]
    if not hopeless:
        return 0
    reason = crashed(settings.max_attempts)
    ended = await worker.store.give_up(hopeless, settings.max_attempts, reason, settings.retention_ms)
    worker.log("gave_up", tasks=len(ended))
    return len(ended)


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
