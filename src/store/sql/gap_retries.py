"""The SQL that retries the gaps of a completed task in a new task, which begins with copies of all other outputs.

`:old_key` is the key of the completed task. A completed task never changes, so everything that was read of it stays
true.
"""

from ..d1.statement import statement
from ..records import options
from .fragments import HAS_TEXT, NOW, OPTIONS, done, unended, wake

# --- What is read before ---------------------------------------------------------------------------------

# Reads the state of the task whose gaps are to be retried.
OLD_TASK = statement("SELECT status, total, completed, failed FROM tasks WHERE id = :old_key")

# OLD_GAPS reads the gaps of the old task, and OLD_PLAN reads the plan of each of its merge levels.
OLD_GAPS = statement(f"""
SELECT idx FROM failures WHERE task_id = :task_key AND level = 0 AND final = 1 AND gap_chars >= 0
  AND idx NOT IN ({done("0")})
""")
OLD_PLAN = statement("SELECT level, ends FROM merges WHERE task_id = :old_key ORDER BY level")

# --- The new task ----------------------------------------------------------------------------------------

_COPIED = ", ".join("coalesce(:max_calls, max_calls)" if name == "max_calls" else name for name in options.NAMES)
_DEADLINE_AT = f"{NOW} + deadline_ms"

# Writes the pending task that retries gaps, unless another request has its Idempotency-Key or its tenant's limit of
# tasks in flight is reached. If INSERT_GAP_RETRY is sent twice, the second send changes nothing. If the write arrives
# after the new task was erased, the tombstone stops it; if the old task was erased, or its text was in a file that is
# gone, nothing is written. `:cut_redone` outputs of merges were cut off and are made again. `:max_calls` is NULL for
# the old task's budget, and `:tasks_most` is NULL without a limit.
INSERT_GAP_RETRY = statement(f"""
INSERT INTO tasks (id, status, route, {OPTIONS}, total, completed, truncated, merge_chars, calls_minimum, created_at,
  first_line, retry_of, kind, text_file, deadline_at, wake_at)
SELECT :task_key, 'pending', :route, {_COPIED}, total, completed, max(0, truncated - :cut_redone), merge_chars,
  :calls_minimum, :created_at,
  first_line, id, kind, text_file, {_DEADLINE_AT}, {wake(f"{NOW} + :unclaimed_ms", _DEADLINE_AT)}
FROM tasks WHERE id = :old_key AND status = 'completed' AND failed > 0 AND {HAS_TEXT}
  AND EXISTS (SELECT 1 FROM submissions WHERE id = :submission AND task_id = :task_key)
  AND (:tasks_most IS NULL OR {unended(":tasks_most")} < :tasks_most)
  AND NOT EXISTS (SELECT 1 FROM tombstones WHERE id = :task_key)
ON CONFLICT DO NOTHING
""")

_THERE = "EXISTS (SELECT 1 FROM tasks WHERE id = :task_key AND retry_of = :old_key)"

# Copies the old task's text together with its output schema. `:inherited` is a JSON object, which the column
# `texts.inherited` explains.
COPY_TEXT = statement(f"""
INSERT INTO texts (task_id, input, instructions, cuts, overlap, submission, output_schema, join_rules, inherited)
SELECT :task_key, input, instructions, cuts, overlap, :submission, output_schema, join_rules, :inherited
FROM texts WHERE task_id = :old_key AND {_THERE}
ON CONFLICT DO NOTHING
""")

# Copies where the text of the old task lies in its file, if it does.
COPY_FILE_TEXT = statement(f"""
INSERT INTO file_texts (task_id, cut_bytes, cut_chars, cut_chunks, char_ends, byte_ends)
SELECT :task_key, cut_bytes, cut_chars, cut_chunks, char_ends, byte_ends FROM file_texts
WHERE task_id = :old_key AND {_THERE}
ON CONFLICT DO NOTHING
""")

# Copies the outputs of all chunks, with a row for each segment. The copies have fence 0, which is below the fence of
# every claim. The new task's first write therefore counts as later than the copies, and its log of calls does not show
# the copies.
COPY_OUTPUTS = statement(f"""
INSERT INTO segments (task_id, level, part, fence, step, piece, places, sizes, body)
SELECT :task_key, level, part, 0, 0, 0, places, sizes, body FROM segments
WHERE task_id = :old_key AND level = 0 AND {_THERE}
ON CONFLICT DO NOTHING
""")

# Writes a segment with copies of merge outputs that have no gap below them.
COPY_MERGED = statement(f"""
INSERT INTO segments (task_id, level, part, fence, step, piece, places, sizes, body)
SELECT :task_key, :level, :part, 0, 0, 0, :places, :sizes, unhex(:body) WHERE {_THERE}
ON CONFLICT DO NOTHING
""")
