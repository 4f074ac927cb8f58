"""Many tasks of a tenant at once: which ones, and what is done with them. Each method is one transaction in D1."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from ..core import limits
from ..core.codes import TaskCode
from ..core.ids import TaskKey
from ..core.states import Status
from . import columns
from .admission import Conditions
from .database import Row
from .outbox import OutboxStore
from .pages import Span
from .sql import bulk as sql
from .sql.statement import Value, as_json

Generations = Mapping[TaskKey, int]


class Failed(NamedTuple):
    """Failed tasks with their generations. `unended`: tasks of the tenant that go on, counted as far as is wanted."""

    generations: Generations
    unended: int


class Cost(NamedTuple):
    """How many tasks a bulk retry would put back, and the calls that these need at least and make at most."""

    tasks: int
    minimum_calls: int
    maximum_calls: int


class Cancelled(NamedTuple):
    """Tasks that were cancelled. Announced calls of theirs may still start for so many milliseconds, but no others.

    `objects` are those of them on which Durable Objects have worked last, with the fences up to which claims are over.
    """

    task_keys: Sequence[TaskKey]
    starting_ms: int
    objects: Mapping[TaskKey, int]


class BulkStore(OutboxStore):
    """What is done to many tasks. A write names the generation of each task, as it was read."""

    async def failed(self, tenant: str, span: Span, code: TaskCode | None, most: int, on: Conditions) -> Failed:
        """Find up to so many failed tasks, the oldest first, but none that ran out of its budget."""
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
        return Failed(_generations(found), columns.whole(found[0], "unended") if found else 0)

    async def retry_cost(self, span: Span, code: TaskCode | None, attempts: int) -> Cost:
        """Count those tasks, up to BULK_COUNT_MOST, and their calls, with so many attempts for each output."""
        (found,) = await self._database.run(
            sql.COUNT_FAILED.bind(
                first=span.first, behind=span.behind, code=code, attempts=attempts, most=limits.BULK_COUNT_MOST
            )
        )
        return Cost(*(columns.whole(found[0], name) for name in ("tasks", "minimum", "maximum")))

    async def retry_all(
        self, tenant: str, generations: Generations, unclaimed_ms: int, on: Conditions
    ) -> list[TaskKey]:
        """Put the tasks back, and return those that were: none if they are too many for the tenant's limit."""
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
        """Find up to so many tasks that have not ended."""
        (found,) = await self._database.run(
            sql.GOING_ON.bind(tenant=tenant, first=span.first, behind=span.behind, status=status, most=most)
        )
        return _generations(found)

    async def count_going_on(self, tenant: str, span: Span, status: Status | None) -> int:
        """Count them, up to BULK_COUNT_MOST."""
        most = limits.BULK_COUNT_MOST
        (found,) = await self._database.run(
            sql.COUNT_GOING_ON.bind(tenant=tenant, first=span.first, behind=span.behind, status=status, most=most)
        )
        return columns.whole(found[0], "tasks")

    async def cancel_all(self, generations: Generations, status: Status | None, retention_ms: int) -> Cancelled:
        """Cancel those of the tasks that go on, in this status if one is given."""
        named = as_json(generations)
        asked_at = self._now()
        _, done, told = await self._database.run(
            sql.CANCEL_ALL.bind(generations=named, status=status, retention_ms=retention_ms),
            sql.CANCELLED.bind(generations=named, lanes_from_chunks=limits.LANES_FROM_CHUNKS),
            self._outbox(list(generations)),
        )
        self._wrote(told, asked_at)
        starting = max((columns.whole(row, "left_ms") for row in done), default=0)
        fences = {columns.task_key(row): columns.whole(row, "fence") for row in done if columns.whole(row, "on_object")}
        return Cancelled([columns.task_key(row) for row in done], max(0, starting), fences)


def _generations(rows: Sequence[Row]) -> Generations:
    return {columns.task_key(row): columns.whole(row, "generation") for row in rows}
