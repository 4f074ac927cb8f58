"""Reads tasks, their chunks and pages of lists of tasks, for the API."""

from collections.abc import Sequence

from ..core import limits
from ..core.ids import TaskKey
from ..core.marks import Pulse
from ..core.states import Status
from ..core.task import FinishedChunk, Task
from .d1 import columns
from .d1.statement import Value, as_json
from .hooks import HookedStore
from .records import rows
from .records.chunk_index import ChunkIndex
from .records.pages import NO_FILTER, Counts, ListFilter, Page, Span
from .seen import LATE_MS
from .sql import views as sql

_QUEUED_MS = round(limits.AHEAD_COUNTED_SECONDS * 1000)


class TooMuchAtOnce(Exception):
    """Raised if a task's outputs are too large to be read at once; they can be read in pages."""


class TaskGone(Exception):
    """Raised if outputs that an index listed no longer exist, because their task was erased in the meantime."""


class ViewStore(HookedStore):
    """Reads tasks for the API, and writes nothing. Each method of `ViewStore` is one call to D1."""

    async def task(self, task_key: TaskKey) -> Task | None:
        """Read a task, with its result once it is completed.

        A result of more than ANSWER_CHARS_AT_ONCE characters, or VALUE_CHARS_AT_ONCE with a schema, is left out.
        """
        found, result, source = await self._database.run(
            sql.TASK.bind(
                task_key=task_key,
                late_ms=LATE_MS,
                in_vain=limits.SENDS_IN_VAIN,
                queued_ms=_QUEUED_MS,
                most_ahead=limits.AHEAD_COUNTED_MOST,
            ),
            sql.RESULT.bind(
                task_key=task_key,
                most_chars=limits.ANSWER_CHARS_AT_ONCE,
                most_of_value=min(limits.ANSWER_CHARS_AT_ONCE, limits.VALUE_CHARS_AT_ONCE),
            ),
            sql.SOURCE.bind(task_key=task_key),
        )
        return await rows.whole_task(found[0], result, source, self.hooks.joiner_of) if found else None

    async def input(self, task_key: TaskKey) -> str | None:
        """Read the text of a task. Returns None if the text is no longer kept, or if the task does not exist."""
        (found,) = await self._database.run(sql.INPUT.bind(task_key=task_key))
        return columns.text(found[0], "input") or None if found else None

    async def tasks(self, task_keys: Sequence[TaskKey]) -> Sequence[Task]:
        """Read those of the given tasks that exist, in no particular order, without their results."""
        (found,) = await self._database.run(sql.TASKS.bind(task_keys=as_json(task_keys)))
        return [rows.task(row) for row in found]

    async def is_there(self, task_key: TaskKey) -> bool:
        """Whether the task exists."""
        (found,) = await self._database.run(sql.STATUS.bind(task_key=task_key))
        return bool(found)

    async def going_on(self, task_key: TaskKey) -> Pulse | None:
        """Read how far a task that has not ended has progressed.

        Returns None if the task has ended, passed its deadline, or is gone.
        """
        (found,) = await self._database.run(sql.STATUS.bind(task_key=task_key))
        if not found or found[0]["overdue"]:
            return None
        pulse = rows.pulse(found[0])
        return None if pulse.status.terminal else pulse

    async def chunks(self, task_key: TaskKey) -> list[FinishedChunk] | None:
        """Read a task's finished chunks, in text order. Returns None if the task does not exist.

        Raises TooMuchAtOnce for more than ANSWER_CHARS_AT_ONCE characters of outputs, or CHUNKS_AT_ONCE chunks.
        """
        found = await self.indexed_chunks(task_key)
        return None if found is None else found[1]

    async def indexed_chunks(self, task_key: TaskKey) -> tuple[ChunkIndex, list[FinishedChunk]] | None:
        """Read what `chunks` reads, and the index of the chunks, which has no cuts for a batch. Raises as `chunks`."""
        most = limits.ANSWER_CHARS_AT_ONCE
        places, done, failed, answered = await self._database.run(
            sql.PLACES.bind(task_key=task_key, most_chars=most),
            sql.CHUNKS.bind(task_key=task_key, most_chars=most),
            sql.FAILED_CHUNKS.bind(task_key=task_key),
            sql.REJECTED.bind(task_key=task_key, first=0, last=limits.CHUNKS_MOST, most_chars=most),
        )
        if not places:
            return None
        if not places[0]["whole"]:
            raise TooMuchAtOnce
        index = rows.chunk_index(task_key, places[0], (), failed)
        return index, rows.chunk_views(index, rows.outputs(0, done), range(len(index.cuts)), answered)

    async def chunk_index(self, task_key: TaskKey) -> ChunkIndex | None:
        """Read which chunks of a task are finished, but not their outputs. Returns None if the task does not exist."""
        places, found, failed = await self._database.run(
            sql.PLACES.bind(task_key=task_key, most_chars=0),
            sql.CHUNK_SIZES.bind(task_key=task_key),
            sql.FAILED_CHUNKS.bind(task_key=task_key),
        )
        return rows.chunk_index(task_key, places[0], found, failed) if places else None

    async def some_chunks(
        self, index: ChunkIndex, places: range, *, with_rejected: bool = False
    ) -> list[FinishedChunk]:
        """Read the finished chunks in a range of places, as they were when `index` was read.

        With `with_rejected` failed chunks have their last rejected answers.

        Raises TaskGone if some of the outputs in `index` no longer exist.
        """
        bounds = {"first": places.start, "last": places.stop - 1}
        statements = [sql.SOME_CHUNKS.bind(task_key=index.task_key, **bounds)]
        if with_rejected and not index.answered.isdisjoint(places):
            most = limits.CHUNKS_MOST * limits.REJECTED_CHARS_MOST * 10  # the places are few
            statements.append(sql.REJECTED.bind(task_key=index.task_key, **bounds, most_chars=most))
        done, *answered = await self._database.run(*statements)
        # Outputs that were written after the index was read are left out, because their lengths were not counted, and
        # their chunks may be listed as failed.
        wanted = {place for place in places if place in index.sizes}
        outputs = rows.outputs(0, done, wanted)
        if len(outputs) < len(wanted):
            raise TaskGone
        return rows.chunk_views(index, outputs, places, answered[0] if answered else ())

    async def list(self, span: Span, *, only: ListFilter = NO_FILTER, most: int) -> Page:
        """Read a page of a list of tasks, newest first, without their results."""
        # The statement reads one task more than the page shows. If that additional task exists, there is a next page.
        bounds: dict[str, Value] = {"first": span.first, "behind": span.behind, "most": most + 1}
        if only == NO_FILTER:
            page = sql.LIST.bind(**bounds)
        else:
            page = sql.LIST_FILTERED.bind(**bounds, **only._asdict(), walk_most=limits.LIST_WALK_MOST)
        (found,) = await self._database.run(page)
        return rows.page(found, only, most)

    async def counts(self, span: Span, only: ListFilter) -> Counts:
        """Count the newest tasks of a span by status; only tasks count that all filters except the status accept."""
        values = {name: value for name, value in only._asdict().items() if name != "status"}
        bounds: dict[str, Value] = {"first": span.first, "behind": span.behind}
        (found,) = await self._database.run(sql.LIST_COUNTS.bind(**bounds, **values, walk_most=limits.LIST_WALK_MOST))
        among = columns.whole(found[0], "among")
        of = {status: columns.whole(found[0], status) for status in Status}
        return Counts(of, among, among < limits.LIST_WALK_MOST)

    async def ready(self) -> None:
        """Check that D1 answers and has all tables and columns that this code needs. Raises StoreError if not."""
        await self._database.run(sql.READY.bind())
