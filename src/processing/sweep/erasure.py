"""The sweep's duty to erase ended tasks whose retention is over."""

from ...core import limits
from ...core.errors import StoreError
from ...store.sweep import Due
from ..worker import Worker


class Erasure:
    """Erases ended tasks whose retention is over; this is done once in a sweep, for at most ERASE_PAGES_MOST pages."""

    def __init__(self, worker: Worker) -> None:
        self._store = worker.store
        self._plan = worker.settings.plan
        self._log = worker.log
        self._is_done = False

    async def run(self, found: Due | None) -> int:
        """Erase the tasks in `found`, then the tasks that further reads find, and return how many tasks were erased.

        `found` is None if the sweep has not read a page of due tasks yet. A failure of D1 is only logged, because
        unfinished tasks are more urgent, and the next sweep erases the rest.
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
