"""The SQL that retries or cancels many tasks of a tenant at once.

Each write names tasks that were read before, with the generation of each: `:generations` is a JSON object of numbers by
task key. So the write changes nothing if it lands after another retry of a task.
"""

from ...core.task import BUDGET_EXHAUSTED
from ..d1.statement import statement
from .admission import LEFT, PUT_BACK, SET_BACK, SPENT
from .ending import ON_OBJECT, START_LEFT
from .fragments import ENDED, unended
from .tallies import count_ends

_LISTED = "id IN (SELECT key FROM json_each(:generations))"
_GENERATION = """(:generations ->> ('$."' || id || '"'))"""

# --- Failed tasks ----------------------------------------------------------------------------------------

# The failed tasks of a span of keys that can be retried as they are. A task whose budget ran out needs a larger one.
# `:code` is NULL for all codes. Reads an index entry for each failed task of the span, and no other task.
_FAILED = f"""FROM tasks INDEXED BY tasks_failed
WHERE id >= :first AND id < :behind AND status = 'failed' AND error_code <> '{BUDGET_EXHAUSTED}'
  AND (:code IS NULL OR error_code = :code)"""

# Finds up to `:most` failed tasks, oldest first, and counts the unfinished tasks of `:tenant`, up to `:counted_most`.
FAILED = statement(f"SELECT id, generation, {unended(':counted_most')} AS unended {_FAILED} ORDER BY id LIMIT :most")

# Counts up to `:most` failed tasks, and their calls: the calls needed without failures, and the most calls with
# `:attempts` for each output. A merge of n outputs has fewer than n calls.
COUNT_FAILED = statement(f"""
SELECT count(*) AS tasks, coalesce(sum(least), 0) AS minimum, coalesce(sum(most), 0) AS maximum FROM (
  SELECT {LEFT} AS least, min(
    :attempts * (total - completed + (reduce = 'merge') * (total - 1)), coalesce(max_calls - {SPENT}, 1000000000)
  ) AS most {_FAILED} LIMIT :most
)
""")

# `:count` tasks are to be retried. If that exceeds `:tasks_most` in flight (NULL without such a limit), no task is
# retried.
_RETRYABLE = f"""{_LISTED} AND generation = {_GENERATION} AND status = 'failed'
  AND error_code <> '{BUDGET_EXHAUSTED}'
  AND (:tasks_most IS NULL OR {unended(":tasks_most")} + :count <= :tasks_most)"""

# Adds the ends of these tasks to the sums, unless that was done before. Goes before RETRY_ALL.
RETRY_ALL_COUNT = statement(count_ends(_RETRYABLE))

# Sets their failed calls back. Goes before RETRY_ALL.
RETRY_ALL_FAILURES = statement(f"""
UPDATE failures SET {SET_BACK} WHERE task_id IN (SELECT id FROM tasks WHERE {_RETRYABLE})
""")

# Retries these tasks as RETRY does with one task.
RETRY_ALL = statement(f"UPDATE tasks SET {PUT_BACK} WHERE {_RETRYABLE}")

# Lists the tasks that this send or an earlier one retried.
RETRIED = statement(f"SELECT id FROM tasks WHERE {_LISTED} AND generation = {_GENERATION} + 1 ORDER BY id")

# --- Tasks that go on --------------------------------------------------------------------------------------

# The unfinished tasks of `:tenant` in a span of keys. `:status` is NULL for both statuses. The plus keeps the planner
# from walking over the span, where most tasks have ended.
_GOING_ON = """FROM tasks INDEXED BY tasks_to_wake
WHERE tenant = :tenant AND finished_at IS NULL AND +id >= :first AND +id < :behind
  AND (:status IS NULL OR status = :status)"""

# Finds up to `:most` unfinished tasks.
GOING_ON = statement(f"SELECT id, generation {_GOING_ON} LIMIT :most")

# Counts up to `:most` unfinished tasks.
COUNT_GOING_ON = statement(f"SELECT count(*) AS tasks FROM (SELECT 1 {_GOING_ON} LIMIT :most)")

# Cancels the listed tasks as CANCEL does with one task, if they are still in `:status`.
CANCEL_ALL = statement(f"""
UPDATE tasks SET status = 'cancelled', {ENDED}
WHERE {_LISTED} AND generation = {_GENERATION} AND status IN ('pending', 'processing')
  AND (:status IS NULL OR status = :status)
""")

# Lists the tasks that this send or an earlier one cancelled, how long their calls may still start, and whether an
# object worked on each last: see START_WINDOW.
CANCELLED = statement(f"""
SELECT id, {START_LEFT} AS left_ms, fence, {ON_OBJECT} AS on_object FROM tasks
WHERE {_LISTED} AND generation = {_GENERATION} AND status = 'cancelled' ORDER BY id
""")
