"""The sweep's duty to make space in a nearly full database: it erases ended tasks before their retention is over."""

from ...core import limits
from ...core.errors import StoreError
from ..worker import Worker
from .sweep_allowance import StepCost, SweepAllowance

# The most that the erasure of one page of tasks takes: to find tasks, count the storage, find tasks again, and erase
# them.
_PAGE = StepCost(4, 16)


class EarlyErasure:
    """Erases ended tasks early, the tasks of the largest tenants first, once in a sweep.

    If the database has reached nine tenths of STORAGE_MB_MOST, early erasure takes the tenant that stores most and
    erases a page of its oldest ended tasks. Then it takes the tenant that stores most after that. Early erasure erases
    no task that ended less than a day ago. A walk over a tenant's tasks skips tasks that may not be erased, and the
    next walk, in this sweep or a later one, begins after them. If the database is below nine tenths of STORAGE_MB_MOST,
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
        """Erase ended tasks while the database is nearly full, and return how many tasks were erased.

        A failure of D1 is logged, and the next sweep continues the erasure.
        """
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

    def cost(self) -> StepCost:
        """Return what early erasure still needs of the sweep's allowance, which duties before it must leave."""
        return _PAGE if not self._is_done and self._is_wanted() else StepCost()

    def _is_wanted(self) -> bool:
        return self._storage.is_over(round(limits.CLEAR_FRACTION * self._settings.storage_bytes_most))
