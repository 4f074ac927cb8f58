"""What a write from outside a claim names, so that it means one moment of a task and changes nothing later."""

from typing import NamedTuple

from ..core import limits
from ..core.ids import TaskKey
from . import columns
from .database import Store
from .sql import views as sql

TOMBSTONE_MS = round(limits.LATE_SECONDS_MOST * 1000)


class Moment(NamedTuple):
    """How often a task has been claimed (`fence`) and put back by its client (`generation`)."""

    fence: int
    generation: int


class StandingStore(Store):
    """Reads what a write from outside a claim names."""

    async def _standing(self, task_key: TaskKey) -> Moment | None:
        """Read where the task stands; None when there is no such task."""
        (found,) = await self._database.run(sql.STATUS.bind(task_key=task_key))
        return Moment(columns.whole(found[0], "fence"), columns.whole(found[0], "generation")) if found else None
