"""The SQL that retries or cancels many tasks of a tenant at once.

Each write of the module names tasks that were read before in `:generations`, a JSON object with the generation of each
task by its key. A write therefore changes nothing of a task if it arrives after another retry of the task.
"""

from ...core.task import BUDGET_EXHAUSTED
from ..d1.statement import statement
from .admission import LEFT, OPENS_AGAIN, PUT_BACK, SET_BACK, SPENT
from .ending import ON_OBJECT, START_LEFT
from .fragments import ENDED, HAS_TEXT, unended
from .tallies import count_retried

_LISTED = "id IN (SELECT key FROM json_each(:generations))"
_GENERATION = """(:generations ->> ('$."' || id || '"'))"""

# --- Failed tasks ----------------------------------------------------------------------------------------

# The failed tasks in a range of keys that can be retried without a new budget. To be retried, a task whose budget ran
# out needs a larger budget. `:code` is NULL for all error codes. The expression reads an index entry for each failed
# task of the range, and no other tasks. Batches are not retried, and
# neither are tasks whose text was in a file that is gone.
_FAILED = f"""FROM tasks INDEXED BY tasks_failed
WHERE id >= :first AND id < :behind AND status = 'failed' AND error_code <> '{BUDGET_EXHAUSTED}'
  AND (:code IS NULL OR error_code = :code) AND kind IS NOT 'batch' AND {HAS_TEXT}"""

# Finds up to `:most` failed tasks to retry, oldest first, and counts the unfinished tasks of `:tenant`, up to
# `:counted_most`.
FAILED = statement(f"SELECT id, generation, {unended(':counted_most')} AS unended {_FAILED} ORDER BY id LIMIT :most")

# Counts up to `:most` failed tasks to retry, and two numbers of model calls. The first is how many calls the tasks need
# without failures; the second is the most that they make, with `:attempts` for each output, and `:reasks` more if the
# output must fit a schema. Merging n outputs takes fewer than n calls.
COUNT_FAILED = statement(f"""
SELECT count(*) AS tasks, coalesce(sum(least), 0) AS minimum, coalesce(sum(most), 0) AS maximum FROM (
  SELECT {LEFT} AS least, min(
    (:attempts + :reasks * coalesce(structured ->> 'has_schema', 0))
      * (total - completed + (reduce = 'merge') * (total - 1)),
    coalesce(max_calls - {SPENT}, 1000000000)
  ) AS most {_FAILED} LIMIT :most
)
""")

# A condition on the `:count` failed tasks that are to be retried. If the retries would give the tenant more than
# `:tasks_most` tasks in flight (NULL without such a limit), no task is retried.
_RETRYABLE = f"""{_LISTED} AND generation = {_GENERATION} AND status = 'failed'
  AND error_code <> '{BUDGET_EXHAUSTED}' AND kind IS NOT 'batch' AND {HAS_TEXT}
  AND (:tasks_most IS NULL OR {unended(":tasks_most")} + :count <= :tasks_most)"""

# Adds the ends of tasks that are retried to the sums over ended tasks, unless that was done before. Goes before
# RETRY_ALL.
RETRY_ALL_COUNT = statement(count_retried(_RETRYABLE))

# Sets the counts of the retried tasks' failed calls to 0. Goes before RETRY_ALL.
RETRY_ALL_FAILURES = statement(f"""
UPDATE failures SET {SET_BACK} WHERE task_id IN (SELECT id FROM tasks WHERE {_RETRYABLE}) AND {OPENS_AGAIN}
""")

# Retries the tasks in `:generations`, as RETRY does with one task.
RETRY_ALL = statement(f"UPDATE tasks SET {PUT_BACK} WHERE {_RETRYABLE}")

# Lists the tasks in `:generations` that were retried, by this send of the transaction or an earlier one.
RETRIED = statement(f"SELECT id FROM tasks WHERE {_LISTED} AND generation = {_GENERATION} + 1 ORDER BY id")

# --- Tasks that go on --------------------------------------------------------------------------------------

# A piece of SQL: the unfinished tasks of `:tenant` in a range of keys. If `:status` is NULL, the piece has unfinished
# tasks of both statuses. The plus signs keep SQLite's planner from reading the whole range of keys, where most tasks
# have ended.
_GOING_ON = """FROM tasks INDEXED BY tasks_to_wake
WHERE tenant = :tenant AND finished_at IS NULL AND +id >= :first AND +id < :behind
  AND (:status IS NULL OR status = :status)"""

# Finds up to `:most` unfinished tasks of `:tenant`.
GOING_ON = statement(f"SELECT id, generation {_GOING_ON} LIMIT :most")

# Counts the unfinished tasks of `:tenant`, up to `:most`.
COUNT_GOING_ON = statement(f"SELECT count(*) AS tasks FROM (SELECT 1 {_GOING_ON} LIMIT :most)")

# Cancels the tasks in `:generations`, as CANCEL does with one task, if they are still in `:status`, or in any
# unfinished status if `:status` is NULL.
CANCEL_ALL = statement(f"""
UPDATE tasks SET status = 'cancelled', {ENDED}
WHERE {_LISTED} AND generation = {_GENERATION} AND status IN ('pending', 'processing')
  AND (:status IS NULL OR status = :status)
""")

# Lists the tasks in `:generations` that were cancelled, by this send of the transaction or an earlier one. CANCELLED
# says for each task how long its calls may still start, and whether a Durable Object worked on the task last, as
# START_WINDOW does.
CANCELLED = statement(f"""
SELECT id, {START_LEFT} AS left_ms, fence, {ON_OBJECT} AS on_object FROM tasks
WHERE {_LISTED} AND generation = {_GENERATION} AND status = 'cancelled' ORDER BY id
""")
