"""Reads tasks for the event streams that clients follow. Each read of a task is one call to D1."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import takewhile

from ..domain import limits
from ..domain.events import State
from ..domain.ids import TaskKey
from ..domain.marks import Pulse
from ..domain.structure import Gap
from ..domain.task import Status
from . import options, rows
from .claims import Output
from .d1 import BoundStatement, Row, Store, statement, text, whole
from .fragments import GAPS, LATE, NOW, OVERDUE, UNANSWERED, done, stored
from .rows import ChunkIndex
from .seen import LATE_MS

# Reads the state of a task in one row, with its gaps. The columns `late` and `unanswered` of LOOK also say whether a
# request that reads the task must help it.
LOOK = statement(f"""
SELECT status, route, fence, step, generation, started_at IS NOT NULL AS started, total, completed, failed, truncated,
  {NOW} AS read_at, max(created_at, coalesce(announced_at, 0), coalesce(sent_at, 0)) AS news_at,
  (status IN ('pending', 'processing') AND {OVERDUE}) AS overdue, {LATE} AS late, {UNANSWERED} AS unanswered,
  structured ->> 'gaps' AS may_leave_gaps, {GAPS}
FROM tasks WHERE id = :task_key
""")

# Reads the segment that has the output of chunk `:next`, if more than `:known` chunks of the task have outputs. If no
# more chunks than `:known` have outputs, the statement reads no segment.
NEW_OUTPUTS = statement(f"""
SELECT * FROM ({stored("0", first=":next", last=":next")})
WHERE (SELECT completed FROM tasks WHERE id = :task_key) > :known
""")

# Reads a task's cuts and overlap, from which follows where the task's chunks are in its input.
CUTS = statement("SELECT cuts, overlap FROM texts WHERE task_id = :task_key")

# Counts how many chunks of a task have an output before the first chunk without an output, without reading any text.
READY_CHUNKS = statement(f"""
SELECT count(*) AS ready FROM (SELECT idx, row_number() OVER (ORDER BY idx) AS position FROM ({done("0")}))
WHERE idx = position - 1
""")


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """A task as one read found it, with the outputs and gaps that come after the last chunk that the client has seen.

    `pulse` says how far the task has progressed: its last write, status and route. `all_read` says that at this moment
    no output exists that was not read; it is False if no outputs were requested. `needs_help` says that apparently no
    worker will come for the task. `silent_ms` is how long ago the task was last created or dispatched, or announced
    calls. `gaps` are the chunks of the gaps that are before, between or right after the outputs.
    """

    state: State
    pulse: Pulse
    total: int
    completed: int
    failed: int
    truncated: int
    overdue: bool
    silent_ms: int
    needs_help: bool
    outputs: Sequence[Output]
    all_read: bool
    gaps: Mapping[int, Gap] = field(default_factory=dict)

    @property
    def ready(self) -> int:
        """How many chunks this read found: each has an output or a gap."""
        return len(self.outputs) + len(self.gaps)


@dataclass(frozen=True, slots=True)
class Opening:
    """What the first read of a stream found: the chunks' places in the text, and how many first chunks are ready.

    `ready` counts the chunks with outputs before the first chunk without one. In a task that may leave gaps, all chunks
    count as `ready`, because a client may have passed gaps that a retry has opened again. `index` knows where the
    chunks are in the text, but lists no finished chunks. `look` is the task as the stream's first read found it.
    """

    index: ChunkIndex
    ready: int
    look: Look


class EventStore(Store):
    """Reads of tasks for event streams, which change nothing. Each method of `EventStore` is one call to D1."""

    async def opening(self, task_key: TaskKey, following: int) -> Opening | None:
        """Read a task when a stream opens, with outputs from chunk `following` on. None: it is gone."""
        found, found_outputs, places, ready = await self._database.run(
            *_looking(task_key, following, -1), CUTS.bind(task_key=task_key), READY_CHUNKS.bind(task_key=task_key)
        )
        if not found or not places:
            return None
        index = rows.chunk_index(task_key, places[0], (), ())
        passed = whole(found[0], "total") if found[0]["may_leave_gaps"] else whole(ready[0], "ready")
        return Opening(index, passed, _look(found[0], found_outputs, following))

    async def look(self, task_key: TaskKey, following: int | None, known: int) -> Look | None:
        """Read a task, and if more than `known` of its chunks have outputs, also outputs from chunk `following` on.

        Returns None if the task does not exist. One read gives at most EVENT_CHUNKS_AT_ONCE outputs, all from one
        stored segment. If `following` is None, the read returns no output.
        """
        found, found_outputs = await self._database.run(*_looking(task_key, following, known))
        return _look(found[0], found_outputs, following) if found else None


def _looking(task_key: TaskKey, following: int | None, known: int) -> tuple[BoundStatement, BoundStatement]:
    if following is None:
        following, known = 0, limits.CHUNKS_MOST
    return (
        LOOK.bind(task_key=task_key, late_ms=LATE_MS, in_vain=limits.SENDS_IN_VAIN),
        NEW_OUTPUTS.bind(task_key=task_key, next=following, known=known),
    )


def _look(row: Row, found_outputs: Sequence[Row], following: int | None) -> Look:
    first, status = following or 0, Status(text(row, "status"))
    wanted = range(first, first + limits.EVENT_CHUNKS_AT_ONCE)
    read = {output.key.position: output for output in rows.outputs(0, found_outputs, wanted)}
    found = {gap.chunk: gap for gap in options.gaps(row)}
    places = list(takewhile(lambda position: position in read or position in found, wanted))
    outputs = [read[position] for position in places if position in read]
    gaps = {position: found[position] for position in places if position not in read}
    # Only one segment of outputs was read, so another segment may have the next outputs. A task that was ended from
    # outside may have more outputs than `completed` says, because outputs of calls that were in flight are still
    # recorded.
    known = status is Status.COMPLETED or not status.terminal
    # A retry may have opened gaps before `first` again, so that fewer than `first` of these chunks have an output.
    known = known and not (row["may_leave_gaps"] and row["generation"])
    counted = known and whole(row, "completed") + len(found) <= first + len(places)
    return Look(
        state=State(whole(row, "generation"), status, bool(row["started"])),
        pulse=rows.pulse(row),
        total=whole(row, "total"),
        completed=whole(row, "completed"),
        failed=whole(row, "failed"),
        truncated=whole(row, "truncated"),
        overdue=bool(row["overdue"]),
        silent_ms=max(0, whole(row, "read_at") - whole(row, "news_at")),
        needs_help=bool(row["late"] or row["unanswered"]),
        outputs=outputs,
        all_read=following is not None and (not places or counted),
        gaps=gaps,
    )
