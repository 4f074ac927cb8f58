"""The SQL of the API's reads. Each reads what it shows and no more, whatever else is stored."""

from .statement import NOW

_VIEW = f"""id, status, route, reduce, model, metadata, total, completed, failed, attempts,
  calls_settled, calls_in_doubt, calls_minimum, json_array_length(in_flight) AS calls_in_flight,
  coalesce(lease_until > {NOW}, 0) AS live, input_tokens, output_tokens,
  error_code, error_message, error_retryable, created_at, started_at, finished_at, wake_at, deadline_at, max_calls,
  (status IN ('pending', 'processing') AND coalesce(deadline_at <= {NOW}, 0)) AS overdue"""

# One task: one row read. ?1 id
TASK = f"SELECT {_VIEW} FROM tasks WHERE id = ?1"

# Several tasks: one row read each. ?1 JSON ids
TASKS = f"SELECT {_VIEW} FROM tasks WHERE id IN (SELECT value FROM json_each(?1))"

# The outputs that make the result of a completed task, in order; no rows while it is not completed. ?1 id
RESULT = """
SELECT output FROM outputs WHERE task_id = ?1 AND level = (
  SELECT CASE reduce WHEN 'merge' THEN (SELECT max(level) FROM outputs WHERE task_id = ?1) ELSE 0 END
  FROM tasks WHERE id = ?1 AND status = 'completed'
) ORDER BY idx
"""

# What `?wait=` polls. ?1 id
STATUS = f"SELECT status, coalesce(deadline_at <= {NOW}, 0) AS overdue FROM tasks WHERE id = ?1"

# The finished chunks with what places them in the input. ?1 id
PLACES = "SELECT cuts, overlap FROM texts WHERE task_id = ?1"
CHUNKS = "SELECT idx, output, attempts FROM outputs WHERE task_id = ?1 AND level = 0 ORDER BY idx"
FAILED_CHUNKS = """
SELECT idx, calls, code, message, retryable FROM failures WHERE task_id = ?1 AND level = 0 AND final = 1
  AND NOT EXISTS (SELECT 1 FROM outputs WHERE task_id = ?1 AND level = 0 AND idx = failures.idx)
ORDER BY idx
"""

# A page, newest first, of the keys between two bounds: a tenant's keys sort by creation. ?1 first key ?2 the key behind
# the last ?3 limit
LIST = f"SELECT {_VIEW} FROM tasks WHERE id >= ?1 AND id < ?2 ORDER BY id DESC LIMIT ?3"

# A page of one status: a walk over a bounded number of tasks that passes over the others. Where the walk ended, if
# tasks may be left, the last row says, whatever its status (`place` is the bound). ?4 status ?5 bound of the walk
LIST_STATUS = f"""
SELECT {_VIEW}, place FROM (
  SELECT *, row_number() OVER (ORDER BY id DESC) AS place FROM tasks
  WHERE id >= ?1 AND id < ?2 ORDER BY id DESC LIMIT ?5
) WHERE status = ?4 OR place = ?5 ORDER BY id DESC LIMIT ?3
"""

# Whether D1 answers and the newest table is there.
READY = "SELECT 1 FROM api_keys LIMIT 1"
