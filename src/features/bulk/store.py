"""Retries or cancels many tasks of a tenant at once. Each method of `BulkStore` is one transaction in D1.

Each write names tasks that were read before in `:generations`, a JSON object with the generation of each task by its
key. A write therefore changes nothing of a task if it arrives after another retry of the task.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from ...kernel.domain import limits
from ...kernel.domain.codes import TaskCode
from ...kernel.domain.ids import TaskKey
from ...kernel.domain.task import BUDGET_EXHAUSTED, COST_EXHAUSTED, Status
from ...kernel.store import d1
from ...kernel.store.admission import LEFT, OPENS_AGAIN, PUT_BACK, SET_BACK, SPENT, Conditions
from ...kernel.store.d1 import Row, Value, as_json, statement
from ...kernel.store.ending import ON_OBJECT, START_LEFT
from ...kernel.store.fragments import ENDED, HAS_TEXT, unended
from ...kernel.store.hooks import HookedStore
from ...kernel.store.rows import Span
from ...kernel.store.tallies import count_retried

_LISTED = "id IN (SELECT key FROM json_each(:generations))"
_GENERATION = """(:generations ->> ('$."' || id || '"'))"""

# --- Failed tasks ----------------------------------------------------------------------------------------

# The failed tasks in a range of keys that can be retried without a new budget, of all error codes if `:code` is NULL.
# An index entry is read for each failed task of the range, and no other task. Batches are not retried, and neither are
# tasks whose text was in a file that is gone.
_FAILED = f"""FROM tasks INDEXED BY tasks_failed
WHERE id >= :first AND id < :behind AND status = 'failed'
  AND error_code NOT IN ('{BUDGET_EXHAUSTED}', '{COST_EXHAUSTED}')
  AND (:code IS NULL OR error_code = :code) AND kind IS NOT 'batch' AND {HAS_TEXT}"""

# Finds up to `:most` failed tasks to retry, oldest first; counts `:tenant`'s unfinished ones up to `:counted_most`.
FAILED = statement(f"SELECT id, generation, {unended(':counted_most')} AS unended {_FAILED} ORDER BY id LIMIT :most")

# Counts up to `:most` failed tasks to retry, and two numbers of model calls. The first is how many calls the tasks need
# without failures; the second is the most that they make, with `:attempts` for each output, and `:reasks` more if the
# output must fit a schema. Merging n outputs takes fewer than n calls.
COUNT_FAILED = statement(f"""
SELECT count(*) AS tasks, coalesce(sum(least), 0) AS minimum, coalesce(sum(most), 0) AS maximum FROM (
  SELECT {LEFT} AS least, min(
    (:attempts + :reasks * coalesce(structured ->> 'has_schema', 0))
      * (total - completed + (reduce = 'merge') * (total - 1)),
    coalesce(max_calls - {SPENT}, 1000000000)
  ) AS most {_FAILED} LIMIT :most
)
""")

# A condition on the `:count` failed tasks that are to be retried. If the retries would give the tenant more than
# `:tasks_most` tasks in flight (NULL without such a limit), no task is retried.
_RETRYABLE = f"""{_LISTED} AND generation = {_GENERATION} AND status = 'failed'
  AND error_code NOT IN ('{BUDGET_EXHAUSTED}', '{COST_EXHAUSTED}') AND kind IS NOT 'batch' AND {HAS_TEXT}
  AND (:tasks_most IS NULL OR {unended(":tasks_most")} + :count <= :tasks_most)"""

# Adds the ends of tasks that are retried to the sums, unless that was done before. Goes before RETRY_ALL.
RETRY_ALL_COUNT = statement(count_retried(_RETRYABLE))

# Sets the counts of the retried tasks' failed calls to 0. Goes before RETRY_ALL.
RETRY_ALL_FAILURES = statement(f"""
UPDATE failures SET {SET_BACK} WHERE task_id IN (SELECT id FROM tasks WHERE {_RETRYABLE}) AND {OPENS_AGAIN}
""")

# Retries the tasks in `:generations`, as RETRY does with one task.
RETRY_ALL = statement(f"UPDATE tasks SET {PUT_BACK} WHERE {_RETRYABLE}")

# Lists the tasks in `:generations` that were retried, by this send of the transaction or an earlier one.
RETRIED = statement(f"SELECT id FROM tasks WHERE {_LISTED} AND generation = {_GENERATION} + 1 ORDER BY id")

# --- Tasks that go on --------------------------------------------------------------------------------------

# The unfinished tasks of `:tenant` in a range of keys, of both statuses if `:status` is NULL. The plus signs keep
# SQLite's planner from reading the whole range of keys, where most tasks have ended.
_GOING_ON = """FROM tasks INDEXED BY tasks_to_wake
WHERE tenant = :tenant AND finished_at IS NULL AND +id >= :first AND +id < :behind
  AND (:status IS NULL OR status = :status)"""

# Finds up to `:most` unfinished tasks of `:tenant`.
GOING_ON = statement(f"SELECT id, generation {_GOING_ON} LIMIT :most")

# Counts the unfinished tasks of `:tenant`, up to `:most`.
COUNT_GOING_ON = statement(f"SELECT count(*) AS tasks FROM (SELECT 1 {_GOING_ON} LIMIT :most)")

# Cancels the tasks in `:generations`, as CANCEL does one, if they are in `:status` (NULL: any unfinished one).
CANCEL_ALL = statement(f"""
UPDATE tasks SET status = 'cancelled', {ENDED}
WHERE {_LISTED} AND generation = {_GENERATION} AND status IN ('pending', 'processing')
  AND (:status IS NULL OR status = :status)
""")

# Lists the tasks in `:generations` that were cancelled, by this send of the transaction or an earlier one: for how long
# the calls of each may still start, and whether a Durable Object worked on it last, as START_WINDOW does.
CANCELLED = statement(f"""
SELECT id, {START_LEFT} AS left_ms, fence, {ON_OBJECT} AS on_object FROM tasks
WHERE {_LISTED} AND generation = {_GENERATION} AND status = 'cancelled' ORDER BY id
""")

Generations = Mapping[TaskKey, int]


class FailedTasks(NamedTuple):
    """Failed tasks with their generations. `unended` counts the tenant's unfinished tasks, as far as limits require."""

    generations: Generations
    unended: int


class Cost(NamedTuple):
    """What a bulk retry would cost: the number of tasks, and the least and the most model calls of these tasks."""

    tasks: int
    minimum_calls: int
    maximum_calls: int


class Cancelled(NamedTuple):
    """Tasks that were cancelled.

    For `starting_ms` more, announced calls of the tasks may still start, and no others. `objects` has the tasks on
    which Durable Objects worked last, each with a fence: all claims of the task up to it are over.
    """

    task_keys: Sequence[TaskKey]
    starting_ms: int
    objects: Mapping[TaskKey, int]


class BulkStore(HookedStore):
    """Retries or cancels many tasks. Each write names the generation that each task had when it was read."""

    async def failed(self, tenant: str, span: Span, code: TaskCode | None, most: int, on: Conditions) -> FailedTasks:
        """Find up to `most` failed tasks in a span of keys, oldest first, without those whose budget ran out."""
        counted = max(on.tasks_in_flight_most or 0, on.queue_share or 0)
        find = FAILED.bind(**span._asdict(), tenant=tenant, code=code, most=most, counted_most=counted)
        (found,) = await self._database.run(find)
        return FailedTasks(_generations(found), d1.whole(found[0], "unended") if found else 0)

    async def retry_cost(self, span: Span, code: TaskCode | None, attempts: int, reasks: int = 0) -> Cost:
        """Count a span's failed tasks, up to BULK_COUNT_MOST, and the calls of their retries (see COUNT_FAILED)."""
        most = limits.BULK_COUNT_MOST
        count = COUNT_FAILED.bind(**span._asdict(), code=code, attempts=attempts, reasks=reasks, most=most)
        (found,) = await self._database.run(count)
        return Cost(*(d1.whole(found[0], name) for name in ("tasks", "minimum", "maximum")))

    async def retry_all(
        self, tenant: str, generations: Generations, unclaimed_ms: int, on: Conditions
    ) -> list[TaskKey]:
        """Retry failed tasks, and return those retried: none if they would exceed the tenant's tasks in flight."""
        named = as_json(generations)
        which: dict[str, Value] = {
            "generations": named,
            "count": len(generations),
            "tenant": tenant,
            "tasks_most": on.tasks_in_flight_most,
        }
        *_, done = await self._database.run(
            RETRY_ALL_COUNT.bind(**which),
            RETRY_ALL_FAILURES.bind(**which),
            RETRY_ALL.bind(**which, unclaimed_ms=unclaimed_ms),
            RETRIED.bind(generations=named),
        )
        return [d1.task_key(row) for row in done]

    async def going_on_in(self, tenant: str, span: Span, status: Status | None, most: int) -> Generations:
        """Find up to `most` unfinished tasks of a span; only those in `status`, if it is given."""
        (found,) = await self._database.run(GOING_ON.bind(**span._asdict(), tenant=tenant, status=status, most=most))
        return _generations(found)

    async def count_going_on(self, tenant: str, span: Span, status: Status | None) -> int:
        """Count the unfinished tasks of a span, up to BULK_COUNT_MOST."""
        most = limits.BULK_COUNT_MOST
        count = COUNT_GOING_ON.bind(**span._asdict(), tenant=tenant, status=status, most=most)
        (found,) = await self._database.run(count)
        return d1.whole(found[0], "tasks")

    async def cancel_all(self, generations: Generations, status: Status | None, retention_ms: int) -> Cancelled:
        """Cancel the unfinished ones of the given tasks, or if `status` is given, only those with this status."""
        named = as_json(generations)
        _, done = await self._end(
            list(generations),
            CANCEL_ALL.bind(generations=named, status=status, retention_ms=retention_ms),
            CANCELLED.bind(generations=named, lanes_from_chunks=limits.LANES_FROM_CHUNKS),
        )
        starting = max((d1.whole(row, "left_ms") for row in done), default=0)
        fences = {d1.task_key(row): d1.whole(row, "fence") for row in done if d1.whole(row, "on_object")}
        return Cancelled([d1.task_key(row) for row in done], max(0, starting), fences)


def _generations(rows: Sequence[Row]) -> Generations:
    return {d1.task_key(row): d1.whole(row, "generation") for row in rows}
