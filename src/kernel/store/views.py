"""Reads tasks, chunks and pages of lists for the API. Each statement reads only the rows that it needs."""

from collections.abc import Iterable, Sequence

from ..domain import limits
from ..domain.ids import TaskKey
from ..domain.marks import Pulse
from ..domain.task import NAME_MEMBERS, FinishedChunk, Status, Task
from . import d1, rows
from .d1 import Value, as_json, statement
from .fragments import GAPS, LATE, LISTED, LIVE, NOW, OPTIONS, OVERDUE, UNANSWERED, done, readable, sizes, stored
from .hooks import HookedStore
from .rows import NO_FILTER, ChunkIndex, Counts, ListFilter, Page, Span
from .seen import LATE_MS

# The columns from which `rows.task` makes a `Task`. A write after the end of a task records the coverage before
# SETTLE records `failed`.
VIEW = f"""id, status, route, fence, step, {OPTIONS}, total, completed, failed, truncated, attempts,
  calls_settled, calls_in_doubt, calls_minimum, json_array_length(in_flight) AS calls_in_flight, in_flight, doubted,
  {LIVE} AS live, input_tokens, output_tokens, cached_tokens, cost, cost_in_doubt, cost_out,
  error_code, error_message, error_retryable, first_line, created_at, started_at, finished_at, wake_at, deadline_at,
  not_before, lease_until, rest_until, announced_at, start_ms, stalls, idle_runs, last_error, wait_reason, waits_for,
  wait_until, pace_ms, sent_at, reasks, rejected, repaired, quotes_not_found,
  iif(failed > 0, coverage, NULL) AS coverage, retry_of, kind, text_file, {NOW} AS read_at,
  (status IN ('pending', 'processing') AND {OVERDUE}) AS overdue"""

# A condition: one of the texts that name a task contains `:text`. SQLite's `instr` has no wildcards, so every character
# of `:text` stands for itself. `:text` must contain no capital A to Z, because the texts are compared in lower case.
_NAMED = " OR ".join(
    f"instr(lower({name}), :text) > 0"
    for name in (
        "first_line",
        *(f"CASE json_type(metadata, '$.{one}') WHEN 'text' THEN metadata ->> '$.{one}' END" for one in NAME_MEMBERS),
    )
)
# The conditions of a list's filters. Each condition is listed under the name of its parameter, which is also the name
# of a field in `rows.ListFilter`. A filter of a list whose parameter is NULL accepts every task.
# `:default_model` is the model that counts for a task that names no model.
_FILTERS = {
    "status": "status = :status",
    "route": "route = :route",
    "error_code": "error_code = :error_code",
    "model": "coalesce(model, :default_model) = :model",
    "text": f"(instr(id, ':' || :text) > 0 OR {_NAMED})",
    "extras": "NOT EXISTS (SELECT 1 FROM json_each(:extras) WHERE extras ->> json_each.key IS NOT json_each.value)",
}


def _taken(names: Iterable[str]) -> str:
    return " AND ".join(f"(:{name} IS NULL OR {_FILTERS[name]})" for name in names)


# Reads one task, in one row. Its columns `late` and `unanswered` say whether a request that reads the task must help
# it, because no worker has claimed it in time. If the task has been pending and due for `:queued_ms`, TASK counts the
# older unfinished tasks of its tenant, unless more than `:most_ahead` are unfinished. If the task waits for an object
# slot, TASK adds the slots that other tenants' tasks have, unless they are more than `:most_ahead`. To count the older
# tasks, TASK reads two rows for each unfinished task of the tenant. A task's gaps are derived from its failures and its
# cuts.
_OF_OTHERS = """CASE
    WHEN route <> 'durable-object' OR EXISTS (SELECT 1 FROM object_places WHERE object_places.id = tasks.id) THEN 0
    ELSE (SELECT CASE WHEN count(*) <= :most_ahead THEN count(*) END FROM (
      SELECT 1 FROM object_places AS taken WHERE substr(taken.id, 1, instr(taken.id, ':') - 1) <> tasks.tenant
      LIMIT 1 + :most_ahead
    ))
  END"""
TASK = statement(f"""
SELECT {VIEW}, {LATE} AS late, {UNANSWERED} AS unanswered, {GAPS},
  CASE WHEN status = 'pending' AND max(created_at, not_before) <= {NOW} - :queued_ms THEN (
    SELECT CASE WHEN count(*) <= :most_ahead THEN coalesce(sum(other < :task_key), 0) END FROM (
      SELECT going.id AS other FROM tasks AS going WHERE going.tenant = tasks.tenant AND going.finished_at IS NULL
      LIMIT 1 + :most_ahead
    )
  ) + {_OF_OTHERS} END AS ahead
FROM tasks WHERE id = :task_key
""")

# Reads several tasks by their keys, one row each.
TASKS = statement(f"SELECT {VIEW} FROM tasks WHERE {LISTED}")

# Reads the outputs that make up the result of a completed task. RESULT gives no rows if the task is not completed, or
# if the outputs of its result are too large to be read at once: of a task with a schema more than `:most_of_value`
# characters, because a value is also parsed. A batch has no result, because its outputs are in a file.
RESULT = statement(f"""
WITH top (level, most_chars) AS (
  SELECT CASE reduce WHEN 'merge' THEN (SELECT max(level) FROM segments WHERE task_id = :task_key) ELSE 0 END,
    iif(structured IS NULL, :most_chars, :most_of_value)
  FROM tasks WHERE id = :task_key AND status = 'completed' AND kind IS NOT 'batch'
)
SELECT * FROM ({stored("(SELECT level FROM top)")})
WHERE {readable("(SELECT level FROM top)", "(SELECT most_chars FROM top)")}
""")

# Reads what the API shows of a task's input, but not the input's text.
SOURCE = statement("""
SELECT instructions, overlap, coalesce(cuts ->> '$[#-1]', 0) AS characters, output_schema, join_rules
FROM texts WHERE task_id = :task_key
""")

# Reads the text of a task, which is '' once the text has been erased.
INPUT = statement("SELECT input FROM texts WHERE task_id = :task_key")

# Reads a task's state, for `?wait=` and for writes that name it, so that late ones change nothing.
STATUS = statement(
    f"SELECT status, route, fence, step, generation, {OVERDUE} AS overdue FROM tasks WHERE id = :task_key"
)

# CHUNKS reads the outputs of a task's chunks, and SPANS reads where the chunks are in the input. `whole` says whether
# the outputs of the task's chunks are small enough to be read at once. For a batch no chunk is read, because the
# batch's lines are in its files.
_IS_NO_BATCH = "NOT EXISTS (SELECT 1 FROM tasks WHERE id = :task_key AND kind = 'batch')"
# A condition: the last rejected answers of the failed chunks have at most `:most_chars` characters together.
_ARE_SHORT = """:most_chars >= coalesce((
    SELECT sum(length(rung)) FROM failures WHERE task_id = :task_key AND level = 0 AND final = 1
  ), 0)"""
SPANS = statement(
    f"SELECT cuts, overlap, {readable('0')} AND {_ARE_SHORT} AND json_array_length(cuts) <= {limits.CHUNKS_AT_ONCE} "
    "AS whole FROM texts WHERE task_id = :task_key"
)
CHUNKS = statement(f"SELECT * FROM ({stored('0')}) WHERE {readable('0')} AND {_IS_NO_BATCH}")

# CHUNK_SIZES reads which chunks of a task have outputs, with the lengths of these outputs. SOME_CHUNKS reads some of
# the outputs, FAILED_CHUNKS reads the chunks that failed for good, and REJECTED some of their last rejected answers.
CHUNK_SIZES = statement(f"SELECT * FROM ({sizes('0')}) WHERE {_IS_NO_BATCH}")
SOME_CHUNKS = statement(stored("0", first=":first", last=":last"))
FAILED_CHUNKS = statement(f"""
SELECT idx, calls, code, message, retryable, rung IS NOT NULL AS has_rung,
  CASE WHEN gap_chars >= 0 THEN EXISTS (SELECT 1 FROM tasks WHERE id = :task_key AND completed > 0) END AS gap
FROM failures WHERE task_id = :task_key AND level = 0 AND final = 1 AND {_IS_NO_BATCH}
  AND idx NOT IN ({done("0")})
ORDER BY idx
""")

REJECTED = statement(f"""
SELECT idx, rung FROM failures
WHERE task_id = :task_key AND level = 0 AND final = 1 AND idx BETWEEN :first AND :last AND rung IS NOT NULL
  AND {_ARE_SHORT}
""")

# Reads a page of the tasks with keys from `:first` on and below `:behind`, newest first: keys sort by creation.
_WALK = "tasks WHERE id >= :first AND id < :behind ORDER BY id DESC LIMIT"
LIST = statement(f"SELECT {VIEW} FROM {_WALK} :most")

# Reads a page of the tasks that all filters accept. LIST_FILTERED reads at most `:walk_most` tasks, and skips the tasks
# that a filter does not accept. If the span may have more tasks, the last row is the task at which the reading ended,
# even if the filters do not accept this task; the row has `ends_walk`. LIST_FILTERED reads one row for each task, and
# as many rows again to find where the reading ends. A window function that finds where the reading ends would read
# three rows for each task.
LIST_FILTERED = statement(f"""
SELECT {VIEW}, ends_walk
FROM (SELECT *, id IS (SELECT id FROM {_WALK} 1 OFFSET :walk_most - 1) AS ends_walk FROM {_WALK} :walk_most)
WHERE ({_taken(_FILTERS)}) OR ends_walk ORDER BY id DESC LIMIT :most
""")

# Counts the newest `:walk_most` tasks whose keys are from `:first` on and below `:behind`: how many there are, and for
# each status how many of them all filters except that for the status accept. LIST_COUNTS reads one row for each task.
_TAKEN_ANYHOW = _taken(name for name in _FILTERS if name != "status")
_COUNTS = ", ".join(f"count(*) FILTER (WHERE status = '{status}' AND {_TAKEN_ANYHOW}) AS {status}" for status in Status)
LIST_COUNTS = statement(f"SELECT count(*) AS among, {_COUNTS} FROM (SELECT * FROM {_WALK} :walk_most)")

# READY succeeds if D1 answers and all migrations have been applied: it names the tables of the first migration, the
# columns of all options, and something that each later migration adds.
READY = statement(f"""
SELECT {OPTIONS}, first_line, EXISTS (SELECT 1 FROM samples), EXISTS (SELECT log FROM failures),
  EXISTS (SELECT missing FROM files), EXISTS (SELECT writer FROM batches), EXISTS (SELECT 1 FROM file_texts),
  EXISTS (SELECT 1 FROM tenant_limits)
FROM tasks LIMIT 1
""")


_QUEUED_MS = round(limits.AHEAD_COUNTED_SECONDS * 1000)


class TooMuchAtOnce(Exception):
    """Raised if a task's outputs are too large to be read at once; they can be read in pages."""


class TaskGone(Exception):
    """Raised if outputs that an index listed no longer exist, because their task was erased in the meantime."""


class ViewStore(HookedStore):
    """Reads tasks for the API, and writes nothing. Each method of `ViewStore` is one call to D1."""

    async def task(self, task_key: TaskKey) -> Task | None:
        """Read a task, with its result if it is small enough (ANSWER_CHARS_AT_ONCE, VALUE_CHARS_AT_ONCE)."""
        found, result, source = await self._database.run(
            TASK.bind(
                task_key=task_key,
                late_ms=LATE_MS,
                in_vain=limits.SENDS_IN_VAIN,
                queued_ms=_QUEUED_MS,
                most_ahead=limits.AHEAD_COUNTED_MOST,
            ),
            RESULT.bind(
                task_key=task_key,
                most_chars=limits.ANSWER_CHARS_AT_ONCE,
                most_of_value=min(limits.ANSWER_CHARS_AT_ONCE, limits.VALUE_CHARS_AT_ONCE),
            ),
            SOURCE.bind(task_key=task_key),
        )
        return await rows.whole_task(found[0], result, source, self.hooks.joiner_of) if found else None

    async def input(self, task_key: TaskKey) -> str | None:
        """Read the text of a task. Returns None if the text is no longer kept, or if the task does not exist."""
        (found,) = await self._database.run(INPUT.bind(task_key=task_key))
        return d1.text(found[0], "input") or None if found else None

    async def tasks(self, task_keys: Sequence[TaskKey]) -> Sequence[Task]:
        """Read those of the given tasks that exist, in no particular order, without their results."""
        (found,) = await self._database.run(TASKS.bind(task_keys=as_json(task_keys)))
        return [rows.task(row) for row in found]

    async def is_there(self, task_key: TaskKey) -> bool:
        """Whether the task exists."""
        (found,) = await self._database.run(STATUS.bind(task_key=task_key))
        return bool(found)

    async def going_on(self, task_key: TaskKey) -> Pulse | None:
        """Read how far an unfinished task has come. None: it has ended, is past its deadline, or is gone."""
        (found,) = await self._database.run(STATUS.bind(task_key=task_key))
        if not found or found[0]["overdue"]:
            return None
        pulse = rows.pulse(found[0])
        return None if pulse.status.terminal else pulse

    async def chunks(self, task_key: TaskKey) -> list[FinishedChunk] | None:
        """Read all finished chunks in order, None without the task. Raises TooMuchAtOnce for too many."""
        found = await self.indexed_chunks(task_key)
        return None if found is None else found[1]

    async def indexed_chunks(self, task_key: TaskKey) -> tuple[ChunkIndex, list[FinishedChunk]] | None:
        """Read what `chunks` reads, and the index of the chunks, which has no cuts for a batch. Raises as `chunks`."""
        most = limits.ANSWER_CHARS_AT_ONCE
        places, done, failed, answered = await self._database.run(
            SPANS.bind(task_key=task_key, most_chars=most),
            CHUNKS.bind(task_key=task_key, most_chars=most),
            FAILED_CHUNKS.bind(task_key=task_key),
            REJECTED.bind(task_key=task_key, first=0, last=limits.CHUNKS_MOST, most_chars=most),
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
            SPANS.bind(task_key=task_key, most_chars=0),
            CHUNK_SIZES.bind(task_key=task_key),
            FAILED_CHUNKS.bind(task_key=task_key),
        )
        return rows.chunk_index(task_key, places[0], found, failed) if places else None

    async def some_chunks(
        self, index: ChunkIndex, places: range, *, with_rejected: bool = False
    ) -> list[FinishedChunk]:
        """Read the finished chunks in a range of places, as they were when `index` was read.

        With `with_rejected` failed chunks have their last rejected answers. Raises TaskGone if outputs are gone.
        """
        bounds = {"first": places.start, "last": places.stop - 1}
        statements = [SOME_CHUNKS.bind(task_key=index.task_key, **bounds)]
        if with_rejected and not index.answered.isdisjoint(places):
            most = limits.CHUNKS_MOST * limits.REJECTED_CHARS_MOST * 10  # the places are few
            statements.append(REJECTED.bind(task_key=index.task_key, **bounds, most_chars=most))
        done, *answered = await self._database.run(*statements)
        # Outputs that were written after the index was read are left out, because their lengths were not counted, and
        # their chunks may be listed as failed.
        wanted = {position for position in places if position in index.sizes}
        outputs = rows.outputs(0, done, wanted)
        if len(outputs) < len(wanted):
            raise TaskGone
        return rows.chunk_views(index, outputs, places, answered[0] if answered else ())

    async def list(self, span: Span, *, only: ListFilter = NO_FILTER, most: int) -> Page:
        """Read a page of a list of tasks, newest first, without their results."""
        # The statement reads one task more than the page shows. If that additional task exists, there is a next page.
        bounds: dict[str, Value] = {**span._asdict(), "most": most + 1}
        if only == NO_FILTER:
            page = LIST.bind(**bounds)
        else:
            page = LIST_FILTERED.bind(**bounds, **only._asdict(), walk_most=limits.LIST_WALK_MOST)
        (found,) = await self._database.run(page)
        return rows.page(found, only, most)

    async def counts(self, span: Span, only: ListFilter) -> Counts:
        """Count the newest tasks of a span by status; only tasks count that all filters except the status accept."""
        values = {name: value for name, value in only._asdict().items() if name != "status"}
        count = LIST_COUNTS.bind(**span._asdict(), **values, walk_most=limits.LIST_WALK_MOST)
        (found,) = await self._database.run(count)
        among = d1.whole(found[0], "among")
        of = {status: d1.whole(found[0], status) for status in Status}
        return Counts(of, among, among < limits.LIST_WALK_MOST)

    async def ready(self) -> None:
        """Check that D1 answers and has all tables and columns that this code needs. Raises StoreError if not."""
        await self._database.run(READY.bind())
