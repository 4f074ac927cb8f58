"""Room in the database: who stores most, and the erasure of ended tasks before their retention is over."""

from collections.abc import Sequence

from ..core import limits
from ..core.ids import TaskKey
from . import columns
from .database import Store
from .sql import storage as sql
from .sql.statement import Value, as_json

_KEPT_MS = round(limits.KEPT_SECONDS_LEAST * 1000)
_COUNT_MS = round(limits.STORAGE_COUNT_SECONDS * 1000)


class StorageStore(Store):
    """What the sweep asks and does when the database is nearly as large as it may be, each one call to D1."""

    async def oldest_of_largest(self, most: int) -> list[TaskKey] | None:
        """Find up to so many ended tasks of the tenant that stores most, oldest first. None: nobody has counted lately.

        They ended a day ago, or earlier.
        """
        largest, found = await self._database.run(
            sql.LARGEST.bind(),
            sql.OLDEST.bind(
                most=most,
                kept_ms=_KEPT_MS,
                chunks_most=limits.ERASE_OUTPUTS_MOST,
                walk_most=limits.LIST_WALK_MOST,
            ),
        )
        if not largest or not 0 <= columns.whole(largest[0], "age_ms") < _COUNT_MS:
            return None
        return [columns.task_key(row) for row in found]

    async def count_storage(self) -> None:
        """Count anew what each tenant stores: reads every task's own row, and writes a row a tenant."""
        await self._database.run(sql.FORGET_COUNT.bind(), sql.COUNT.bind())

    async def erase_early(self, task_keys: Sequence[TaskKey]) -> int:
        """Erase those of the tasks that ended a day ago or earlier, and return how many were."""
        which: dict[str, Value] = {"task_keys": as_json(task_keys), "kept_ms": _KEPT_MS}
        *_, gone = await self._database.run(sql.DISCOUNT.bind(**which), *(part.bind(**which) for part in sql.ERASE_OLD))
        return len(gone)
