"""Room in the database: who stores most, and the erasure of ended tasks before their retention is over."""

from dataclasses import dataclass, field

from ..core import limits
from ..core.ids import TaskKey
from . import columns
from .database import Store
from .sql import storage as sql
from .sql.statement import Value, as_json

_KEPT_MS = round(limits.KEPT_SECONDS_LEAST * 1000)
_COUNT_MS = round(limits.STORAGE_COUNT_SECONDS * 1000)


@dataclass(frozen=True, slots=True)
class Old:
    """Ended tasks that may go: none ended after `ended_by`, by the database's time.

    `uncounted`: some of them may not be in the sums so far.
    """

    ended_by: int = 0
    task_keys: list[TaskKey] = field(default_factory=list)
    uncounted: bool = True


class StorageStore(Store):
    """What the sweep asks and does when the database is nearly as large as it may be, each one call to D1."""

    async def oldest_of_largest(self, most: int) -> Old | None:
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
        if not found:
            return Old()
        task_keys = [columns.task_key(row) for row in found]
        return Old(columns.whole(found[0], "ended_by"), task_keys, any(row["uncounted"] for row in found))

    async def count_storage(self, *, keep_input: bool) -> None:
        """Count anew what each tenant stores: reads every task's own row, and writes a row for each that stores most.

        `keep_input`: a task's input stays after it has completed.
        """
        which: dict[str, Value] = {"keep_input": int(keep_input), "tenants_most": limits.STORAGE_TENANTS_MOST}
        await self._database.run(sql.FORGET_COUNT.bind(), sql.COUNT.bind(**which))

    async def erase_early(self, old: Old, *, keep_input: bool) -> int:
        """Erase those of the tasks that have ended still, and had by then, and return how many were."""
        which: dict[str, Value] = {"task_keys": as_json(old.task_keys), "ended_by": old.ended_by}
        discount = sql.DISCOUNT.bind(**which, keep_input=int(keep_input))
        *parts, whole = sql.ERASE_OLD
        count = [sql.OLD_COUNT] if old.uncounted else []
        *_, gone = await self._database.run(discount, *(part.bind(**which) for part in (*parts, *count, whole)))
        return len(gone)
