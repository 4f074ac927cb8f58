"""The SQL that writes the output file and the error file of a batch, while the batch goes on and after its end.

A part of a file is an object in the bucket. It is stored first, and then one write names it in `files.parts`. The lines
of the part leave their segments in the same write, so a reader finds each line once: in a part or in a segment.
"""

from ..d1.statement import Statement, statement
from .fragments import IS_QUIET, NOW, UNDER_CLAIM, done

_OF_LINES = "task_id = :task_key AND level = 0"

# --- Reads -----------------------------------------------------------------------------------------------

# Reads the lengths of a batch's lines in the order of its output file, and whether each segment has become an object.
LINES = statement(f"SELECT part, object, sizes FROM segments WHERE {_OF_LINES} ORDER BY part")

# Reads the segments that have not become objects, with the bytes of their bodies. SQLite would read a row for each line
# to add up `sizes`.
SEGMENTS = statement(f"""
SELECT part, length(body) AS bytes, sizes FROM segments WHERE {_OF_LINES} AND object IS NULL ORDER BY part
""")

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

# Name a part of the error file, with `:lines` lines of the places from `:from_place` up to `:to_place`. If WRITTEN
# gives no row, another writer has the batch.
_FROM_HERE = f"EXISTS (SELECT 1 FROM batches WHERE {_OURS} AND written_places = :from_place)"
ADD_ERRORS = (
    _count_use(_FROM_HERE),
    statement(f"""
INSERT INTO files (id, state, purpose, filename, place, owner, created_at, parts, bytes)
SELECT :file_key, 'growing', 'batch_output', :filename, :place, :task_key, {NOW}, :parts, :bytes WHERE {_FROM_HERE}
ON CONFLICT DO UPDATE SET {_ADDED}
"""),
)
# Drops the refusals of these places, which are in the error file now. Only writers read refusals, and a later writer
# goes on behind these places.
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
