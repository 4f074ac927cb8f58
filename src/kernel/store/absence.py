"""The tasks that wait for a model that is away: how many there are and since when, and the end of their pauses."""

from typing import NamedTuple

from ..domain.codes import TaskCode
from . import d1
from .d1 import Store, statement
from .fragments import NOW

# A condition: the task waits for a model that is away, or one of its calls probes the model.
_IS_AWAY = "(coalesce(wait_reason = 'model_away', 0) OR away_waits > 0)"

# Counts the first `:most` unfinished tasks by tenant, by whether they wait for their model, and those that wait by the
# code of their last failed call. `succeeds` says that a call of one of them has succeeded, the last one in the last
# `:back_ms`. UNFINISHED reads two rows for each task.
UNFINISHED = statement(f"""
SELECT tenant, is_away, iif(is_away, code, NULL) AS code, count(*) AS tasks, min(away_since) AS since,
  max(succeeds) AS succeeds
FROM (
  SELECT tenant, {_IS_AWAY} AS is_away, last_error ->> 'code' AS code, away_since,
    completed > 0 AND last_error IS NULL AND coalesce(announced_at, 0) > {NOW} - :back_ms AS succeeds
  FROM tasks INDEXED BY tasks_to_wake WHERE finished_at IS NULL LIMIT :most
) GROUP BY 1, 2, 3
""")


class Unfinished(NamedTuple):
    """The unfinished tasks of a tenant that wait for their model (`is_away`) after calls that failed with `code`.

    The others are in a group of their own, without a code. `since` is when the first of them found its model away, in
    ms since the epoch. `succeeds` says that lately calls of these tasks succeeded.
    """

    tenant: str
    is_away: bool
    code: TaskCode | None
    tasks: int
    since: int | None
    succeeds: bool


class AbsenceStore(Store):
    """Reads the tasks that wait for a model that is away. Each method is one call to D1."""

    async def unfinished(self, most: int, back_ms: int) -> list[Unfinished]:
        """Count up to `most` unfinished tasks. Calls count as recent for `back_ms`."""
        (rows,) = await self._database.run(UNFINISHED.bind(most=most, back_ms=back_ms))
        return [
            Unfinished(
                d1.text(row, "tenant"),
                bool(row["is_away"]),
                None if row["code"] is None else TaskCode(d1.text(row, "code")),
                d1.whole(row, "tasks"),
                d1.maybe_whole(row, "since"),
                bool(row["succeeds"]),
            )
            for row in rows
        ]
