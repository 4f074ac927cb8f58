"""Retries or cancels many tasks of a tenant at once. Each method of `BulkStore` is one transaction in D1."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from ..core import limits
from ..core.codes import TaskCode
from ..core.ids import TaskKey
from ..core.states import Status
from .admission import Conditions
from .d1 import columns
from .d1.database import Row
from .d1.statement import Value, as_json
from .hooks import HookedStore
from .records.pages import Span
from .sql import bulk as sql

Generations = Mapping[TaskKey, int]


class FailedTasks(NamedTuple):
    """Failed tasks, each with its generation.

    `unended` is how many unfinished tasks the tenant has, counted only as far as the tenant's limits require.
    """

    generations: Generations
    unended: int


class Cost(NamedTuple):
    """What a bulk retry would cost: the number of tasks, and the least and the most model calls of these tasks."""

    tasks: int
    minimum_calls: int
    maximum_calls: int


class Cancelled(NamedTuple):
    """Tasks that were cancelled.

    For `starting_ms` more, the announced model calls of the tasks may still start, but no other calls may. `objects`
    are those of the cancelled tasks on which Durable Objects worked last. The number beside each task is a fence: all
    claims of the task up to this fence are over.
    """

    task_keys: Sequence[TaskKey]
    starting_ms: int
    objects: Mapping[TaskKey, int]


class BulkStore(HookedStore):
    """Retries or cancels many tasks.

    Each write of `BulkStore` names the generation that each task had when it was read.
    """

    async def failed(self, tenant: str, span: Span, code: TaskCode | None, most: int, on: Conditions) -> FailedTasks:
        """Find up to `most` failed tasks in a span of keys, oldest first, without those whose budget ran out."""
        (found,) = await self._database.run(
            sql.FAILED.bind(
                tenant=tenant,
                first=span.first,
                behind=span.behind,
                code=code,
                most=most,
                counted_most=max(on.tasks_in_flight_most or 0, on.queue_share or 0),
            )
        )
        return FailedTasks(_generations(found), columns.whole(found[0], "unended") if found else 0)

    async def retry_cost(self, span: Span, code: TaskCode | None, attempts: int, reasks: int = 0) -> Cost:
        """Count a span's failed tasks, up to BULK_COUNT_MOST, and the model calls that retrying these tasks would take.

        The most model calls are counted with `attempts` calls for each output, and `reasks` more if the output must fit
        a schema.
        """
        (found,) = await self._database.run(
            sql.COUNT_FAILED.bind(
                first=span.first,
                behind=span.behind,
                code=code,
                attempts=attempts,
                reasks=reasks,
                most=limits.BULK_COUNT_MOST,
            )
        )
        return Cost(*(columns.whole(found[0], name) for name in ("tasks", "minimum", "maximum")))

    async def retry_all(
        self, tenant: str, generations: Generations, unclaimed_ms: int, on: Conditions
    ) -> list[TaskKey]:
        """Retry failed tasks, and return those that were retried.

        If the tasks would exceed the tenant's limit of tasks in flight, none of them is retried.
        """
        named = as_json(generations)
        which: dict[str, Value] = {
            "generations": named,
            "count": len(generations),
            "tenant": tenant,
            "tasks_most": on.tasks_in_flight_most,
        }
        *_, done = await self._database.run(
            sql.RETRY_ALL_COUNT.bind(**which),
            sql.RETRY_ALL_FAILURES.bind(**which),
            sql.RETRY_ALL.bind(**which, unclaimed_ms=unclaimed_ms),
            sql.RETRIED.bind(generations=named),
        )
        return [columns.task_key(row) for row in done]

    async def going_on_in(self, tenant: str, span: Span, status: Status | None, most: int) -> Generations:
        """Find up to `most` unfinished tasks of a span; only those in `status`, if it is given."""
        (found,) = await self._database.run(
            sql.GOING_ON.bind(tenant=tenant, first=span.first, behind=span.behind, status=status, most=most)
        )
        return _generations(found)

    async def count_going_on(self, tenant: str, span: Span, status: Status | None) -> int:
        """Count the unfinished tasks of a span, up to BULK_COUNT_MOST."""
        most = limits.BULK_COUNT_MOST
        (found,) = await self._database.run(
            sql.COUNT_GOING_ON.bind(tenant=tenant, first=span.first, behind=span.behind, status=status, most=most)
        )
        return columns.whole(found[0], "tasks")

    async def cancel_all(self, generations: Generations, status: Status | None, retention_ms: int) -> Cancelled:
        """Cancel the unfinished ones of the given tasks, or if `status` is given, only those with this status."""
        named = as_json(generations)
        _, done = await self._end(
            list(generations),
            sql.CANCEL_ALL.bind(generations=named, status=status, retention_ms=retention_ms),
            sql.CANCELLED.bind(generations=named, lanes_from_chunks=limits.LANES_FROM_CHUNKS),
        )
        starting = max((columns.whole(row, "left_ms") for row in done), default=0)
        fences = {columns.task_key(row): columns.whole(row, "fence") for row in done if columns.whole(row, "on_object")}
        return Cancelled([columns.task_key(row) for row in done], max(0, starting), fences)


def _generations(rows: Sequence[Row]) -> Generations:
    return {columns.task_key(row): columns.whole(row, "generation") for row in rows}
