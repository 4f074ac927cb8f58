"""Reads the log of a task's model calls from D1."""

from collections.abc import Collection, Sequence
from typing import NamedTuple

from ..core import limits
from ..core.ids import TaskKey
from .d1.database import Store
from .d1.statement import Value
from .records import attempts
from .records.attempts import AttemptCounts, AttemptIndex, AttemptOutcome, CallAttempt, Place
from .records.claims import CallKey
from .sql import attempts as sql


class AttemptPage(NamedTuple):
    """A page of the log of a task's model calls.

    `after` is the place of the page's last call if further calls follow, else None.
    """

    attempts: Sequence[CallAttempt]
    counts: AttemptCounts
    after: Place | None


class AttemptStore(Store):
    """Reads of a task's log of calls, which change nothing."""

    async def attempts(
        self, task_key: TaskKey, only: Collection[AttemptOutcome], after: Place | None, most: int, default_model: str
    ) -> AttemptPage | None:
        """Read up to `most` calls of a task with the outcomes `only`, after a place; None if the task does not exist.

        `default_model` is the model that is shown for a task that names no model. A page ends early if its outputs
        would have more than ANSWER_CHARS_AT_ONCE characters. Reading a page of the log takes one or two calls to D1.
        """
        task, outputs, failures = await self._database.run(
            sql.CALLS.bind(task_key=task_key),
            sql.OUTPUTS.bind(task_key=task_key),
            sql.FAILURES.bind(task_key=task_key),
        )
        if not task:
            return None
        index = attempts.index(task[0], outputs, failures, default_model)
        keys, is_last = index.page(only, after, most, limits.ANSWER_CHARS_AT_ONCE)
        if not keys:
            return AttemptPage((), index.counts, None)
        found = [one for one in await self._made(task_key, index, keys, only) if after is None or one.place > after]
        if len(found) > most:
            return AttemptPage(found[:most], index.counts, found[most - 1].place)
        return AttemptPage(found, index.counts, None if is_last else Place.behind(*keys[-1]))

    async def _made(
        self, task_key: TaskKey, index: AttemptIndex, keys: Sequence[CallKey], only: Collection[AttemptOutcome]
    ) -> list[CallAttempt]:
        """Read those calls for the outputs `keys` that have one of the outcomes `only`, in order."""
        (level, idx), (last_level, last_idx) = keys[0], keys[-1]
        bounds: dict[str, Value] = {"level": level, "idx": idx, "last_level": last_level, "last_idx": last_idx}
        statements = [sql.SOME_FAILURES.bind(task_key=task_key, **bounds)]
        if AttemptOutcome.SUCCEEDED in only:
            statements.append(sql.SOME_OUTPUTS.bind(task_key=task_key, **bounds))
        failures, *segments = await self._database.run(*statements)
        bodies = segments[0] if segments else ()
        return [one for one in index.attempts(keys, bodies, failures) if one.outcome in only]
