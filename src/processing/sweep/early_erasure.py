"""Makes room before the database is full: erases ended tasks before their retention is over, fairly."""

from typing import NamedTuple

from ...core import limits
from ...core.errors import StoreError
from ...core.meter import Meter
from ...core.settings import Settings
from ...core.storage import Storage
from ...store.tasks import TaskStore
from ..log import Log


class Needed(NamedTuple):
    """What is needed of an invocation: calls to D1, and all their statements."""

    calls: int = 0
    statements: int = 0


# A look, a count and the second look after it, and an erasure.
_PAGE = Needed(4, 15)


class Clearance:
    """One run, at the end of a sweep.

    From nine tenths of STORAGE_MB_MOST on, the tenant that stores most loses its oldest ended tasks, a page at a time,
    then whoever stores most by then. None goes within a day of its end. Tasks that may not go are passed over, and the
    next look begins behind them, in this run or a later one. Below nine tenths it asks D1 nothing.
    """

    def __init__(self, store: TaskStore, storage: Storage, settings: Settings, meter: Meter, log: Log) -> None:
        self._store = store
        self._storage = storage
        self._settings = settings
        self._meter = meter
        self._log = log

    async def run(self) -> int:
        """Erase as long as the database is nearly as large as it may be, and return how many tasks were.

        A failure is logged: the next sweep goes on.
        """
        erased = 0
        try:
            for _ in range(limits.CLEAR_PAGES_MOST[self._settings.plan]):
                if not self._is_due():
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
        """Erase what a look finds, and return how many tasks went; None if there is nothing more to find."""
        keep_input = self._settings.keep_input
        found = await self._store.oldest_of_largest(limits.CLEAR_TASKS_MOST)
        if found is None:
            await self._store.count_storage(keep_input=keep_input)
            found = await self._store.oldest_of_largest(limits.CLEAR_TASKS_MOST)
        if found is None or not (found.task_keys or found.walks_on):
            return None
        return await self._store.erase_early(found, keep_input=keep_input)

    @property
    def needed(self) -> Needed:
        """What a page takes, if there is one to erase."""
        return _PAGE if self._is_wanted() else Needed()

    def _is_wanted(self) -> bool:
        return self._storage.is_over(round(limits.CLEAR_FRACTION * self._settings.storage_bytes_most))

    def _is_due(self) -> bool:
        calls = self._settings.subrequests - self._meter.subrequests_taken
        statements = self._settings.statements - self._meter.statements_taken
        return calls >= _PAGE.calls and statements >= _PAGE.statements and self._is_wanted()
