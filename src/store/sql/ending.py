"""The SQL that ends a task without its worker: it fails the task, cancels it or erases it."""

from ...core.task import DEADLINE_EXCEEDED
from ..d1.statement import statement
from .fragments import ABANDONED, ENDED, IN_DOUBT, KNOWN_KIND, LISTED, NOW, STALLS, delete_parts, failed
from .tallies import count_erased

# --- Failures from outside -------------------------------------------------------------------------------

# Fails a task whose message reached the dead-letter queue, unless a worker holds the task, or the task is not due yet
# or has ended. DEAD_LETTER names the fence that the task had when it was read, so that DEAD_LETTER changes nothing
# after another claim or a retry. Structured tasks and batches are left to the sweep, because their message may have
# failed only because an older release of the code cannot claim the task.
DEAD_LETTER = statement(f"""
UPDATE tasks SET fence = fence + 1, {IN_DOUBT}, {failed(retryable="1")}
WHERE id = :task_key AND fence = :fence AND structured IS NULL AND kind IS NULL
  AND ((status = 'pending' AND not_before <= {NOW}) OR ({ABANDONED}))
RETURNING fence
""")

# Fails those of the given tasks on which at least `:stalls` workers in a row died without a finished call, once the
# tasks have rested. GIVE_UP fails such tasks without another claim.
GIVE_UP = statement(f"""
UPDATE tasks SET fence = fence + 1, {IN_DOUBT}, {failed(retryable="1")}
WHERE {LISTED} AND {ABANDONED} AND {STALLS} >= :stalls AND {KNOWN_KIND}
RETURNING id
""")

# Fails those of the given tasks whose deadline has passed. As with CANCEL, the task's fence does not change, and only
# the new status stops the task's worker.
EXPIRE = statement(f"""
UPDATE tasks SET {failed(code=f"'{DEADLINE_EXCEEDED}'", retryable="1")}
WHERE {LISTED} AND status IN ('pending', 'processing') AND deadline_at <= {NOW} AND {KNOWN_KIND}
RETURNING id
""")

# --- At the client's wish --------------------------------------------------------------------------------

# Cancels an unfinished task. The task's fence does not change, so that the task's worker can still settle the bill.
# Only the status stops the worker: each announcement of calls requires the status 'processing'. CANCEL names the
# generation that the task had when it was read, so that CANCEL changes nothing if it arrives after a retry.
CANCEL = statement(f"""
UPDATE tasks SET status = 'cancelled', {ENDED}
WHERE id = :task_key AND generation = :generation AND status IN ('pending', 'processing')
RETURNING status
""")

# An expression: for how many ms announced calls of a task may still start; see START_WINDOW.
START_LEFT = f"""min(start_ms, start_ms - {NOW} + max(coalesce(announced_at, 0),
  CASE WHEN started_at IS NOT NULL AND (route <> 'direct' OR fence > 1) AND total >= :lanes_from_chunks
    THEN coalesce(finished_at, {NOW}) ELSE 0 END
))"""

# A condition: a Durable Object worked on the task last.
ON_OBJECT = "route = 'durable-object' AND started_at IS NOT NULL"

# Says for how many ms calls may still start for a task that was just cancelled, or is about to be erased. Calls may
# start within `start_ms` after they were announced.
#
# Only a task with at least `:lanes_from_chunks` chunks may have lanes. A task that may have lanes counts as having
# announced calls just now, because a lane may just have asked whether it may start the calls. The direct route has no
# lanes, but a task that was claimed several times may have been on another route before. If a task's only worker has
# ended the task, no call can start. If the task's only worker released the task because of an error, the worker may
# have left lanes that still work. If a task had several workers, an earlier worker may be suspended just before it
# starts calls that it announced, whatever has happened to the task since. The time for which calls may still start is
# at most `start_ms`, in case the clock jumped back.
#
# START_WINDOW also reads the task's status, and whether a Durable Object worked on the task last.
START_WINDOW = statement(f"""
SELECT {START_LEFT} AS left_ms, status, fence, {ON_OBJECT} AS on_object
FROM tasks WHERE id = :task_key AND (status IN ('pending', 'processing', 'cancelled') OR attempts > 1)
""")

# Leaves a tombstone of an erased task for `:tombstone_ms`, so that a submission that arrives late does not write the
# task again. BURY must run before the last statement of ERASE.
BURY = statement(f"""
INSERT INTO tombstones (id, until) SELECT :task_key, {NOW} + :tombstone_ms
WHERE EXISTS (SELECT 1 FROM tasks WHERE id = :task_key)
ON CONFLICT DO NOTHING
""")

# Adds the end of a task that is erased to the sums over ended tasks, unless that was done before. An unfinished task
# that is erased counts as ending now. Both statements must run before the last
# statement of ERASE.
ERASE_COUNT, ERASE_COUNT_OPEN = count_erased("id = :task_key")

# Erases everything that is stored about a task. If ERASE is sent twice, the second send erases nothing.
ERASE = (*delete_parts("=", ":task_key"), statement("DELETE FROM tasks WHERE id = :task_key RETURNING id"))
