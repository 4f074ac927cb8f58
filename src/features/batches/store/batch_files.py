"""Writes the output file and the error file of a batch, and reads the lines that its output file has so far.

A part of a file is an object in the bucket. It is stored first, and then one write names it in `files.parts`. The lines
of the part leave their segments in the same write, so a reader finds each line once: in a part or in a segment.
"""

from collections.abc import Mapping, Sequence
from itertools import chain

from ....kernel.domain import limits
from ....kernel.domain.ids import FileKey, TaskKey
from ....kernel.store import d1, segments
from ....kernel.store.d1 import BoundStatement, Statement, Value, as_json, statement
from ....kernel.store.fragments import IS_QUIET, NOW, UNDER_CLAIM, done
from ....kernel.store.hooks import HookedStore
from ...files.file import FilePart, Shelf, tenant_of
from ...files.sql import UNWRITTEN
from . import batches as records
from .batches import SegmentLines, SegmentSize, Writing, file_name, sizes_of

_OF_LINES = "task_id = :task_key AND level = 0"

# --- Reads -----------------------------------------------------------------------------------------------

# Reads the lengths of a batch's lines in the order of its output file, and whether each segment has become an object.
LINES = statement(f"SELECT part, object, sizes FROM segments WHERE {_OF_LINES} ORDER BY part")

# Reads the segments that are no objects. To add up `sizes` would read a row for each line.
SEGMENTS = statement(f"SELECT part, sizes FROM segments WHERE {_OF_LINES} AND object IS NULL ORDER BY part")

# Reads the lines of the segments from `:first` to `:last` that have not become objects.
BODIES = statement(f"""
SELECT part, hex(body) AS body FROM segments
WHERE {_OF_LINES} AND part BETWEEN :first AND :last AND object IS NULL ORDER BY part
""")

# --- A part is added -------------------------------------------------------------------------------------
# `:parts` is a JSON list of the new parts' names and bytes, and `:bytes` their bytes together.

_ADDED = """parts = CASE parts WHEN '[]' THEN :parts
    ELSE substr(parts, 1, length(parts) - 1) || ',' || substr(:parts, 2) END,
  bytes = bytes + :bytes"""


def _count_use(condition: str) -> Statement:
    return statement(f"""
INSERT INTO file_use (tenant, bytes) SELECT :tenant, :bytes WHERE {condition}
ON CONFLICT DO UPDATE SET bytes = bytes + excluded.bytes
""")


def _moving(allowed: str) -> tuple[Statement, ...]:
    """Make the statements that name an object with the lines of the segments from `:first` to `:last`.

    The segments become one row without a body: the last one, whose `fence`, `step` and `piece` say that the outputs of
    all are recorded. Each statement but the last checks that none of the segments has become an object before, because
    an earlier write may have landed late. The last one checks that the move has just been made.
    """
    growing = "EXISTS (SELECT 1 FROM files WHERE id = :file_key AND state = 'growing')"
    last = f"{_OF_LINES} AND part = :last AND object IS"
    moved = f"SELECT 1 FROM segments WHERE {_OF_LINES} AND part BETWEEN :first AND :last AND object IS NOT NULL"
    movable = f"{allowed} AND {growing} AND EXISTS (SELECT 1 FROM segments WHERE {last} NULL) AND NOT EXISTS ({moved})"
    run = f"(SELECT %s FROM segments WHERE {_OF_LINES} AND part BETWEEN :first AND :last ORDER BY part)"
    return (
        _count_use(movable),
        statement(f"UPDATE files SET {_ADDED} WHERE id = :file_key AND {movable}"),
        statement(f"""
UPDATE segments SET
  object = (SELECT json_array_length(parts) FROM files WHERE id = :file_key) - json_array_length(:parts),
  places = (SELECT group_concat(places) FROM {run % "places"}),
  sizes = (SELECT group_concat(sizes) FROM {run % "sizes"}),
  body = x''
WHERE {last} NULL AND {allowed} AND {growing} AND NOT EXISTS ({moved})
"""),
        statement(f"""
DELETE FROM segments WHERE {_OF_LINES} AND part >= :first AND part < :last AND object IS NULL AND {allowed}
  AND EXISTS (SELECT 1 FROM segments WHERE {last} NOT NULL)
"""),
    )


# Name an object that the worker of a batch has stored. They are part of a step, and name the claim and the step.
GROW = _moving(
    f"EXISTS (SELECT 1 FROM tasks WHERE id = :task_key AND {UNDER_CLAIM} AND step <= :step AND status = 'processing')"
)

# --- The end ---------------------------------------------------------------------------------------------
# A writer completes the files of a batch whose task has ended. All of its writes name `:writer_fence` and `:writer`:
# after a restore of the database two writers may have the same fence, but not the same name.

# Takes a batch for a writer, for `:lease_ms`, if no other has it. Then raises the task's fence, so that no late write
# of a worker adds an output. A file whose row is there has its parts at the row's place.
TAKE_BATCH = statement(f"""
UPDATE batches SET writer_fence = writer_fence + 1, writer = :writer, writer_until = {NOW} + :lease_ms,
  finalizing_at = coalesce(finalizing_at, {NOW})
WHERE task_id = :task_key AND ended_at IS NULL AND writer_until <= {NOW}
  AND EXISTS (SELECT 1 FROM tasks WHERE id = :task_key AND {IS_QUIET})
RETURNING *, {NOW} - finalizing_at AS waited_ms, (SELECT place FROM files WHERE id = output_file) AS output_place,
  (SELECT place FROM files WHERE id = error_file) AS error_place
""")
SHUT_OUT = statement(f"""
UPDATE tasks SET fence = fence + 1 WHERE id = :task_key AND {IS_QUIET}
  AND EXISTS (SELECT 1 FROM batches WHERE task_id = :task_key AND ended_at IS NULL AND writer_until > {NOW})
""")

# Reads what a writer must know of the task, and which lines have an output: the places of each segment. SQLite would
# read five rows for each line to join neighbours, also for a poll that finds another writer at work.
ENDED_TASK = statement("SELECT status, error_code, total FROM tasks WHERE id = :task_key")
ANSWERED = statement(f"SELECT places FROM segments WHERE {_OF_LINES}")

# Reads why the lines at the places from `:first` to `:last` failed for good, and the provider's refusal, which may be
# NULL. The refusals have up to `:most_chars` characters together, or are one that has more. `behind` is the place from
# which on failures were left out, NULL if none was.
_FAILED = "task_id = :task_key AND level = 0 AND final = 1 AND idx BETWEEN :first AND :last"
REFUSALS = statement(f"""
SELECT idx, message, refusal, behind FROM (
  SELECT min(idx) AS behind FROM (
    SELECT idx, chars, sum(chars) OVER (ORDER BY idx) AS all_chars FROM (
      SELECT idx, coalesce(length(refusal), 0) AS chars FROM failures WHERE {_FAILED}
    )
  ) WHERE all_chars > :most_chars AND all_chars > chars
) CROSS JOIN failures ON {_FAILED} AND idx < coalesce(behind, :last + 1) ORDER BY idx
""")

# A batch that code of the release before has taken has no name of a writer.
BY_WRITER = "writer_fence = :writer_fence AND coalesce(writer, :writer) = :writer"
_OURS = f"task_id = :task_key AND {BY_WRITER} AND ended_at IS NULL"
_MINE = f"EXISTS (SELECT 1 FROM batches WHERE {_OURS})"

# Name an object that the writer of a batch has stored.
MOVE = _moving(_MINE)

# Keeps the batch for the writer for another `:lease_ms`; 0 gives it back. Without a row another writer has it.
HOLD_BATCH = statement(f"UPDATE batches SET writer_until = {NOW} + :lease_ms WHERE {_OURS} RETURNING task_id")

# Name a part of the error file, with `:lines` lines of the places `:from_place` to `:to_place`. No row: another has it.
_FROM_HERE = f"EXISTS (SELECT 1 FROM batches WHERE {_OURS} AND written_places = :from_place)"
ADD_ERRORS = (
    _count_use(_FROM_HERE),
    statement(f"""
INSERT INTO files (id, state, purpose, filename, place, owner, created_at, parts, bytes)
SELECT :file_key, 'growing', 'batch_output', :filename, :shelf, :task_key, {NOW}, :parts, :bytes WHERE {_FROM_HERE}
ON CONFLICT DO UPDATE SET {_ADDED}
"""),
)
# Drops the refusals that are in the error file now: only writers read them, and go on behind these places.
DROP_REFUSALS = statement(f"""
UPDATE failures SET refusal = NULL WHERE task_id = :task_key AND level = 0 AND idx >= :from_place AND idx < :to_place
  AND refusal IS NOT NULL AND {_FROM_HERE}
""")
WRITTEN = statement(f"""
UPDATE batches SET written_places = :to_place, error_lines = error_lines + :lines, writer_until = {NOW} + :lease_ms
WHERE {_OURS} AND written_places = :from_place RETURNING task_id
""")

# Complete the files of a batch, and end it, once each line is in one of them. A batch whose lines were not found valid
# has no files. An output file without a line goes. COMPLETE_BATCH gives a row if the batch has ended with this write.
_IS_WRITTEN = f"""EXISTS (SELECT 1 FROM batches JOIN tasks ON tasks.id = task_id
  WHERE {_OURS} AND (valid_at IS NULL OR written_places = total))
  AND NOT EXISTS (SELECT 1 FROM segments WHERE {_OF_LINES} AND object IS NULL)"""
DROP_EMPTY = statement(f"""
DELETE FROM files WHERE id = :output_file AND state = 'growing' AND parts = '[]' AND {_IS_WRITTEN}
""")
CLOSE_FILES = statement(f"""
UPDATE files SET state = 'ready', expires_at = {NOW} + :output_ms, due_at = {NOW} + :output_ms
WHERE id IN (:output_file, :error_file) AND state = 'growing' AND {_IS_WRITTEN}
""")
# The index of the lines that were checked goes with the end of a batch whose lines were not found valid.
DROP_SLICES = statement(f"DELETE FROM batch_slices WHERE task_id = :task_key AND {_MINE}")
COMPLETE_BATCH = statement(f"""
UPDATE batches SET ended_at = {NOW}, output_lines = (SELECT count(*) FROM ({done("0")}))
WHERE {_OURS} AND {_IS_WRITTEN} RETURNING task_id
""")

_LEASE_MS = round(limits.WRITER_SECONDS * 1000)


class BatchFileStore(HookedStore):
    """Reads and writes the files of batches. Each method is one call to D1."""

    # --- Reads ------------------------------------------------------------------------------------------------

    async def lines(self, task_key: TaskKey) -> list[SegmentLines]:
        """Read the lengths of all lines of the output file, in its order."""
        (found,) = await self._database.run(LINES.bind(task_key=task_key))
        return [SegmentLines(d1.whole(row, "part"), row["object"] is not None, sizes_of(row)) for row in found]

    async def waiting(self, task_key: TaskKey) -> list[SegmentSize]:
        """Read which segments have not become objects."""
        (found,) = await self._database.run(SEGMENTS.bind(task_key=task_key))
        return records.segment_sizes(found)

    async def bodies(self, task_key: TaskKey, parts: range) -> list[list[str]]:
        """Read the lines of those of the given segments that have not become objects, segment by segment, in order."""
        (found,) = await self._database.run(BODIES.bind(task_key=task_key, first=parts.start, last=parts.stop - 1))
        return [[output.text for output in segments.unpack(0, d1.text(row, "body"))] for row in found]

    async def refusals(self, task_key: TaskKey, places: range) -> tuple[Mapping[int, tuple[str, str | None]], int]:
        """Read which lines failed for good (message, refusal), up to the place that is returned."""
        (found,) = await self._database.run(
            REFUSALS.bind(
                task_key=task_key, first=places.start, last=places.stop - 1, most_chars=limits.BATCH_PORTION_BYTES
            )
        )
        behind = d1.maybe_whole(found[0], "behind") if found else None
        failures = {d1.whole(row, "idx"): (d1.text(row, "message"), d1.maybe_text(row, "refusal")) for row in found}
        return failures, places.stop if behind is None else behind

    async def unanswered(self, task_key: TaskKey) -> list[range]:
        """Read which lines of a batch have no answer, as ranges of places."""
        found, answered = await self._database.run(ENDED_TASK.bind(task_key=task_key), ANSWERED.bind(task_key=task_key))
        have = records.answered_ranges(answered)
        return places_without(have, d1.whole(found[0], "total")) if found else []

    async def unwritten(self, most: int, claim_ms: int) -> list[TaskKey]:
        """Find up to `most` batches whose task has ended, and whose files a writer may complete: see `take`."""
        (found,) = await self._database.run(UNWRITTEN.bind(most=most, claim_ms=claim_ms))
        return [d1.task_key(row, "task_id") for row in found]

    # --- The end ----------------------------------------------------------------------------------------------

    async def take(self, task_key: TaskKey, writer: str, claim_ms: int) -> Writing | None:
        """Take a batch for the writer of this name for WRITER_SECONDS. From then on no worker adds an output.

        Returns None if the task has not ended, if its calls may still record an output, for up to `claim_ms` after
        their announcement, if the files are complete, or if another writer has the batch.
        """
        taken, _, task, answered = await self._database.run(
            TAKE_BATCH.bind(task_key=task_key, writer=writer, claim_ms=claim_ms, lease_ms=_LEASE_MS),
            SHUT_OUT.bind(task_key=task_key, claim_ms=claim_ms),
            ENDED_TASK.bind(task_key=task_key),
            ANSWERED.bind(task_key=task_key),
        )
        return records.writing(taken[0], task[0], answered) if taken else None

    async def move(self, of: Writing, parts: range, added: Sequence[FilePart]) -> bool:
        """Name stored parts with the lines of the given segments in the output file. False: the batch was lost."""
        *_, held = await self._database.run(
            *moving(MOVE, of.task_key, of.output_file, parts, added, _ours(of)),
            HOLD_BATCH.bind(**_ours(of), lease_ms=_LEASE_MS),
        )
        return bool(held)

    async def add_errors(
        self, of: Writing, places: range, added: Sequence[FilePart], *, lines: int, shelf: Shelf
    ) -> bool:
        """Name stored parts with the `lines` lines of the given places in the error file. False: the batch was lost.

        The database drops the refusals of these lines, which it needs no more. Without lines there is no part, and only
        the progress is recorded.
        """
        here: dict[str, Value] = {**_ours(of), "from_place": places.start}
        batch: list[BoundStatement] = []
        if lines:
            values: dict[str, Value] = {
                **here,
                **_added(added),
                "file_key": of.error_file,
                "tenant": tenant_of(of.error_file),
                "filename": file_name(of.task_key, "error"),
                "shelf": shelf,
            }
            batch += [_bind(one, values) for one in ADD_ERRORS]
            batch.append(DROP_REFUSALS.bind(**here, to_place=places.stop))
        batch.append(WRITTEN.bind(**here, to_place=places.stop, lines=lines, lease_ms=_LEASE_MS))
        *_, written = await self._database.run(*batch)
        return bool(written)

    async def complete(self, of: Writing) -> bool:
        """End a batch once each of its lines is in a file, and write the webhook deliveries about the end."""
        values: dict[str, Value] = {
            **_ours(of),
            "output_file": of.output_file,
            "error_file": of.error_file,
            "output_ms": of.output_ms,
        }
        files = (DROP_EMPTY, CLOSE_FILES) if of.is_valid else (DROP_SLICES,)
        closing = (_bind(one, values) for one in (*files, COMPLETE_BATCH))
        *_, ended = await self._end([of.task_key], *closing)
        return bool(ended)

    async def give_back(self, of: Writing) -> None:
        """Let another writer take the batch at once."""
        await self._database.run(HOLD_BATCH.bind(**_ours(of), lease_ms=0))


def moving(
    statements: Sequence[Statement],
    task_key: TaskKey,
    output_file: FileKey,
    parts: range,
    added: Sequence[FilePart],
    by: Mapping[str, Value],
) -> list[BoundStatement]:
    """Bind GROW or MOVE: name stored parts with the lines of the given segments. `by` names the claim or the writer."""
    values: dict[str, Value] = {
        **by,
        **_added(added),
        "task_key": task_key,
        "file_key": output_file,
        "tenant": tenant_of(output_file),
        "first": parts.start,
        "last": parts.stop - 1,
    }
    return [_bind(one, values) for one in statements]


def places_without(answered: Sequence[range], total: int) -> list[range]:
    """Return the ranges of places that no line of the output file has, of `total` places."""
    bounds = [0, *chain.from_iterable((one.start, one.stop) for one in answered), total]
    return [range(first, behind) for first, behind in zip(bounds[::2], bounds[1::2], strict=True) if first < behind]


def _ours(of: Writing) -> dict[str, Value]:
    return {"task_key": of.task_key, "writer_fence": of.fence, "writer": of.writer}


def _added(added: Sequence[FilePart]) -> dict[str, Value]:
    return {"parts": as_json(added), "bytes": sum(part.bytes for part in added)}


def _bind(one: Statement, values: Mapping[str, Value]) -> BoundStatement:
    return one.bind(**{name: values[name] for name in one.parameters})
