"""The SQL that makes the gaps of a completed task as a new task, which begins with copies of all other outputs.

`:old_key` is the completed task. It never changes any more, so that what was read of it holds.
"""

from ..d1.statement import statement
from ..records import options
from .fragments import NOW, OPTIONS, done, stored, unended, wake

# --- What is read before ---------------------------------------------------------------------------------

# Reads the state of the task.
OLD_TASK = statement("SELECT status, total, completed, failed FROM tasks WHERE id = :old_key")

# Reads its gaps, and the plan of each of its merge levels.
OLD_GAPS = statement(f"""
SELECT idx FROM failures WHERE task_id = :task_key AND level = 0 AND final = 1 AND gap_chars >= 0
  AND idx NOT IN ({done("0")})
""")
OLD_PLAN = statement("SELECT level, ends FROM merges WHERE task_id = :old_key ORDER BY level")

# Reads the outputs of a merge level. Those above a gap are not copied, and a segment mixes both.
OLD_MERGED = statement(stored(":level"))

# --- The new task ----------------------------------------------------------------------------------------

_COPIED = ", ".join("coalesce(:max_calls, max_calls)" if name == "max_calls" else name for name in options.NAMES)
_DEADLINE_AT = f"{NOW} + deadline_ms"

# Writes the pending task, unless another request has its key or the tenant's limit of tasks in flight is reached. Sent
# twice it changes nothing. Where it lands after the task was erased, it finds the tombstone; where the old task was, it
# finds nothing. May be NULL: `:max_calls`, for the old budget; `:tasks_most`, without that limit.
INSERT_GAP_RETRY = statement(f"""
INSERT INTO tasks (id, status, route, {OPTIONS}, total, completed, truncated, merge_chars, calls_minimum, created_at,
  first_line, retry_of, deadline_at, wake_at)
SELECT :task_key, 'pending', :route, {_COPIED}, total, completed, truncated, merge_chars, :calls_minimum, :created_at,
  first_line, id, {_DEADLINE_AT}, {wake(f"{NOW} + :unclaimed_ms", _DEADLINE_AT)}
FROM tasks WHERE id = :old_key AND status = 'completed' AND failed > 0
  AND EXISTS (SELECT 1 FROM submissions WHERE id = :submission AND task_id = :task_key)
  AND (:tasks_most IS NULL OR {unended(":tasks_most")} < :tasks_most)
  AND NOT EXISTS (SELECT 1 FROM tombstones WHERE id = :task_key)
ON CONFLICT DO NOTHING
""")

_THERE = "EXISTS (SELECT 1 FROM tasks WHERE id = :task_key AND retry_of = :old_key)"

# Copies the text with its schema. `:inherited` is a JSON object: see the column.
COPY_TEXT = statement(f"""
INSERT INTO texts (task_id, input, instructions, cuts, overlap, submission, output_schema, join_rules, inherited)
SELECT :task_key, input, instructions, cuts, overlap, :submission, output_schema, join_rules, :inherited
FROM texts WHERE task_id = :old_key AND {_THERE}
ON CONFLICT DO NOTHING
""")

# Copies the outputs of all chunks, a row for each segment. Fence 0 is below that of each claim, so the new task's first
# write is later, and its log of calls passes them over.
COPY_OUTPUTS = statement(f"""
INSERT INTO segments (task_id, level, part, fence, step, piece, places, sizes, body)
SELECT :task_key, level, part, 0, 0, 0, places, sizes, body FROM segments
WHERE task_id = :old_key AND level = 0 AND {_THERE}
ON CONFLICT DO NOTHING
""")

# Writes a segment of merged outputs that have no gap below.
COPY_MERGED = statement(f"""
INSERT INTO segments (task_id, level, part, fence, step, piece, places, sizes, body)
SELECT :task_key, :level, :part, 0, 0, 0, :places, :sizes, unhex(:body) WHERE {_THERE}
ON CONFLICT DO NOTHING
""")
