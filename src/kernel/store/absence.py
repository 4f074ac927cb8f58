"""The tasks that wait for a model that is away: how many there are and since when, and the end of their pauses."""

from collections.abc import Sequence
from typing import NamedTuple

from ..domain.codes import TaskCode
from ..domain.ids import TaskKey
from . import d1
from .d1 import Row, Store, as_json, statement
from .fragments import LISTED, LIVE, NOW, UNHELD, wake

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

# A condition: the task only waits for a model that is away, so its pause may end. No call of it is out, the provider
# has not asked for the pause, and no worker died on the task.
_MAY_GO_ON = f"""finished_at IS NULL AND wait_reason = 'model_away' AND waits_for IS NULL AND in_flight = '[]'
  AND coalesce(asked_until <= {NOW}, 1) AND (status = 'pending' OR {LIVE})"""
_LOOK = "completed, calls_settled + calls_in_doubt AS calls, coalesce(last_error ->> 'at', 0) AS failed_at"

# Finds up to `:most` tasks whose pause may end, those first whose calls have failed least recently. `:model` counts for
# a task that names none. PAUSED reads two rows for each unfinished task.
PAUSED = statement(f"""
SELECT id, coalesce(model, :model) AS model, {_LOOK} FROM tasks INDEXED BY tasks_to_wake WHERE {_MAY_GO_ON}
ORDER BY failed_at, id LIMIT :most
""")

# Ends the pauses of tasks: they are due at once, and other tasks' probes do not hold their next call. The fence rises,
# so that a run that waits with the task, or a late copy of its release, changes nothing any more. If END_PAUSES is sent
# twice or lands late, it changes only tasks that wait again, or still.
END_PAUSES = statement(f"""
UPDATE tasks SET status = 'pending', {UNHELD}, fence = fence + 1, resumed_at = {NOW},
  not_before = coalesce(starts_at, 0),
  wait_reason = NULL, wait_until = NULL, dispatches = 0, sent_at = NULL, wake_at = {wake(NOW)}
WHERE {LISTED} AND {_MAY_GO_ON}
RETURNING id
""")

# Reads what became of tasks whose pauses have ended.
PROBED = statement(f"SELECT id, {_LOOK} FROM tasks WHERE {LISTED}")

# An expression: the task's pause was ended after its last call failed. For the claim.
RESUMED = "coalesce(resumed_at > coalesce(last_error ->> 'at', 0), 0)"


class UnfinishedTasks(NamedTuple):
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


class PausedTask(NamedTuple):
    """A task, its model, and how many chunks and calls it had and when a call of it last failed (0: none)."""

    task_key: TaskKey
    model: str
    completed: int
    calls: int
    failed_at: int


class AbsenceStore(Store):
    """Reads the tasks that wait for a model that is away, and ends their pauses. Each method is one call to D1."""

    async def paused(self, model: str, most: int) -> list[PausedTask]:
        """Find up to `most` tasks whose pause may end, those first whose calls have failed least recently."""
        (rows,) = await self._database.run(PAUSED.bind(model=model, most=most))
        return [_paused(row, d1.text(row, "model")) for row in rows]

    async def end_pauses(self, task_keys: Sequence[TaskKey]) -> int:
        """End the pauses of those of the tasks that still wait, and return how many did."""
        (ended,) = await self._database.run(END_PAUSES.bind(task_keys=as_json(task_keys)))
        return len(ended)

    async def answers(self, probes: Sequence[PausedTask]) -> dict[TaskKey, bool]:
        """Return for the tasks that have called their model since whether it answered. An erased task has not."""
        (rows,) = await self._database.run(PROBED.bind(task_keys=as_json([probe.task_key for probe in probes])))
        now = {d1.task_key(row): _paused(row, "") for row in rows}
        answered: dict[TaskKey, bool] = {}
        for probe in probes:
            found = now.get(probe.task_key)
            if found is None or found.failed_at > probe.failed_at:
                answered[probe.task_key] = found is not None and found.completed > probe.completed
            elif found.completed > probe.completed or (found.calls > probe.calls and not found.failed_at):
                answered[probe.task_key] = True
        return answered

    async def unfinished(self, most: int, back_ms: int) -> list[UnfinishedTasks]:
        """Count up to `most` unfinished tasks. Calls count as recent for `back_ms`."""
        (rows,) = await self._database.run(UNFINISHED.bind(most=most, back_ms=back_ms))
        return [
            UnfinishedTasks(
                d1.text(row, "tenant"),
                bool(row["is_away"]),
                None if row["code"] is None else TaskCode(d1.text(row, "code")),
                d1.whole(row, "tasks"),
                d1.maybe_whole(row, "since"),
                bool(row["succeeds"]),
            )
            for row in rows
        ]


def _paused(row: Row, model: str) -> PausedTask:
    return PausedTask(
        d1.task_key(row), model, d1.whole(row, "completed"), d1.whole(row, "calls"), d1.whole(row, "failed_at")
    )
