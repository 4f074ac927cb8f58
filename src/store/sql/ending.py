"""The SQL that ends a task without its worker: a failure from outside, a cancellation, an erasure."""

from ...core.task import DEADLINE_EXCEEDED
from .fragments import ABANDONED, ENDED, IN_DOUBT, LISTED, NOW, STALLS, delete_parts, failed
from .statement import statement
from .tallies import UNCOUNTED, add_ends

# --- Failures from outside -------------------------------------------------------------------------------

# Fails a task whose message ended in the dead-letter queue, unless a worker holds it, it waits for its time, or it has
# ended. It names the fence that was read before, so that it does nothing if it lands after another claim or a retry.
DEAD_LETTER = statement(f"""
UPDATE tasks SET fence = fence + 1, {IN_DOUBT}, {failed(retryable="1")}
WHERE id = :task_key AND fence = :fence AND ((status = 'pending' AND not_before <= {NOW}) OR ({ABANDONED}))
RETURNING fence
""")

# Fails tasks on which `:stalls` workers in a row, or more, died without an output, and that have rested since. Nobody
# else need claim them for that.
GIVE_UP = statement(f"""
UPDATE tasks SET fence = fence + 1, {IN_DOUBT}, {failed(retryable="1")}
WHERE {LISTED} AND {ABANDONED} AND {STALLS} >= :stalls
RETURNING id
""")

# Fails tasks whose deadline has passed. As with CANCEL the fence stays, and the status alone stops a worker.
EXPIRE = statement(f"""
UPDATE tasks SET {failed(code=f"'{DEADLINE_EXCEEDED}'", retryable="1")}
WHERE {LISTED} AND status IN ('pending', 'processing') AND deadline_at <= {NOW}
RETURNING id
""")

# --- At the client's wish --------------------------------------------------------------------------------

# Cancels a task that goes on. The fence stays, so that the worker can settle its bill. The status alone stops it, since
# every announcement of calls asks for 'processing'. It names the generation that was read before, so that it changes
# nothing if it lands after a retry.
CANCEL = statement(f"""
UPDATE tasks SET status = 'cancelled', {ENDED}
WHERE id = :task_key AND generation = :generation AND status IN ('pending', 'processing')
RETURNING status
""")

# For how long announced calls of a task may still start, as an expression: see START_WINDOW.
START_LEFT = f"""min(start_ms, start_ms - {NOW} + max(coalesce(announced_at, 0),
  CASE WHEN started_at IS NOT NULL AND (route <> 'direct' OR fence > 1) AND total >= :lanes_from_chunks
    THEN coalesce(finished_at, {NOW}) ELSE 0 END
))"""

# It is an object that has worked on the task last.
ON_OBJECT = "route = 'durable-object' AND started_at IS NOT NULL"

# Says for how long calls of a task that has just been cancelled, or is about to be erased, may still start: those that
# were announced last, for `start_ms` after that. A task that may have lanes, which it may from `:lanes_from_chunks`
# chunks on, counts as one that has just announced calls: a lane may have asked for them. The direct route has no lanes,
# but a task of more claims than one may have been on another route before. Nothing starts any more once the only worker
# that a task ever had has ended it. One that gave it back in trouble may have left lanes behind. Of more attempts than
# one, an earlier worker may stand still over calls that it announced, whatever has become of the task since. It is no
# longer than `start_ms`, should the clock have jumped back.
# It also says where the task stands, and whether it is an object that has worked on it last.
START_WINDOW = statement(f"""
SELECT {START_LEFT} AS left_ms, status, fence, {ON_OBJECT} AS on_object
FROM tasks WHERE id = :task_key AND (status IN ('pending', 'processing', 'cancelled') OR attempts > 1)
""")

# Leaves a tombstone for `:tombstone_ms`: a submission that lands late must not bring the task back. Goes before the
# last of ERASE.
BURY = statement(f"""
INSERT INTO tombstones (id, until) SELECT :task_key, {NOW} + :tombstone_ms
WHERE EXISTS (SELECT 1 FROM tasks WHERE id = :task_key)
ON CONFLICT DO NOTHING
""")

# Adds its end to the sums, if that has not been done: if it goes on, it ends now. Goes before the last of ERASE.
ERASE_COUNT = statement(add_ends(f"id = :task_key AND (finished_at IS NULL OR {UNCOUNTED})"))

# Erases everything of a task. Sent twice it erases nothing more.
ERASE = (*delete_parts("=", ":task_key"), statement("DELETE FROM tasks WHERE id = :task_key RETURNING id"))
