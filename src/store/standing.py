"""What a write from outside a claim names, so that it applies to one moment of a task and changes nothing later."""

from typing import NamedTuple

from ..core import limits
from ..core.ids import TaskKey
from .d1 import columns
from .d1.database import Store
from .sql import views as sql

TOMBSTONE_MS = round(limits.LATE_SECONDS_MOST * 1000)


class Moment(NamedTuple):
    """How often a task was claimed (`fence`) and retried by its client (`generation`)."""

    fence: int
    generation: int


class StandingStore(Store):
    """Reads what a write from outside a claim names."""

    async def _standing(self, task_key: TaskKey) -> Moment | None:
        """Read the task's fence and generation. None: the task does not exist."""
        (found,) = await self._database.run(sql.STATUS.bind(task_key=task_key))
        return Moment(columns.whole(found[0], "fence"), columns.whole(found[0], "generation")) if found else None
