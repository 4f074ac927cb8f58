"""Lets a write from outside a claim name its task's state, so that the write changes nothing if it arrives late."""

from typing import NamedTuple

from ..core import limits
from ..core.ids import TaskKey
from .d1 import columns
from .d1.database import Store
from .sql import views as sql

TOMBSTONE_MS = round(limits.LATE_SECONDS_MOST * 1000)


class Moment(NamedTuple):
    """A state of a task: how often it had been claimed by then (`fence`) and retried by its client (`generation`)."""

    fence: int
    generation: int


class StandingStore(Store):
    """The base class of stores that write to a task without having a claim."""

    async def _standing(self, task_key: TaskKey) -> Moment | None:
        """Read the task's fence and generation. Returns None if the task does not exist."""
        (found,) = await self._database.run(sql.STATUS.bind(task_key=task_key))
        return Moment(columns.whole(found[0], "fence"), columns.whole(found[0], "generation")) if found else None
