"""The SQL that accepts a task, new or put back, within its tenant's limits.

A submission is one transaction: it accepts a task, finds it accepted before, or refuses it. `_FRESH` tells the first
run of the transaction from a repetition.
"""

from ...core.task import BUDGET_EXHAUSTED
from .fragments import IN_DOUBT, NOW, OPTION_PARAMETERS, OPTIONS, delete_parts, unended, wake
from .statement import statement
from .tallies import COUNTED, UNCOUNTED, add_ends, count_ends

# --- With an Idempotency-Key -----------------------------------------------------------------------------
# `:submission` is the tenant, a colon and the client's key; `:digest` is of what was asked for.

# Takes the key for a task, if it is free or its time is over. Of racing twins the first has it. Goes before
# INSERT_TASK.
TAKE_KEY = statement(f"""
INSERT INTO submissions (id, task_id, digest, expires_at) VALUES (:submission, :task_key, :digest, {NOW} + :valid_ms)
ON CONFLICT DO UPDATE SET task_id = excluded.task_id, digest = excluded.digest, expires_at = excluded.expires_at,
  replayed = 0
WHERE expires_at <= {NOW} AND task_id <> excluded.task_id
""")

# Notes that another request is about to be answered with the key's task, which must stay from now on. `:task_key` is
# the task that this other request would have made.
NOTE_REPLAY = statement("""
UPDATE submissions SET replayed = 1
WHERE id = :submission AND task_id <> :task_key AND digest = :digest AND replayed = 0
""")

# Gives the key back when its task was refused.
GIVE_KEY_BACK = statement("""
DELETE FROM submissions WHERE id = :submission AND task_id = :task_key
  AND NOT EXISTS (SELECT 1 FROM tasks WHERE id = :task_key)
""")

# Says who has the key.
KEY_HOLDER = statement("SELECT task_id, digest FROM submissions WHERE id = :submission")

# The same without TAKE_KEY before it: a key whose time is over stands for nothing.
VALID_KEY_HOLDER = statement(f"""
SELECT task_id, digest FROM submissions WHERE id = :submission AND expires_at > {NOW}
""")

# --- The new task ----------------------------------------------------------------------------------------

_TODAY = f"({NOW} / 86400000)"
_DEADLINE_AT = f"{NOW} + :deadline_ms"

# Writes the task, pending, unless another request has its key or a limit of its tenant is reached. Sent twice it
# changes nothing, since the task's key is the caller's. Landing after the task was erased or withdrawn, it finds the
# tombstone. The sweep dispatches a task that is unclaimed for `:unclaimed_ms` again. NULL may be:
# `:model`; `:deadline_ms` and `:max_calls`, without such terms; `:submission`, without an Idempotency-Key;
# `:tasks_most` (in flight) and `:characters_most` (a day), without such limits.
INSERT_TASK = statement(f"""
INSERT INTO tasks (id, status, route, {OPTIONS}, total, merge_chars, calls_minimum, created_at,
  deadline_at, wake_at)
SELECT :task_key, 'pending', :route, {OPTION_PARAMETERS}, :total, :merge_chars, :calls_minimum, :created_at,
  {_DEADLINE_AT}, {wake(f"{NOW} + :unclaimed_ms", _DEADLINE_AT)}
WHERE (:submission IS NULL OR EXISTS (SELECT 1 FROM submissions WHERE id = :submission AND task_id = :task_key))
  AND (:tasks_most IS NULL OR {unended(":tasks_most")} < :tasks_most)
  AND (:characters_most IS NULL OR :characters_most >=
    :characters + coalesce((SELECT characters FROM daily_use WHERE tenant = :tenant AND day = {_TODAY}), 0))
  AND NOT EXISTS (SELECT 1 FROM tombstones WHERE id = :task_key)
ON CONFLICT DO NOTHING
""")

# The task's row has just been written: its text is not there yet.
_FRESH = """EXISTS (SELECT 1 FROM tasks WHERE id = :task_key)
  AND NOT EXISTS (SELECT 1 FROM texts WHERE task_id = :task_key)"""

# Counts the task's characters towards its tenant's day, once. Goes before INSERT_TEXT.
COUNT_CHARACTERS = statement(f"""
INSERT INTO daily_use (tenant, day, characters) SELECT :tenant, {_TODAY}, :characters WHERE {_FRESH}
ON CONFLICT DO UPDATE SET day = excluded.day,
  characters = excluded.characters + CASE day WHEN excluded.day THEN characters ELSE 0 END
""")

# Writes what the task works on. `:submission` is NULL without an Idempotency-Key.
INSERT_TEXT = statement("""
INSERT INTO texts (task_id, input, instructions, cuts, overlap, submission)
SELECT :task_key, :input, :instructions, :cuts, :overlap, :submission
WHERE EXISTS (SELECT 1 FROM tasks WHERE id = :task_key)
ON CONFLICT DO NOTHING
""")

# Says what became of it: whether the task is there, in which status, and how many of its tenant's have not ended,
# counted up to `:counted_most`.
OUTCOME = statement(f"""
SELECT EXISTS (SELECT 1 FROM tasks WHERE id = :task_key) AS accepted,
  (SELECT status FROM tasks WHERE id = :task_key) AS status, {unended(":counted_most")} AS unended
""")

# --- The new task taken back -----------------------------------------------------------------------------

# Another request was answered with the task.
_SHARED = """EXISTS (SELECT 1 FROM submissions JOIN texts ON submissions.id = texts.submission
  WHERE texts.task_id = :task_key AND submissions.task_id = :task_key AND replayed = 1)"""

# Takes the characters of a task that is about to be withdrawn off its tenant's day. Goes before WITHDRAW.
UNCOUNT_CHARACTERS = statement(f"""
UPDATE daily_use SET characters = max(0, characters - :characters) WHERE tenant = :tenant AND day = {_TODAY}
  AND EXISTS (SELECT 1 FROM tasks WHERE id = :task_key) AND NOT {_SHARED}
""")

# Takes back a task whose client is told that nothing was accepted, unless another request was answered with it. The
# tombstone, for `:tombstone_ms`, goes first: the submission itself may land after this.
BURY_WITHDRAWN = statement(f"""
INSERT INTO tombstones (id, until) SELECT :task_key, {NOW} + :tombstone_ms WHERE NOT {_SHARED}
ON CONFLICT DO NOTHING
""")
# Somebody may have worked on it meanwhile, for money: then it is added to the sums. Goes before WITHDRAW.
WITHDRAW_COUNT = statement(
    add_ends(
        f"""id = :task_key AND started_at IS NOT NULL AND (finished_at IS NULL OR {UNCOUNTED}) AND NOT {_SHARED}"""
    )
)
WITHDRAW = statement(f"DELETE FROM tasks WHERE id = :task_key AND NOT {_SHARED}")

# The parts go if the task's row has gone.
WITHDRAW_PARTS = delete_parts("=", ":task_key", "AND NOT EXISTS (SELECT 1 FROM tasks WHERE id = :task_key)")

# --- A task put back -------------------------------------------------------------------------------------

# All calls of a task that has ended, and those that it needs at the least to go on.
SPENT = "(calls_settled + calls_in_doubt + json_array_length(in_flight))"
LEFT = "(total - completed + (reduce = 'merge' AND total > 1))"

# The task has failed or was cancelled, and its tenant's limit allows one more in flight. `:tasks_most` is NULL without
# such a limit. `:max_calls` is a new budget, NULL to keep the old one; one that ran out must grow.
_RETRYABLE = f"""generation = :generation AND status IN ('failed', 'cancelled')
  AND (:max_calls IS NULL OR :max_calls >= {SPENT} + {LEFT})
  AND (error_code IS NOT '{BUDGET_EXHAUSTED}' OR coalesce(:max_calls > max_calls, 0))
  AND (:tasks_most IS NULL OR {unended(":tasks_most")} < :tasks_most)"""

# Adds its end to the sums, if that has not been done. Goes before RETRY.
RETRY_COUNT = statement(count_ends(f"id = :task_key AND {_RETRYABLE}"))

# Forgets calls that failed, for good too: they start anew with all their attempts. Goes before RETRY.
RETRY_FAILURES = statement(f"""
DELETE FROM failures WHERE task_id = :task_key
  AND EXISTS (SELECT 1 FROM tasks WHERE id = :task_key AND {_RETRYABLE})
""")

# What a task that is put back has forgotten. It is pending, and was sent off just now, as after a submission: the sweep
# dispatches it if it stays unclaimed for `:unclaimed_ms`.
PUT_BACK = f"""status = 'pending', fence = fence + 1, generation = generation + 1, counted = {COUNTED},
  attempts = attempts + (started_at IS NOT NULL), {IN_DOUBT},
  failed = 0, stalls = 0, stalled_since = NULL, rate_waits = 0, idle_runs = 0, away_since = NULL, away_waits = 0,
  last_error = NULL, wait_reason = NULL, wait_until = NULL, dispatches = 0, sent_at = {NOW}, not_before = 0,
  finished_at = NULL, error_code = NULL, error_message = NULL, error_retryable = NULL,
  deadline_at = {NOW} + deadline_ms, wake_at = {wake(f"{NOW} + :unclaimed_ms", f"{NOW} + deadline_ms")}"""

# Puts a failed or cancelled task back. Finished chunks stay, and a deadline begins anew. The fence rises, so that a
# late worker is refused. So does the generation: it is the one that was read before, or a retry that lands late, after
# the task has ended again, changes nothing. The sweep dispatches a task that is unclaimed for `:unclaimed_ms` again.
RETRY = statement(f"""
UPDATE tasks SET {PUT_BACK}, max_calls = coalesce(:max_calls, max_calls)
WHERE id = :task_key AND {_RETRYABLE}
RETURNING status
""")
