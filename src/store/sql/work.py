"""The SQL of a worker: it takes a claim, works under it, and ends it."""

from ...core.task import DEADLINE_EXCEEDED
from .fragments import ENDED, IN_TIME, NOW, OPTIONS, OVERDUE, UNHELD, failed, wake
from .statement import statement

# --- The claim ------------------------------------------------------------------------------------------

# Takes a task that is pending and due, or whose lease has run out, or that the same host held before. A Durable Object
# is alone under its name, so its predecessor is dead or dying; `:host` is '' for any other host. The fence rises.
# A holder that asks again has lost the answer: it gets the claim that it has, and nothing rises.
# Calls that the former worker had announced and not settled become doubted.
# Of two claims at once the second finds a live lease, since D1 serialises writes. No row returned: not claimed.
# Nobody claims a task whose deadline has passed.
#
# The first claim ever announces the task's first calls too, which saves the worker a write. `:first_chunks` is a JSON
# list of the chunks that a worker of a fresh task starts with; the client's budget cuts it short. No call has failed
# for good before the first claim. `:early_ms` is how early a continuation may come.
_FIRST_CALLS = """(SELECT json_group_array(json_array(0, value)) FROM json_each(:first_chunks)
  WHERE value < min(total, coalesce(max_calls, total)))"""
CLAIM = statement(f"""
UPDATE tasks SET
  status = 'processing',
  fence = fence + (holder IS NOT :holder),
  attempts = attempts + (holder IS NOT :holder AND (started_at IS NULL OR status = 'processing')),
  stalls = stalls + (holder IS NOT :holder AND status = 'processing'),
  calls_in_doubt = calls_in_doubt + CASE WHEN holder IS NOT :holder THEN json_array_length(in_flight) ELSE 0 END,
  doubted = CASE WHEN holder IS NOT :holder THEN in_flight ELSE doubted END,
  in_flight = CASE WHEN holder IS :holder THEN in_flight WHEN started_at IS NULL THEN {_FIRST_CALLS} ELSE '[]' END,
  holder = :holder, host = :host, route = :route, dispatches = 0, not_before = 0,
  lease_until = {NOW} + :lease_ms, announced_at = {NOW},
  started_at = coalesce(started_at, max(created_at, {NOW}))
WHERE id = :task_key AND (
  (status = 'pending' AND not_before <= {NOW} + :early_ms)
  OR (status = 'processing' AND (lease_until <= {NOW} OR holder = :holder OR (host = :host AND :host <> '')))
) AND {IN_TIME}
RETURNING fence, step, attempts, stalls, rate_waits, {OPTIONS}, total, failed, merge_chars,
  calls_settled, calls_in_doubt, in_flight, doubted, input_tokens, output_tokens,
  deadline_at - {NOW} AS deadline_left
""")

# Keeps wake_at from lying behind the lease. In the common case it does not, and no row is written.
CLAIM_WAKE = statement("""
UPDATE tasks SET wake_at = lease_until
WHERE id = :task_key AND holder = :holder AND status = 'processing' AND wake_at > lease_until
""")

# These reads follow the claim in its transaction, and give rows only to the worker that holds it.
_HELD = "EXISTS (SELECT 1 FROM tasks WHERE id = :task_key AND holder = :holder AND status = 'processing')"
CLAIM_TEXT = statement(f"SELECT input, instructions, cuts, overlap FROM texts WHERE task_id = :task_key AND {_HELD}")
CLAIM_OUTPUTS = statement(f"""
SELECT level, idx FROM outputs WHERE task_id = :task_key AND {_HELD} ORDER BY level, idx
""")
CLAIM_FAILURES = statement(f"""
SELECT level, idx, attempts, calls, final, code, message, retryable FROM failures
WHERE task_id = :task_key AND {_HELD} ORDER BY level, idx
""")

# Tells a worker that got no claim why.
STANDING = statement(f"""
SELECT status, lease_until - {NOW} AS lease_left, not_before - {NOW} AS wait_left, {OVERDUE} AS overdue
FROM tasks WHERE id = :task_key
""")

# --- Work under the claim --------------------------------------------------------------------------------
# Each of these names the fence. The guard sees the row as it is in this transaction, so a worker whose claim was taken
# over, cancelled or erased changes nothing.
# Each names its step too, the number of the write, which rises from write to write. A write that is sent again finds
# its own, and does once more what it did. One that was given up and lands late finds a later step, and changes nothing.

_UNDER_CLAIM = "id = :task_key AND fence = :fence AND step <= :step"
_MINE = f"""EXISTS (SELECT 1 FROM tasks
  WHERE {_UNDER_CLAIM} AND status IN ('processing', 'cancelled', 'failed'))"""

# Writes outputs once: the first accepted output of a call stays. Outputs that a task's last worker had paid for are
# kept even if the task was cancelled, or failed by its deadline, meanwhile. `:outputs` is a JSON list of [level, idx,
# output, attempts].
CHECKPOINT = statement(f"""
INSERT INTO outputs (task_id, level, idx, output, attempts)
SELECT :task_key, value ->> 0, value ->> 1, value ->> 2, value ->> 3 FROM json_each(:outputs) WHERE {_MINE}
ON CONFLICT DO NOTHING
""")

# Records failed calls with their totals, which the worker knows. `:failures` is a JSON list of
# [level, idx, attempts, calls, final, code, message, retryable].
RECORD_FAILURES = statement(f"""
INSERT INTO failures (task_id, level, idx, attempts, calls, final, code, message, retryable)
SELECT :task_key, value ->> 0, value ->> 1, value ->> 2, value ->> 3, value ->> 4, value ->> 5, value ->> 6, value ->> 7
FROM json_each(:failures) WHERE {_MINE}
ON CONFLICT DO UPDATE SET attempts = excluded.attempts, calls = excluded.calls, final = excluded.final,
  code = excluded.code, message = excluded.message, retryable = excluded.retryable
""")

# The worker's totals since the task began. They are absolute, so that sending them twice adds nothing.
# `:in_flight` is a JSON list of [level, idx].
_TOTALS = """step = :step, calls_settled = :calls_settled, in_flight = :in_flight,
  completed = :completed, failed = :failed, input_tokens = :input_tokens, output_tokens = :output_tokens,
  calls_minimum = :calls_minimum, stalls = :stalls, rate_waits = :rate_waits, calls_in_doubt = :calls_in_doubt"""

# Records what was done, announces the calls about to be made (in_flight) and renews the lease. Calls are started within
# limits.START_SECONDS of this or not at all. No row: the claim is lost, or the deadline has passed.
PROGRESS = statement(f"""
UPDATE tasks SET {_TOTALS}, lease_until = {NOW} + :lease_ms, announced_at = {NOW}
WHERE {_UNDER_CLAIM} AND status = 'processing' AND {IN_TIME}
RETURNING fence
""")

# Says whether a lane may start calls that its task's worker has announced: the time to the deadline, NULL without one.
# No row: the claim is over.
MAY_START = statement(f"""
SELECT deadline_at - {NOW} AS deadline_left FROM tasks
WHERE id = :task_key AND fence = :fence AND status = 'processing'
""")

# Reads one level's outputs in order, to merge them.
LEVEL_OUTPUTS = statement("SELECT idx, output FROM outputs WHERE task_id = :task_key AND level = :level ORDER BY idx")

# --- The claim's end -------------------------------------------------------------------------------------

# Gives the task back, to be claimed after `:delay_ms`; the sweep looks after `:sweep_ms`. Sent twice, it finds the task
# released already, by its own fence.
RELEASE = statement(f"""
UPDATE tasks SET {_TOTALS}, status = 'pending', {UNHELD},
  not_before = {NOW} + :delay_ms, wake_at = {wake(f"{NOW} + :sweep_ms")}
WHERE {_UNDER_CLAIM} AND status IN ('processing', 'pending')
RETURNING fence
""")

# Completes the task. All chunks must have an output, and so must the top of the merge: `:top_level`, 0 without a merge.
# After its deadline a task no longer completes.
FINISH = statement(f"""
UPDATE tasks SET {_TOTALS}, status = 'completed', {ENDED}
WHERE {_UNDER_CLAIM} AND (status = 'completed' OR (status = 'processing' AND {IN_TIME}))
  AND (SELECT count(*) FROM outputs WHERE task_id = :task_key AND level = 0) = total
  AND EXISTS (SELECT 1 FROM outputs WHERE task_id = :task_key AND level = :top_level AND idx = 0)
RETURNING fence
""")

# Fails the task for the reason given.
FAIL = statement(f"""
UPDATE tasks SET {_TOTALS}, {failed()}
WHERE {_UNDER_CLAIM} AND (status = 'processing' OR (status = 'failed' AND error_code = :code))
RETURNING fence
""")

# Settles the bill of a worker whose task was cancelled or passed its deadline. Nobody doubts its calls: they were sent.
SETTLE = statement(f"""
UPDATE tasks SET {_TOTALS}
WHERE {_UNDER_CLAIM} AND (status = 'cancelled' OR error_code = '{DEADLINE_EXCEEDED}')
RETURNING status
""")
