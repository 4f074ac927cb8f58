"""The SQL of a task's life, from claim to erasure, each statement named, with its contract above it."""

from ..core.task import DEADLINE_EXCEEDED
from .statement import NOW, unended, wake

# --- Claim ------------------------------------------------------------------------------------------

# Takes a task that is pending and due, or whose lease has run out, or that the same host held before
# (a Durable Object is alone under its name, so its predecessor is dead or dying), and raises the fence.
# The same holder asking again is its own lost answer: it gets the claim that it has, nothing rises.
# Calls that the former worker had announced and not settled become doubted. Two claims at once: writes are
# serialised, the second finds a live lease. No row returned: not claimed.
# The first claim ever announces the task's first calls right here, which saves the worker a write; no more than the
# client's bound on them; no call has failed for good before that. A task whose deadline has passed is nobody's any
# more.
# ?1 id ?2 holder ?3 host or '' ?4 route ?5 lease, ms ?6 how early a continuation may come, ms
# ?7 JSON list of the chunks that a worker of a fresh task starts with
_FIRST = """(SELECT json_group_array(json_array(0, value)) FROM json_each(?7)
  WHERE value < min(total, coalesce(max_calls, total)))"""
CLAIM = f"""
UPDATE tasks SET
  status = 'processing',
  fence = fence + (holder IS NOT ?2),
  attempts = attempts + (holder IS NOT ?2 AND (started_at IS NULL OR status = 'processing')),
  stalls = stalls + (holder IS NOT ?2 AND status = 'processing'),
  calls_in_doubt = calls_in_doubt + CASE WHEN holder IS NOT ?2 THEN json_array_length(in_flight) ELSE 0 END,
  doubted = CASE WHEN holder IS NOT ?2 THEN in_flight ELSE doubted END,
  in_flight = CASE WHEN holder IS ?2 THEN in_flight WHEN started_at IS NULL THEN {_FIRST} ELSE '[]' END,
  holder = ?2, host = ?3, route = ?4, dispatches = 0, not_before = 0,
  lease_until = {NOW} + ?5, announced_at = {NOW},
  started_at = coalesce(started_at, max(created_at, {NOW}))
WHERE id = ?1 AND (
  (status = 'pending' AND not_before <= {NOW} + ?6)
  OR (status = 'processing' AND (lease_until <= {NOW} OR holder = ?2 OR (host = ?3 AND ?3 <> '')))
) AND coalesce(deadline_at > {NOW}, 1)
RETURNING fence, attempts, stalls, rate_waits, reduce, model, total, failed, merge_chars,
  calls_settled, calls_in_doubt, in_flight, doubted, input_tokens, output_tokens,
  deadline_at - {NOW} AS deadline_left, max_calls
"""

# Keeps wake_at from lying behind the lease; in the common case it does not, and no row is written.
# ?1 id ?2 holder
CLAIM_WAKE = """
UPDATE tasks SET wake_at = lease_until WHERE id = ?1 AND holder = ?2 AND status = 'processing' AND wake_at > lease_until
"""

# Reads follow the claim in its transaction and give rows only to the one that holds it. ?1 id ?2 holder
_HELD = "EXISTS (SELECT 1 FROM tasks WHERE id = ?1 AND holder = ?2 AND status = 'processing')"
CLAIM_TEXT = f"SELECT input, instructions, cuts, overlap FROM texts WHERE task_id = ?1 AND {_HELD}"
CLAIM_OUTPUTS = f"SELECT level, idx FROM outputs WHERE task_id = ?1 AND {_HELD} ORDER BY level, idx"
CLAIM_FAILURES = f"""
SELECT level, idx, attempts, calls, final, code, message, retryable FROM failures
WHERE task_id = ?1 AND {_HELD} ORDER BY level, idx
"""

# Tells a worker that got no claim why. ?1 id
STANDING = f"""
SELECT status, lease_until - {NOW} AS lease_left, not_before - {NOW} AS wait_left,
  coalesce(deadline_at <= {NOW}, 0) AS overdue
FROM tasks WHERE id = ?1
"""

# --- Work under a claim -------------------------------------------------------------------------------
# Each of these names the fence. The guard sees the row as it is in this transaction: a worker whose claim
# was taken over, cancelled or erased changes nothing.

_MINE = "EXISTS (SELECT 1 FROM tasks WHERE id = ?1 AND fence = ?2 AND status IN ('processing', 'cancelled', 'failed'))"

# Writes outputs once: the first accepted output of a call stays. Outputs that the last worker of a task had paid for
# when it was cancelled, or failed by its deadline, are kept too.
# ?1 id ?2 fence ?3 JSON [[level, idx, output, attempts], …]
CHECKPOINT = f"""
INSERT INTO outputs (task_id, level, idx, output, attempts)
SELECT ?1, value ->> 0, value ->> 1, value ->> 2, value ->> 3 FROM json_each(?3) WHERE {_MINE}
ON CONFLICT DO NOTHING
"""

# Records failed calls with their totals, which the worker knows. ?1 id ?2 fence
# ?3 JSON [[level, idx, attempts, calls, final, code, message, retryable], …]
RECORD_FAILURES = f"""
INSERT INTO failures (task_id, level, idx, attempts, calls, final, code, message, retryable)
SELECT ?1, value ->> 0, value ->> 1, value ->> 2, value ->> 3, value ->> 4, value ->> 5, value ->> 6, value ->> 7
FROM json_each(?3) WHERE {_MINE}
ON CONFLICT DO UPDATE SET attempts = excluded.attempts, calls = excluded.calls, final = excluded.final,
  code = excluded.code, message = excluded.message, retryable = excluded.retryable
"""

# The worker's totals since the task began. They are absolute, so that sending them twice adds nothing.
# ?3 calls_settled ?4 in_flight ?5 completed ?6 failed ?7 input_tokens ?8 output_tokens ?9 calls_minimum
# ?10 stalls ?11 rate_waits ?12 calls_in_doubt
_TOTALS = """calls_settled = ?3, in_flight = ?4, completed = ?5, failed = ?6, input_tokens = ?7, output_tokens = ?8,
  calls_minimum = ?9, stalls = ?10, rate_waits = ?11, calls_in_doubt = ?12"""

# Records what was done, announces the calls about to be made (in_flight) and renews the lease. Calls are started
# within limits.START_SECONDS of this or not at all. No row: the claim is lost, or the deadline has passed.
# ?1 id ?2 fence ?3-?12 totals ?13 lease, ms
PROGRESS = f"""
UPDATE tasks SET {_TOTALS}, lease_until = {NOW} + ?13, announced_at = {NOW}
WHERE id = ?1 AND fence = ?2 AND status = 'processing' AND coalesce(deadline_at > {NOW}, 1)
RETURNING fence
"""

# Gives the task back, to be claimed from a delay on. Sent twice it finds itself released, by its own fence.
# ?1 id ?2 fence ?3-?12 totals ?13 delay, ms ?14 the sweep looks after this, ms from now
RELEASE = f"""
UPDATE tasks SET {_TOTALS}, status = 'pending', holder = NULL, host = NULL, lease_until = NULL,
  not_before = {NOW} + ?13, wake_at = {wake(f"{NOW} + ?14")}
WHERE id = ?1 AND fence = ?2 AND status IN ('processing', 'pending')
RETURNING fence
"""

# Completes the task, which only the last output can pass: all chunks have one, and so has the top of the merge.
# After its deadline a task no longer completes.
# ?1 id ?2 fence ?3-?12 totals ?13 retention, ms ?14 the merge's top level, 0 without one
FINISH = f"""
UPDATE tasks SET {_TOTALS}, status = 'completed', holder = NULL, host = NULL, lease_until = NULL,
  finished_at = coalesce(finished_at, max(created_at, {NOW})), wake_at = {NOW} + ?13
WHERE id = ?1 AND fence = ?2 AND (status = 'completed' OR (status = 'processing' AND coalesce(deadline_at > {NOW}, 1)))
  AND (SELECT count(*) FROM outputs WHERE task_id = ?1 AND level = 0) = total
  AND EXISTS (SELECT 1 FROM outputs WHERE task_id = ?1 AND level = ?14 AND idx = 0)
RETURNING fence
"""

# Fails the task for the reason given.
# ?1 id ?2 fence ?3-?12 totals ?13 retention, ms ?14 code ?15 message ?16 retryable
FAIL = f"""
UPDATE tasks SET {_TOTALS}, status = 'failed', holder = NULL, host = NULL, lease_until = NULL,
  finished_at = coalesce(finished_at, max(created_at, {NOW})), wake_at = {NOW} + ?13,
  error_code = ?14, error_message = ?15, error_retryable = ?16
WHERE id = ?1 AND fence = ?2 AND (status = 'processing' OR (status = 'failed' AND error_code = ?14))
RETURNING fence
"""

# Settles the bill of a worker whose task was cancelled or passed its deadline: its calls were sent, nobody doubts that.
# ?1 id ?2 fence ?3-?12 totals
SETTLE = f"""
UPDATE tasks SET {_TOTALS} WHERE id = ?1 AND fence = ?2 AND (status = 'cancelled' OR error_code = '{DEADLINE_EXCEEDED}')
RETURNING status
"""

# Whether a lane may start calls that its task's worker has announced: the time to the deadline, NULL without one.
# No row: the claim is over. ?1 id ?2 fence
MAY_START = (
    f"SELECT deadline_at - {NOW} AS deadline_left FROM tasks WHERE id = ?1 AND fence = ?2 AND status = 'processing'"
)

# Reads one level's outputs in order, to merge them. ?1 id ?2 level
LEVEL_OUTPUTS = "SELECT idx, output FROM outputs WHERE task_id = ?1 AND level = ?2 ORDER BY idx"

# --- From outside a claim -------------------------------------------------------------------------------

# Fails a task whose message ended in the dead-letter queue, unless a worker holds it or it has ended.
# ?1 id ?2 code ?3 message ?4 retention, ms
DEAD_LETTER = f"""
UPDATE tasks SET status = 'failed', fence = fence + 1, holder = NULL, host = NULL, lease_until = NULL,
  calls_in_doubt = calls_in_doubt + json_array_length(in_flight), in_flight = '[]',
  finished_at = max(created_at, {NOW}), wake_at = {NOW} + ?4,
  error_code = ?2, error_message = ?3, error_retryable = 1
WHERE id = ?1 AND ((status = 'pending' AND not_before <= {NOW}) OR (status = 'processing' AND lease_until <= {NOW}))
RETURNING fence
"""

# Fails tasks whose deadline has passed. As with CANCEL the fence stays, and the status alone stops a worker.
# ?1 JSON ids ?2 message ?3 retention, ms
EXPIRE = f"""
UPDATE tasks SET status = 'failed', holder = NULL, host = NULL, lease_until = NULL,
  finished_at = max(created_at, {NOW}), wake_at = {NOW} + ?3,
  error_code = '{DEADLINE_EXCEEDED}', error_message = ?2, error_retryable = 1
WHERE id IN (SELECT value FROM json_each(?1)) AND status IN ('pending', 'processing') AND deadline_at <= {NOW}
RETURNING id
"""

# For how long calls of a task that has just been cancelled, or is about to be erased, may still start: those that were
# announced last, and with lanes (?3) those that a lane has asked for. ?1 id ?2 limits.START_SECONDS, ms
# ?3 chunks from which on a task of an object has lanes
START_WINDOW = f"""
SELECT max(coalesce(announced_at, 0),
  CASE WHEN started_at IS NOT NULL AND route = 'durable-object' AND total >= ?3
    THEN coalesce(finished_at, {NOW}) ELSE 0 END
) + ?2 - {NOW} AS left_ms FROM tasks WHERE id = ?1 AND status IN ('processing', 'cancelled')
"""

# Cancels. The fence stays, so that the worker can settle its bill; the status alone stops it, since every
# announcement of calls asks for 'processing'. ?1 id ?2 retention, ms
CANCEL = f"""
UPDATE tasks SET status = 'cancelled', holder = NULL, host = NULL, lease_until = NULL,
  finished_at = max(created_at, {NOW}), wake_at = {NOW} + ?2
WHERE id = ?1 AND status IN ('pending', 'processing')
RETURNING status
"""

# Whether a task may be put back: it has failed or was cancelled, and its tenant's limit allows one more in flight.
# ?1 id ?2 milliseconds until the sweep looks ?3 tenant ?4 tasks in flight at most or NULL
_RETRYABLE = f"status IN ('failed', 'cancelled') AND (?4 IS NULL OR {unended(3, 4)} < ?4)"

# Goes before RETRY in its transaction: calls that failed, for good too, start anew with all their attempts. It takes
# RETRY's parameters.
RETRY_FAILURES = f"""
DELETE FROM failures WHERE task_id = ?1 AND ?2 = ?2 AND EXISTS (SELECT 1 FROM tasks WHERE id = ?1 AND {_RETRYABLE})
"""

# Puts a failed or cancelled task back; finished chunks stay, and a deadline begins anew. The fence rises, so that a
# late worker is refused.
RETRY = f"""
UPDATE tasks SET status = 'pending', fence = fence + 1, attempts = attempts + (started_at IS NOT NULL),
  calls_in_doubt = calls_in_doubt + json_array_length(in_flight), in_flight = '[]',
  failed = 0, stalls = 0, rate_waits = 0, dispatches = 0, not_before = 0, finished_at = NULL,
  error_code = NULL, error_message = NULL, error_retryable = NULL,
  deadline_at = {NOW} + deadline_ms, wake_at = min({NOW} + ?2, coalesce({NOW} + deadline_ms, {NOW} + ?2))
WHERE id = ?1 AND {_RETRYABLE}
RETURNING status
"""

# Erases everything of a task. Sent twice it erases nothing more. ?1 id
ERASE = (
    """DELETE FROM submissions
  WHERE id = (SELECT submission FROM texts WHERE task_id = ?1) AND task_id = ?1""",
    "DELETE FROM outputs WHERE task_id = ?1",
    "DELETE FROM failures WHERE task_id = ?1",
    "DELETE FROM texts WHERE task_id = ?1",
    "DELETE FROM tasks WHERE id = ?1 RETURNING id",
)
