"""Frees space in the database: counts what tenants store, and erases ended tasks before their retention is over."""

from dataclasses import dataclass, field

from ..core import limits
from ..core.ids import TaskKey
from .d1 import columns
from .d1.database import Row, Store
from .d1.statement import Value, as_json
from .sql import early_erasure as sql

_KEPT_MS = round(limits.KEPT_SECONDS_LEAST * 1000)
_COUNT_MS = round(limits.STORAGE_COUNT_SECONDS * 1000)
_PASSED = "~"  # The end of a walk that found nothing to erase: until it is, the tenant's files do not count.
_MOMENT_CHARS = 13  # The first characters of a task id, which hold the 48 bits of the task's creation time.


@dataclass(frozen=True, slots=True)
class Old:
    """Ended tasks that may be erased before their retention time is over.

    All of these tasks had ended by `ended_by`, in the database's time. `uncounted` says that the sums over ended tasks
    may lack something of these tasks. These tasks were found by a walk over the tasks of `tenant`, from `walked_from`
    on. The tenant's next walk starts at `walked_to`: where this walk ended, or where this walk started if it found more
    tasks than are erased now. `files_bytes` is what the files of all tenants in the database had by the last count,
    without those that batches wrote.
    """

    ended_by: int
    task_keys: list[TaskKey] = field(default_factory=list)
    uncounted: bool = True
    tenant: str = ""
    walked_from: str = ""
    walked_to: str = ""
    files_bytes: int = 0

    @property
    def walks_on(self) -> bool:
        """Whether the tenant's next walk over its tasks starts at another place than this walk did."""
        return self.walked_to != self.walked_from


class StorageStore(Store):
    """What the sweep reads and writes when the database is nearly full.

    Each method of `StorageStore` is one call to D1.
    """

    async def oldest_of_largest(self, most: int) -> Old | None:
        """Find up to `most` ended tasks that may be erased early, of the tenant that stores most, oldest first.

        Returns None if there is no recent count of what tenants store.

        Each found task ended at least a day ago. At most CLEAR_WALK_MOST tasks of the largest tenant are read.
        """
        (found,) = await self._database.run(
            sql.OLDEST.bind(
                most=most,
                kept_ms=_KEPT_MS,
                chunks_most=limits.ERASE_OUTPUTS_MOST,
                walk_most=limits.CLEAR_WALK_MOST,
            )
        )
        if not found or not 0 <= columns.whole(found[0], "age_ms") < _COUNT_MS:
            return None
        task_keys = [columns.task_key(row) for row in found if row["id"] is not None]
        begun_at = columns.text(found[0], "walked_to")
        return Old(
            columns.whole(found[0], "ended_by"),
            task_keys,
            any(row["uncounted"] for row in found),
            tenant=columns.text(found[0], "tenant"),
            walked_from=begun_at,
            walked_to=begun_at if len(task_keys) < columns.whole(found[0], "may_go") else _behind(found[0]),
            files_bytes=columns.whole(found[0], "all_files"),
        )

    async def count_storage(self, *, keep_input: bool) -> None:
        """Count what each tenant stores, from the rows of all tasks and files, and write a row for each of the largest.

        `keep_input` says that completed tasks keep their input.
        """
        which: dict[str, Value] = {"keep_input": int(keep_input), "tenants_most": limits.STORAGE_TENANTS_MOST}
        await self._database.run(sql.FORGET_COUNT.bind(), sql.COUNT.bind(**which))

    async def erase_early(self, old: Old, *, keep_input: bool) -> int:
        """Erase those of the found tasks that no client has retried since, and return the number of erased tasks.

        The transaction that erases also sets where the next walk over the tenant's tasks begins.
        """
        walk = {"tenant": old.tenant, "walked_from": old.walked_from, "walked_to": old.walked_to}
        walk_on = [sql.WALK_ON.bind(**walk)] if old.walks_on else []
        if not old.task_keys:
            if walk_on:
                await self._database.run(*walk_on)
            return 0
        which: dict[str, Value] = {"task_keys": as_json(old.task_keys), "ended_by": old.ended_by}
        discount = sql.DISCOUNT.bind(**which, keep_input=int(keep_input))
        *parts, whole = sql.ERASE_OLD
        count = sql.OLD_COUNT if old.uncounted else ()
        erasure = [discount, *(part.bind(**which) for part in (*parts, *count, whole))]
        # The erasure runs first, because the other statement may need the space that the erasure frees.
        done = await self._database.run(*erasure, *walk_on)
        return len(done[len(erasure) - 1])


def _behind(row: Row) -> str:
    """Return where a tenant's next walk starts: after this walk's last task, or anew if this walk reached the end.

    Where the walk ended is stored as the time in the last task's id, so that the id of an erased task is not kept. The
    next walk reads all tasks of the last task's millisecond again.
    """
    if columns.whole(row, "walked") < limits.CLEAR_WALK_MOST:
        return _PASSED if row["has_files"] and not row["may_go"] else ""
    last = columns.text(row, "last").partition(":")[2]
    moment = last[:_MOMENT_CHARS]
    begun_at = columns.text(row, "walked_to")
    return moment if begun_at == _PASSED or moment > begun_at else last
