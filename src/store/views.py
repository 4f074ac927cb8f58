"""The API's share of the store: reads of tasks, of their chunks and of pages."""

from collections.abc import Sequence

from ..core import limits
from ..core.ids import TaskKey
from ..core.states import Status
from ..core.task import ChunkView, Task
from . import columns, rows
from .database import Store
from .pages import Page, Span
from .seen import LATE_MS
from .sql import views as sql
from .sql.statement import as_json


class ViewStore(Store):
    """Reads that change nothing, each one call to D1."""

    async def task(self, task_key: TaskKey) -> Task | None:
        """Read one task, with its result once it is completed."""
        found, result = await self._database.run(
            sql.TASK.bind(task_key=task_key, late_ms=LATE_MS, in_vain=limits.SENDS_IN_VAIN),
            sql.RESULT.bind(task_key=task_key),
        )
        return rows.task(found[0], result) if found else None

    async def tasks(self, task_keys: Sequence[TaskKey]) -> Sequence[Task]:
        """Read tasks, those that are there, in no order and without results."""
        (found,) = await self._database.run(sql.TASKS.bind(task_keys=as_json(task_keys)))
        return [rows.task(row) for row in found]

    async def is_there(self, task_key: TaskKey) -> bool:
        """Whether there is such a task."""
        (found,) = await self._database.run(sql.STATUS.bind(task_key=task_key))
        return bool(found)

    async def going_on(self, task_key: TaskKey) -> bool:
        """Whether the task has neither ended nor passed its deadline."""
        (found,) = await self._database.run(sql.STATUS.bind(task_key=task_key))
        return bool(found) and not Status(columns.text(found[0], "status")).terminal and not found[0]["overdue"]

    async def chunks(self, task_key: TaskKey) -> list[ChunkView] | None:
        """Read the finished chunks, in order; None when there is no such task."""
        places, done, failed = await self._database.run(
            sql.PLACES.bind(task_key=task_key),
            sql.CHUNKS.bind(task_key=task_key),
            sql.FAILED_CHUNKS.bind(task_key=task_key),
        )
        return rows.chunk_views(places[0], done, failed) if places else None

    async def list(self, span: Span, *, status: Status | None, most: int) -> Page:
        """Read a page of tasks, newest first, without results."""
        # One more than is shown: whether it is there says whether there is a next page.
        if status is None:
            page = sql.LIST.bind(first=span.first, behind=span.behind, most=most + 1)
        else:
            page = sql.LIST_STATUS.bind(
                first=span.first, behind=span.behind, most=most + 1, status=status, walk_most=limits.LIST_WALK_MOST
            )
        (found,) = await self._database.run(page)
        return rows.page(found, status, most)

    async def ready(self) -> None:
        """Return if D1 answers and the schema is there; raise StoreError otherwise."""
        await self._database.run(sql.READY.bind())
