"""Every SQL statement, named, with its contract above it.

Parameters are numbered, and values only ever enter through them. `NOW` is the database's clock: leases
are judged by it alone, since an isolate's clock may stand still, differ or jump. Each write is safe to send
twice: after an error nobody knows whether it landed (see "Read query retries" in the D1 documentation).
"""

from dataclasses import dataclass

NOW = "CAST(unixepoch('subsec') * 1000 AS INTEGER)"


@dataclass(frozen=True, slots=True)
class Statement:
    """A statement and the values of its parameters ?1, ?2, …; None binds as NULL."""

    sql: str
    values: tuple[str | int | None, ...] = ()


# --- Submit -----------------------------------------------------------------------------------------

# Writes the task, pending. Sent twice it changes nothing, since the id is the caller's.
# ?1 id ?2 route ?3 reduce ?4 model ?5 metadata ?6 total ?7 merge_chars ?8 calls_minimum ?9 created_at
# ?10 milliseconds that the task may stay unclaimed before the sweep dispatches it again
INSERT_TASK = f"""
INSERT INTO tasks (id, status, route, reduce, model, metadata, total, merge_chars, calls_minimum, created_at, wake_at)
VALUES (?1, 'pending', ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, {NOW} + ?10)
ON CONFLICT DO NOTHING
"""

# Writes what the task works on, in the same transaction. ?1 id ?2 input ?3 instructions ?4 cuts ?5 overlap
INSERT_TEXT = """
INSERT INTO texts (task_id, input, instructions, cuts, overlap) VALUES (?1, ?2, ?3, ?4, ?5) ON CONFLICT DO NOTHING
"""

# --- Claim ------------------------------------------------------------------------------------------

# Takes a task that is pending and due, or whose lease has run out, or that the same host held before
# (a Durable Object is alone under its name, so its predecessor is dead or dying), and raises the fence.
# The same holder asking again is its own lost answer: it gets the claim that it has, nothing rises.
# Calls that the former worker had announced and not settled become doubted. Two claims at once: writes are
# serialised, the second finds a live lease. No row returned: not claimed.
# The first claim ever announces the task's first calls right here, which saves the worker a write.
# ?1 id ?2 holder ?3 host or '' ?4 route ?5 lease, ms ?6 how early a continuation may come, ms
# ?7 JSON list of the chunks that a worker of a fresh task starts with
_FIRST = "(SELECT json_group_array(json_array(0, value)) FROM json_each(?7) WHERE value < total)"
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
  lease_until = {NOW} + ?5,
  started_at = coalesce(started_at, max(created_at, {NOW}))
WHERE id = ?1 AND (
  (status = 'pending' AND not_before <= {NOW} + ?6)
  OR (status = 'processing' AND (lease_until <= {NOW} OR holder = ?2 OR (host = ?3 AND ?3 <> '')))
)
RETURNING fence, attempts, stalls, rate_waits, reduce, model, total, failed, merge_chars,
  calls_settled, calls_in_doubt, in_flight, doubted, input_tokens, output_tokens
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
CLAIM_FAILURES = f"SELECT level, idx, attempts, calls FROM failures WHERE task_id = ?1 AND final = 0 AND {_HELD}"

# Tells a worker that got no claim why. ?1 id
STANDING = f"""
SELECT status, lease_until - {NOW} AS lease_left, not_before - {NOW} AS wait_left FROM tasks WHERE id = ?1
"""

# --- Work under a claim -------------------------------------------------------------------------------
# Each of these names the fence. The guard sees the row as it is in this transaction: a worker whose claim
# was taken over, cancelled or erased changes nothing.

_MINE = "EXISTS (SELECT 1 FROM tasks WHERE id = ?1 AND fence = ?2 AND status IN ('processing', 'cancelled'))"

# Writes outputs once: the first accepted output of a call stays. Outputs that a cancelled task's last worker
# had paid for are kept too, for a retry. ?1 id ?2 fence ?3 JSON [[level, idx, output, attempts], …]
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

# Records what was done, announces the calls about to be made (in_flight) and renews the lease.
# No row: the claim is lost. ?1 id ?2 fence ?3-?12 totals ?13 lease, ms
PROGRESS = f"""
UPDATE tasks SET {_TOTALS}, lease_until = {NOW} + ?13
WHERE id = ?1 AND fence = ?2 AND status = 'processing'
RETURNING fence
"""

# Gives the task back, to be claimed from a delay on. Sent twice it finds itself released, by its own fence.
# ?1 id ?2 fence ?3-?12 totals ?13 delay, ms ?14 the sweep looks after this, ms from now
RELEASE = f"""
UPDATE tasks SET {_TOTALS}, status = 'pending', holder = NULL, host = NULL, lease_until = NULL,
  not_before = {NOW} + ?13, wake_at = {NOW} + ?14
WHERE id = ?1 AND fence = ?2 AND status IN ('processing', 'pending')
RETURNING fence
"""

# Completes the task, which only the last output can pass: all chunks have one, and so has the top of the merge.
# ?1 id ?2 fence ?3-?12 totals ?13 retention, ms ?14 the merge's top level, 0 without one
FINISH = f"""
UPDATE tasks SET {_TOTALS}, status = 'completed', holder = NULL, host = NULL, lease_until = NULL,
  finished_at = coalesce(finished_at, max(created_at, {NOW})), wake_at = {NOW} + ?13
WHERE id = ?1 AND fence = ?2 AND status IN ('processing', 'completed')
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
WHERE id = ?1 AND fence = ?2 AND status IN ('processing', 'failed')
RETURNING fence
"""

# Settles the bill of a worker whose task was cancelled under it: its calls were sent, nobody doubts that.
# ?1 id ?2 fence ?3-?12 totals
SETTLE_CANCELLED = f"UPDATE tasks SET {_TOTALS} WHERE id = ?1 AND fence = ?2 AND status = 'cancelled'"

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

# Cancels. The fence stays, so that the worker can settle its bill; the status alone stops it, since every
# announcement of calls asks for 'processing'. ?1 id ?2 retention, ms
CANCEL = f"""
UPDATE tasks SET status = 'cancelled', holder = NULL, host = NULL, lease_until = NULL,
  finished_at = max(created_at, {NOW}), wake_at = {NOW} + ?2
WHERE id = ?1 AND status IN ('pending', 'processing')
RETURNING status
"""

# Goes before RETRY in its transaction: the chunks that failed start anew. ?1 id
RETRY_FAILURES = """
DELETE FROM failures WHERE task_id = ?1
  AND EXISTS (SELECT 1 FROM tasks WHERE id = ?1 AND status IN ('failed', 'cancelled'))
"""

# Puts a failed or cancelled task back; finished chunks stay. The fence rises, so that a late worker is refused.
# ?1 id ?2 milliseconds until the sweep looks
RETRY = f"""
UPDATE tasks SET status = 'pending', fence = fence + 1, attempts = attempts + (started_at IS NOT NULL),
  calls_in_doubt = calls_in_doubt + json_array_length(in_flight), in_flight = '[]',
  failed = 0, stalls = 0, rate_waits = 0, dispatches = 0, not_before = 0, finished_at = NULL,
  error_code = NULL, error_message = NULL, error_retryable = NULL, wake_at = {NOW} + ?2
WHERE id = ?1 AND status IN ('failed', 'cancelled')
RETURNING status
"""
# Erases everything of a task. Sent twice it erases nothing more. ?1 id
ERASE = (
    "DELETE FROM outputs WHERE task_id = ?1",
    "DELETE FROM failures WHERE task_id = ?1",
    "DELETE FROM texts WHERE task_id = ?1",
    "DELETE FROM tasks WHERE id = ?1 RETURNING id",
)

# --- Sweep ----------------------------------------------------------------------------------------------

# The tasks that need a look, longest overdue first; the index makes the page cost the same at any size. ?1 limit
DUE = f"""
SELECT id, status, stalls, {NOW} AS now, coalesce(lease_until > {NOW}, 0) AS live FROM tasks
WHERE wake_at <= {NOW} ORDER BY wake_at LIMIT ?1
"""

# Looks again when the lease ends. ?1 JSON ids
POSTPONE = f"""
UPDATE tasks SET wake_at = lease_until
WHERE id IN (SELECT value FROM json_each(?1)) AND status = 'processing' AND lease_until > {NOW}
"""

# Fails a task whose workers die again and again without an output, the last of them before it could say so itself:
# nobody else would end it. ?1 JSON ids ?2 stalls from which on ?3 code ?4 message ?5 retention, ms
GIVE_UP = f"""
UPDATE tasks SET status = 'failed', fence = fence + 1, holder = NULL, host = NULL, lease_until = NULL,
  calls_in_doubt = calls_in_doubt + json_array_length(in_flight), in_flight = '[]',
  finished_at = max(created_at, {NOW}), wake_at = {NOW} + ?5,
  error_code = ?3, error_message = ?4, error_retryable = 1
WHERE id IN (SELECT value FROM json_each(?1)) AND status = 'processing' AND lease_until <= {NOW} AND stalls >= ?2
RETURNING id
"""

# Takes on the dispatch of tasks that nobody works on, and looks again later, longer at each repetition. It is
# written before the message is sent: a crash in between costs a delay, the other order would cost a flood.
# A task that another sweep took on is no longer due. ?1 JSON ids ?2 base delay, ms ?3 doublings at most
REDISPATCH = f"""
UPDATE tasks SET dispatches = dispatches + 1, wake_at = {NOW} + (?2 << min(dispatches + 1, ?3))
WHERE id IN (SELECT value FROM json_each(?1)) AND wake_at <= {NOW}
  AND (status = 'pending' OR (status = 'processing' AND lease_until <= {NOW}))
RETURNING id
"""

# Erases finished tasks whose retention is over. A task that was put back meanwhile is left alone: all four look
# at the same rows with the same time. ?1 JSON ids ?2 the time of DUE, ms
_OVER = """SELECT id FROM tasks WHERE id IN (SELECT value FROM json_each(?1))
  AND status IN ('completed', 'failed', 'cancelled') AND wake_at <= ?2"""
ERASE_EXPIRED = (
    f"DELETE FROM outputs WHERE task_id IN ({_OVER})",
    f"DELETE FROM failures WHERE task_id IN ({_OVER})",
    f"DELETE FROM texts WHERE task_id IN ({_OVER})",
    f"DELETE FROM tasks WHERE id IN ({_OVER}) RETURNING id",
)

# --- Reads for the API ------------------------------------------------------------------------------------

_VIEW = f"""id, status, route, reduce, model, metadata, total, completed, failed, attempts,
  calls_settled, calls_in_doubt, calls_minimum, json_array_length(in_flight) AS calls_in_flight,
  coalesce(lease_until > {NOW}, 0) AS live, input_tokens, output_tokens,
  error_code, error_message, error_retryable, created_at, started_at, finished_at, wake_at"""

# One task: one row read. ?1 id
TASK = f"SELECT {_VIEW} FROM tasks WHERE id = ?1"

# The outputs that make the result of a completed task, in order; no rows while it is not completed. ?1 id
RESULT = """
SELECT output FROM outputs WHERE task_id = ?1 AND level = (
  SELECT CASE reduce WHEN 'merge' THEN (SELECT max(level) FROM outputs WHERE task_id = ?1) ELSE 0 END
  FROM tasks WHERE id = ?1 AND status = 'completed'
) ORDER BY idx
"""

# What `?wait=` polls. ?1 id
STATUS = "SELECT status FROM tasks WHERE id = ?1"

# The finished chunks with what places them in the input. ?1 id
PLACES = "SELECT cuts, overlap FROM texts WHERE task_id = ?1"
CHUNKS = "SELECT idx, output, attempts FROM outputs WHERE task_id = ?1 AND level = 0 ORDER BY idx"
FAILED_CHUNKS = """
SELECT idx, calls, code, message, retryable FROM failures WHERE task_id = ?1 AND level = 0 AND final = 1 ORDER BY idx
"""

# A page, newest first: ids sort by creation. ?1 the last id of the page before, or '~' ?2 limit
LIST = f"SELECT {_VIEW} FROM tasks WHERE id < ?1 ORDER BY id DESC LIMIT ?2"

# A page of one status. It walks the key like LIST and passes over other statuses. ?1 last id ?2 limit ?3 status
LIST_STATUS = f"SELECT {_VIEW} FROM tasks WHERE id < ?1 AND status = ?3 ORDER BY id DESC LIMIT ?2"

# Whether D1 answers and the newest table is there.
READY = "SELECT 1 FROM api_keys LIMIT 1"
