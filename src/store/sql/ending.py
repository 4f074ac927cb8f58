"""The SQL that ends a task without its worker: a failure from outside, a cancellation, an erasure."""

from ...core.task import DEADLINE_EXCEEDED
from ..d1.statement import statement
from .fragments import ABANDONED, ENDED, IN_DOUBT, LISTED, NOW, STALLS, delete_parts, failed
from .tallies import UNCOUNTED, add_ends

# --- Failures from outside -------------------------------------------------------------------------------

# Fails a task whose message reached the dead-letter queue, unless a worker holds it, it waits for its time, or it has
# ended. The statement names the fence that was read before, so that it changes nothing after another claim or a retry.
# A structured task stays for the sweep: its message may have failed because code of the release before cannot claim it.
DEAD_LETTER = statement(f"""
UPDATE tasks SET fence = fence + 1, {IN_DOUBT}, {failed(retryable="1")}
WHERE id = :task_key AND fence = :fence AND structured IS NULL
  AND ((status = 'pending' AND not_before <= {NOW}) OR ({ABANDONED}))
RETURNING fence
""")

# Fails tasks on which at least `:stalls` workers in a row died without an output, once they have rested. The failure
# needs no further claim.
GIVE_UP = statement(f"""
UPDATE tasks SET fence = fence + 1, {IN_DOUBT}, {failed(retryable="1")}
WHERE {LISTED} AND {ABANDONED} AND {STALLS} >= :stalls
RETURNING id
""")

# Fails tasks whose deadline has passed. As with CANCEL, the fence stays, and only the status stops a worker.
EXPIRE = statement(f"""
UPDATE tasks SET {failed(code=f"'{DEADLINE_EXCEEDED}'", retryable="1")}
WHERE {LISTED} AND status IN ('pending', 'processing') AND deadline_at <= {NOW}
RETURNING id
""")

# --- At the client's wish --------------------------------------------------------------------------------

# Cancels an unfinished task. The fence stays, so that the worker can settle its bill. Only the status stops the worker,
# because each announcement of calls requires 'processing'. The statement names the generation that was read before, so
# that it changes nothing if it lands after a retry.
CANCEL = statement(f"""
UPDATE tasks SET status = 'cancelled', {ENDED}
WHERE id = :task_key AND generation = :generation AND status IN ('pending', 'processing')
RETURNING status
""")

# How long announced calls of a task may still start, as an expression: see START_WINDOW.
START_LEFT = f"""min(start_ms, start_ms - {NOW} + max(coalesce(announced_at, 0),
  CASE WHEN started_at IS NOT NULL AND (route <> 'direct' OR fence > 1) AND total >= :lanes_from_chunks
    THEN coalesce(finished_at, {NOW}) ELSE 0 END
))"""

# A Durable Object worked on the task last.
ON_OBJECT = "route = 'durable-object' AND started_at IS NOT NULL"

# Says how long calls may still start of a task that was just cancelled, or is about to be erased. Announced calls may
# start for `start_ms`.
#
# With at least `:lanes_from_chunks` chunks a task may have lanes. A task that may have lanes counts as having announced
# calls just now, because a lane may have asked for some. The direct route has no lanes, but a task with several claims
# may have been on another route before. If a task's only worker has ended it, no call can start. If that worker gave
# the task back because of an error, it may have left lanes. With several attempts, an earlier worker may be suspended
# before calls that it announced, whatever happened to the task since. The answer is at most `start_ms`, in case the
# clock jumped back.
#
# The statement also gives the task's status, and whether a Durable Object worked on it last.
START_WINDOW = statement(f"""
SELECT {START_LEFT} AS left_ms, status, fence, {ON_OBJECT} AS on_object
FROM tasks WHERE id = :task_key AND (status IN ('pending', 'processing', 'cancelled') OR attempts > 1)
""")

# Leaves a tombstone for `:tombstone_ms`, so that a submission that lands late does not bring the task back. This
# statement goes before the last one of ERASE.
BURY = statement(f"""
INSERT INTO tombstones (id, until) SELECT :task_key, {NOW} + :tombstone_ms
WHERE EXISTS (SELECT 1 FROM tasks WHERE id = :task_key)
ON CONFLICT DO NOTHING
""")

# Adds the task's end to the sums, unless that was done before. An unfinished task ends now. This statement goes before
# the last one of ERASE.
ERASE_COUNT = statement(add_ends(f"id = :task_key AND (finished_at IS NULL OR {UNCOUNTED})"))

# Erases everything of a task. If ERASE is sent twice, the second send erases nothing.
ERASE = (*delete_parts("=", ":task_key"), statement("DELETE FROM tasks WHERE id = :task_key RETURNING id"))
