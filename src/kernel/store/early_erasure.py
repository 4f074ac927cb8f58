"""Frees space in the database: counts what tenants store, and erases ended tasks before their retention is over."""

from dataclasses import dataclass, field

from ..domain import limits
from ..domain.ids import TaskKey
from . import d1
from .d1 import Row, Store, Value, as_json, statement
from .fragments import LISTED, NOW, delete_parts
from .tallies import LACKING, count_erased

# Estimates the bytes that a task stores: its rows, four bytes for each token of its outputs, and its input. A completed
# task has no input any more, unless `:keep_input` is set or the task has gaps. The input is estimated as four bytes for
# each token that the answered calls read, but at least as many bytes as the task's chunks may have characters, so that
# the input counts even before the first call. A batch counts with the index of its lines, with the causes of its failed
# lines (and the refusals until it has ended), and with the files that it wrote to the database, which go with it. To
# make the estimate, only the task's own row is read, and those of a batch's files.
_BYTES = """2000 + CASE WHEN kind = 'batch' THEN 64 * total + failed * iif(finished_at IS NULL, 2600, 600)
  + coalesce((SELECT sum(files.bytes) FROM files WHERE owner = tasks.id AND place = 'd1'), 0) ELSE 4 * output_tokens
  + CASE WHEN status = 'completed' AND failed = 0 AND NOT :keep_input THEN 0
    ELSE max(4 * input_tokens, total * coalesce(chunk_chars, 6000)) END END"""

# FORGET_COUNT and COUNT replace the count of what tenants store; only the `:tenants_most` tenants that store most are
# kept in the count. `files` are the bytes of the files in the database that clients uploaded. COUNT reads the row of
# every task and of every file once.
FORGET_COUNT = statement("DELETE FROM tenant_storage")
COUNT = statement(f"""
INSERT INTO tenant_storage (tenant, bytes, files, counted_at)
SELECT tenant, sum(bytes), sum(files), {NOW} FROM (
  SELECT tenant, sum({_BYTES}) AS bytes, 0 AS files FROM tasks GROUP BY tenant
  UNION ALL SELECT tenant, 0, sum(bytes) FROM files WHERE place = 'd1' AND owner IS NULL GROUP BY tenant
) GROUP BY tenant ORDER BY sum(bytes) + sum(files) DESC, tenant LIMIT :tenants_most
ON CONFLICT DO UPDATE SET bytes = excluded.bytes, files = excluded.files, counted_at = excluded.counted_at
""")

# Walks over `:walk_most` tasks of the tenant that stores most, in order of creation, from where the last walk ended.
# OLDEST finds tasks that ended at least `:kept_ms` ago: up to `:most` tasks that have `:chunks_most` chunks together,
# or one task with more chunks. `uncounted` says that the sums over ended tasks lack something of it, and `ended_by`
# is a time by which all found tasks had ended. Each row also gives the age of the tenant's count, where the walk began,
# the walk's last task, how many tasks the walk read, and how many of these tasks may be erased, whether the tenant has
# files, and how many bytes the files of all tenants have. If OLDEST gives one row without an `id`, no task may be
# erased. If OLDEST gives no row, what tenants store was not counted yet.
#
# A tenant stores its tasks and its files, and only tasks are erased. If a walk found no task to erase up to the end,
# the tenant's files count no more, because they would keep early erasure from other tenants (`walked_to` is '~').
OLDEST = statement(f"""
WITH largest AS MATERIALIZED (
  SELECT tenant, walked_to, {NOW} - counted_at AS age_ms, files > 0 AS has_files,
    (SELECT sum(files) FROM tenant_storage) AS all_files
  FROM tenant_storage ORDER BY bytes + iif(walked_to = '~', 0, files) DESC, tenant LIMIT 1
), walk AS MATERIALIZED (
  SELECT tasks.id, total, in_flight, finished_at, wake_at FROM largest CROSS JOIN tasks
  WHERE tasks.id > largest.tenant || ':' || iif(walked_to = '~', '', walked_to) AND tasks.id < largest.tenant || ';'
  ORDER BY tasks.id LIMIT :walk_most
), ended AS MATERIALIZED (
  SELECT id, {LACKING} AS uncounted, sum(total) OVER page AS chunks, row_number() OVER page AS place FROM walk
  WHERE finished_at <= {NOW} - :kept_ms WINDOW page AS (ORDER BY id)
)
SELECT tenant, walked_to, age_ms, has_files, all_files, (SELECT max(id) FROM walk) AS last,
  (SELECT count(*) FROM walk) AS walked, (SELECT count(*) FROM ended) AS may_go, {NOW} - :kept_ms AS ended_by,
  id, uncounted
FROM largest LEFT JOIN ended ON place <= :most AND (place = 1 OR chunks <= :chunks_most) ORDER BY place
""")

# Sets where the next walk over a tenant's tasks begins, unless another sweep has already set it. The transaction of
# WALK_ON first erases the tasks that the last walk found.
WALK_ON = statement("""
UPDATE tenant_storage SET walked_to = :walked_to WHERE tenant = :tenant AND walked_to = :walked_from
""")

# DISCOUNT and ERASE_OLD erase, with all their parts, those of the given tasks that had ended by `:ended_by`, a time
# that OLDEST gave. A task that a client has retried since OLDEST is not erased. DISCOUNT, OLD_COUNT and ERASE_OLD apply
# to the same tasks, because they compare with the same given time. First, DISCOUNT subtracts the bytes of the erased
# tasks from the counts of their tenants. The erasure only frees space, so it also works on a full database.
_OLD = f"(SELECT id FROM tasks WHERE {LISTED} AND finished_at <= :ended_by)"
DISCOUNT = statement(f"""
UPDATE tenant_storage SET bytes = bytes - (SELECT coalesce(sum({_BYTES}), 0) FROM tasks
  WHERE id IN {_OLD} AND tasks.tenant = tenant_storage.tenant)
WHERE tenant IN (SELECT tenant FROM tasks WHERE id IN {_OLD})
""")
ERASE_OLD = (*delete_parts("IN", _OLD), statement(f"DELETE FROM tasks WHERE id IN {_OLD} RETURNING id"))

# Adds to the sums what they lack of the tasks erased early. OLD_COUNT runs before ERASE_OLD's last statement.
OLD_COUNT = count_erased(f"id IN {_OLD}")


_KEPT_MS = round(limits.KEPT_SECONDS_LEAST * 1000)
_COUNT_MS = round(limits.STORAGE_COUNT_SECONDS * 1000)
_PASSED = "~"  # The end of a walk that found nothing to erase: until it is, the tenant's files do not count.
_MOMENT_CHARS = 13  # The first characters of a task id, which hold the 48 bits of the task's creation time.


@dataclass(frozen=True, slots=True)
class Old:
    """Ended tasks that may be erased before their retention time is over.

    All had ended by `ended_by`, in the database's time. `uncounted` says that the sums over ended tasks may lack
    something of them. A walk over the tasks of `tenant`, from `walked_from` on, has found them. The next walk starts at
    `walked_to`: where this one ended, or where it started if it found more tasks than are erased now. `files_bytes` is
    what all tenants' files in the database had by the last count, without those that batches wrote.
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
    """What the sweep reads and writes when the database is nearly full. Each method is one call to D1."""

    async def oldest_of_largest(self, most: int) -> Old | None:
        """Find up to `most` ended tasks that may be erased early, of the tenant that stores most, oldest first.

        Each ended at least a day ago. At most CLEAR_WALK_MOST tasks of the largest tenant are read. Returns None if
        there is no recent count of what tenants store.
        """
        (found,) = await self._database.run(
            OLDEST.bind(
                most=most, kept_ms=_KEPT_MS, chunks_most=limits.ERASE_OUTPUTS_MOST, walk_most=limits.CLEAR_WALK_MOST
            )
        )
        if not found or not 0 <= d1.whole(found[0], "age_ms") < _COUNT_MS:
            return None
        task_keys = [d1.task_key(row) for row in found if row["id"] is not None]
        begun_at = d1.text(found[0], "walked_to")
        return Old(
            d1.whole(found[0], "ended_by"),
            task_keys,
            any(row["uncounted"] for row in found),
            tenant=d1.text(found[0], "tenant"),
            walked_from=begun_at,
            walked_to=begun_at if len(task_keys) < d1.whole(found[0], "may_go") else _behind(found[0]),
            files_bytes=d1.whole(found[0], "all_files"),
        )

    async def count_storage(self, *, keep_input: bool) -> None:
        """Count what the largest tenants store, from all tasks and files, completed inputs if `keep_input`."""
        count = COUNT.bind(keep_input=int(keep_input), tenants_most=limits.STORAGE_TENANTS_MOST)
        await self._database.run(FORGET_COUNT.bind(), count)

    async def erase_early(self, old: Old, *, keep_input: bool) -> int:
        """Erase those not retried since, and count them; the same transaction sets where the next walk begins."""
        walk_on = WALK_ON.bind(tenant=old.tenant, walked_from=old.walked_from, walked_to=old.walked_to)
        walks = [walk_on] if old.walks_on else []
        if not old.task_keys:
            if walks:
                await self._database.run(*walks)
            return 0
        which: dict[str, Value] = {"task_keys": as_json(old.task_keys), "ended_by": old.ended_by}
        discount = DISCOUNT.bind(**which, keep_input=int(keep_input))
        *parts, whole = ERASE_OLD
        count = OLD_COUNT if old.uncounted else ()
        erasure = [discount, *(part.bind(**which) for part in (*parts, *count, whole))]
        # The erasure runs first, because the other statement may need the space that the erasure frees.
        done = await self._database.run(*erasure, *walks)
        return len(done[len(erasure) - 1])


def _behind(row: Row) -> str:
    """Return where a tenant's next walk starts: after this walk's last task, or anew if this walk reached the end.

    Where the walk ended is stored as the time in the last task's id, so that the id of an erased task is not kept. The
    next walk reads all tasks of the last task's millisecond again.
    """
    if d1.whole(row, "walked") < limits.CLEAR_WALK_MOST:
        return _PASSED if row["has_files"] and not row["may_go"] else ""
    last = d1.text(row, "last").partition(":")[2]
    moment = last[:_MOMENT_CHARS]
    begun_at = d1.text(row, "walked_to")
    return moment if begun_at == _PASSED or moment > begun_at else last
