"""Reads the names of tenants, and the figures of each tenant's tasks, for an operator of several tenants."""

from collections.abc import Sequence
from typing import NamedTuple

from ..core.ids import task_key_of
from ..core.states import Status
from ..core.tenants import TENANT_TASKS_MOST
from .d1 import columns
from .d1.database import Store
from .records.pages import span
from .sql import tallies as sql


class EndedTasks(NamedTuple):
    """A tenant's tasks with one status, and one error code if they failed: their number, and sums of their calls."""

    status: Status
    code: str | None
    tasks: int
    calls: int
    in_doubt: int
    input_tokens: int
    output_tokens: int


class TenantStore(Store):
    """Reads tenants and their figures. Each method of `TenantStore` is one call to D1."""

    async def tenants(self, first: str, most: int) -> Sequence[str]:
        """Return up to `most` tenants that have tasks, in the order of their keys.

        The first tenant that is returned is `first` itself, or the next tenant after `first`.
        """
        (found,) = await self._database.run(sql.TENANTS.bind(first=first and task_key_of(first, ""), most=most))
        return [columns.text(row, "tenant") for row in found]

    async def figures(self, tenants: Sequence[str], hours: int) -> Sequence[Sequence[EndedTasks]]:
        """Add up each tenant's newest tasks: at most TENANT_TASKS_MOST that were created in the last `hours` hours."""
        spans = [span(tenant, before_id=None, from_ms=None, until_ms=None) for tenant in tenants]
        found = await self._database.run(
            *(
                sql.FIGURES.bind(
                    first=one.first,
                    behind=one.behind,
                    most=TENANT_TASKS_MOST,
                    back_ms=hours * 3_600_000,
                )
                for one in spans
            )
        )
        return [
            [
                EndedTasks(
                    status=Status(columns.text(row, "status")),
                    code=columns.maybe_text(row, "error_code"),
                    tasks=columns.whole(row, "tasks"),
                    calls=columns.whole(row, "calls"),
                    in_doubt=columns.whole(row, "in_doubt"),
                    input_tokens=columns.whole(row, "input_tokens"),
                    output_tokens=columns.whole(row, "output_tokens"),
                )
                for row in rows
            ]
            for rows in found
        ]
