"""Reads the names of tenants, and the figures of each tenant's tasks, for an operator of several tenants."""

from collections.abc import Sequence
from typing import NamedTuple

from ..domain.ids import TENANT_TASKS_MOST, task_key_of
from ..domain.task import Status
from . import d1, tallies
from .d1 import Row, Store
from .rows import span


class EndedTasks(NamedTuple):
    """A tenant's tasks with one status, and one error code if they failed: their number, and sums of their calls.

    `cost` is in billionths of a dollar, and None if no settled call of the tasks had a price.
    """

    status: Status
    code: str | None
    tasks: int
    calls: int
    in_doubt: int
    input_tokens: int
    output_tokens: int
    cost: int | None
    cost_in_doubt: int


class TenantStore(Store):
    """Reads tenants and their figures. Each method of `TenantStore` is one call to D1."""

    async def tenants(self, first: str, most: int) -> Sequence[str]:
        """Return up to `most` tenants that have tasks, in the order of their keys, from `first` on."""
        (found,) = await self._database.run(tallies.TENANTS.bind(first=first and task_key_of(first, ""), most=most))
        return [d1.text(row, "tenant") for row in found]

    async def figures(self, tenants: Sequence[str], hours: int) -> Sequence[Sequence[EndedTasks]]:
        """Add up each tenant's newest tasks: at most TENANT_TASKS_MOST that were created in the last `hours` hours."""
        spans = [span(tenant, before_id=None, from_ms=None, until_ms=None)._asdict() for tenant in tenants]
        back_ms = hours * 3_600_000
        found = await self._database.run(
            *(tallies.FIGURES.bind(**one, most=TENANT_TASKS_MOST, back_ms=back_ms) for one in spans)
        )
        return [[_ended(row) for row in rows] for rows in found]


def _ended(row: Row) -> EndedTasks:
    return EndedTasks(
        status=Status(d1.text(row, "status")),
        code=d1.maybe_text(row, "error_code"),
        tasks=d1.whole(row, "tasks"),
        calls=d1.whole(row, "calls"),
        in_doubt=d1.whole(row, "in_doubt"),
        input_tokens=d1.whole(row, "input_tokens"),
        output_tokens=d1.whole(row, "output_tokens"),
        cost=d1.maybe_whole(row, "cost"),
        cost_in_doubt=d1.whole(row, "cost_in_doubt"),
    )
