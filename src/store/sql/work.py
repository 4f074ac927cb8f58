"""The SQL of a worker: it claims a task, records the work under the claim, and ends the claim."""

from ...core.task import DEADLINE_EXCEEDED
from ..d1.statement import statement
from .fragments import (
    ANNOUNCED,
    COVERAGE,
    ENDED,
    IN_TIME,
    NOW,
    OPTIONS,
    OVERDUE,
    STALLS,
    UNDER_CLAIM,
    UNHELD,
    done,
    failed,
    wake,
)
from .latest_calls import told
from .recording import recording_failures, recording_outputs

# --- The claim ------------------------------------------------------------------------------------------

# Claims a task that is pending and due, or whose lease has run out, or that an earlier instance of the same host holds
# under `:seen_fence`. A Durable Object is alone under its name, so an earlier instance of it is dead or dying. `:host`
# is '' for a host that is no Durable Object. The task's fence rises. `:seen_fence` is NULL unless the host has seen
# that an earlier instance holds the task, so that a late claim of an earlier instance takes nothing over. A holder that
# claims again has lost the answer: it gets the claim that it has, and the fence does not rise. Calls that the former
# worker announced and did not settle become doubted. If two claims come at once, the second finds a live lease, because
# D1 serialises writes. If CLAIM gives no row, the worker gets no claim. A task past its deadline is not claimed.
#
# A stall is a claim whose worker died without a finished call. `stalled_since` is when the first claim of a row of
# stalls was written. Each claim sets how long the task rests if its worker dies too. `:rests_ms` is a JSON list of the
# rests after the first claim of a row, the second and so on: a rest counts from the first claim, but lasts at least
# half as long from the present claim on. After a row's last claim the task rests until `:least_ms` after its first.
#
# A task's very first claim also announces the first model calls, which saves the worker a write. `:first_chunks` is a
# JSON list of the chunks that a worker of a new task starts with; CLAIM cuts the list to the client's budget. No call
# can have failed for good before the first claim. The first claim of a task with outputs of another task announces
# nothing. `:early_ms` is how early a message to continue a task may arrive. `:stands_in` is 1 for a worker in place of
# a host that did not come: the task then still counts as dispatched in vain.
#
# CLAIM returns the latest calls that other isolates wrote, if one failed within the last `:told_ms`. `:model` is the
# model of a task that names none. For a structured task, `structured_fence` records that the claiming code knows
# structured tasks, and `kind_fence` that it knows batches: see the CHECKs of the columns. CLAIM removes a `coverage`
# without a gap: see COVERAGE.
#
# The announced calls must start within `:start_ms` from now, or they may not start. Lanes of the former worker may have
# read its longer start window just now, and may start calls until that window ends. If the row has a longer `start_ms`
# than the claim, the row's value therefore stays.
_FIRST_CALLS = """(SELECT json_group_array(json_array(0, value)) FROM json_each(:first_chunks)
  WHERE value < min(total, coalesce(max_calls, total)))"""
_STALLS = f"CASE WHEN status = 'processing' THEN {STALLS} ELSE stalls END"
_STALLED_SINCE = f"CASE WHEN ({_STALLS}) > 0 THEN coalesce(stalled_since, {NOW}) ELSE {NOW} END"
_IS_NEW = "(status <> 'processing' OR holder IS NOT :holder)"
_REST = f":rests_ms ->> ({_STALLS})"
CLAIM = statement(f"""
UPDATE tasks SET
  status = 'processing', fence = fence + {_IS_NEW},
  attempts = attempts + ({_IS_NEW} AND (started_at IS NULL OR status = 'processing')),
  stalls = CASE WHEN {_IS_NEW} THEN {_STALLS} ELSE stalls END,
  stalled_since = CASE WHEN {_IS_NEW} THEN {_STALLED_SINCE} ELSE stalled_since END,
  rest_until = CASE WHEN {_IS_NEW}
    THEN coalesce(max(({_STALLED_SINCE}) + ({_REST}), {NOW} + ({_REST}) / 2), ({_STALLED_SINCE}) + :least_ms)
    ELSE rest_until END,
  calls_in_doubt = calls_in_doubt + CASE WHEN {_IS_NEW} THEN json_array_length(in_flight) ELSE 0 END,
  doubted = CASE WHEN {_IS_NEW} THEN in_flight ELSE doubted END,
  in_flight = CASE WHEN NOT {_IS_NEW} THEN in_flight
    WHEN started_at IS NULL AND completed = 0 THEN {_FIRST_CALLS} ELSE '[]' END,
  holder = :holder, host = :host, route = :route, not_before = 0,
  structured_fence = iif(structured IS NULL, NULL, fence + {_IS_NEW}), coverage = {COVERAGE},
  kind_fence = iif(kind IS NULL, NULL, fence + {_IS_NEW}),
  dispatches = CASE WHEN :stands_in THEN dispatches ELSE 0 END,
  lease_until = {NOW} + :lease_ms, announced_at = {NOW}, start_ms = max(start_ms, :start_ms),
  started_at = coalesce(started_at, max(created_at, {NOW}))
WHERE id = :task_key AND (
  (status = 'pending' AND not_before <= {NOW} + :early_ms)
  OR (status = 'processing' AND (holder = :holder OR (
    rest_until <= {NOW} AND (lease_until <= {NOW} OR fence = :seen_fence))))
) AND {IN_TIME}
RETURNING fence, step, attempts, stalls, rest_until - {NOW} AS rest_left, rate_waits, idle_runs, start_ms, {OPTIONS},
  kind, total, failed, merge_chars, calls_settled, calls_in_doubt, in_flight, doubted, input_tokens, output_tokens,
  truncated, reasks, rejected, repaired, announced_at, deadline_at - {NOW} AS deadline_left, max(0, {NOW} - away_since)
  AS away_ms, away_waits, last_error, pace_ms, {told("tenant || ':' || coalesce(model, :model)")} AS told """)

# Moves `wake_at`, when the sweep checks the task, to the end of the new lease if `wake_at` is later than that end.
# Usually `wake_at` is not later, and no row is written.
CLAIM_WAKE = statement("""
UPDATE tasks SET wake_at = lease_until
WHERE id = :task_key AND holder = :holder AND status = 'processing' AND wake_at > lease_until
""")

# Says why a worker got no claim of a task. If an earlier instance of the asking host holds the task, `own_fence` is
# that instance's fence.
STANDING = statement(f"""
SELECT status, lease_until - {NOW} AS lease_left, rest_until - {NOW} AS rest_left, not_before - {NOW} AS wait_left,
  {OVERDUE} AS overdue,
  CASE WHEN host = :host AND :host <> '' THEN fence END AS own_fence
FROM tasks WHERE id = :task_key
""")

# --- Work under the claim --------------------------------------------------------------------------------
# Each of the following statements names the claim by its fence and its name. The claim is checked within the
# transaction, so a worker whose task was taken over, cancelled or erased changes nothing. Each statement also names its
# step, the number of the write, which rises with each write. A write that is sent again finds its own step in the row,
# and has the same effect again. A write that was given up and arrives late finds a later step, and changes nothing.

_UNDER_CLAIM = f"id = :task_key AND {UNDER_CLAIM} AND step <= :step"
_KEEPS = f"{_UNDER_CLAIM} AND status IN ('processing', 'cancelled', 'failed')"
_MINE = f"EXISTS (SELECT 1 FROM tasks WHERE {_KEEPS})"


# Adds a piece with outputs to the last segment of its level. Another segment is begun if the last one has
# `:segment_bytes`, or contains copied outputs, which have fence 0. A write that is sent again, or that arrives after a
# later one, finds its piece or a later one in the segment, and adds nothing. The outputs of a task's last worker are
# recorded even if the task was cancelled or passed its deadline in between, because they are paid for. `:places`,
# `:sizes` and `:body` are those of a `Piece` in `store.records.segments`.
_IS_FULL = "length(body) >= :segment_bytes OR fence = 0"
RECORD_OUTPUTS = recording_outputs(_MINE, _IS_FULL)

# Records lines of a batch. Lines that have become an object take no more, nor do `:segment_chars` characters of lines,
# because the worker holds all lines of a segment in memory when it makes an object of them. SQLite reads a row for each
# line to add up `sizes`, at each write. So it adds them up only if the number of lines and the digits of the longest
# one allow so many characters. A line has at most seven digits.
_CHARS_MOST = """(length(sizes) - length(replace(sizes, ',', '')) + 1) * CASE
        WHEN sizes GLOB '*[0-9][0-9][0-9][0-9][0-9]*' THEN 10000000
        WHEN sizes GLOB '*[0-9][0-9][0-9][0-9]*' THEN 10000 ELSE 1000 END"""
RECORD_LINES = recording_outputs(
    _MINE,
    f"""CASE WHEN {_IS_FULL} OR object IS NOT NULL THEN 1
      WHEN {_CHARS_MOST} < :segment_chars THEN 0
      ELSE (SELECT sum(value) FROM json_each('[' || sizes || ']')) >= :segment_chars END""",
)

# Records how many outputs were cut off, in the transaction that records these outputs. If the task has ended in
# between, the transaction still records its outputs, but not the worker's other totals. For an ended task, only
# RECORD_CUT says how many outputs were cut off. `:truncated` counts from the start of the task.
RECORD_CUT = statement(f"UPDATE tasks SET truncated = :truncated WHERE {_KEEPS}")

# Records failed calls, each with the counts for its output, which the worker knows. `:failures` is a JSON list of
# [level, idx, attempts, calls, final, code, message, retryable, counted, rests_until, held, log]. `log` is a list with
# one entry of the log of calls, or null for a failure that is recorded already.
RECORD_FAILURES = recording_failures(_MINE)

# Records failed calls of a structured task: each entry of `:failures` also has the rejected answers, a JSON object, and
# the chunk's length if it may leave a gap. Both may be null.
RECORD_RUNGS = recording_failures(_MINE, "rung", "gap_chars")

# Records failed calls for lines of a batch: each entry of `:failures` also has a 0 if the line has failed without
# ending the task, and the provider's answer if it refused the line for good, a JSON object. Both may be null.
RECORD_REFUSALS = recording_failures(_MINE, "gap_chars", "refusal")

# Records the counters of a structured task, and which share of its text has outputs. Like RECORD_CUT, RECORD_LADDER
# takes effect even if the task has ended in between.
RECORD_LADDER = statement(f"""
UPDATE tasks SET reasks = :reasks, rejected = :rejected, repaired = :repaired, coverage = :coverage WHERE {_KEEPS}
""")

# Records the plan of a merge level, a JSON list, in the transaction that announces the level's first calls. An existing
# plan stays.
RECORD_MERGE = statement(f"""
INSERT INTO merges (task_id, level, ends) SELECT :task_key, :level, :ends WHERE {_MINE}
ON CONFLICT DO NOTHING
""")

# Assigns the worker's totals, which count from the start of the task, so that a second send adds nothing. `:finished`
# says that a call of this claim has finished, so that the claim is no stall. `:in_flight` is a JSON list of [level,
# idx], and `:last_error` a JSON object. While the model is not away, `:away_since` is NULL; without an error,
# `:last_error`; while the run waits for nothing, `:wait_reason` and `:wait_until`; and until a call has finished,
# `:pace_ms`. `:doubted` has the calls in doubt that the claim found, and those that the worker has given up; NULL keeps
# the row's value.
_TOTALS = """step = :step, calls_settled = :calls_settled, in_flight = :in_flight,
  doubted = coalesce(:doubted, doubted),
  completed = :completed, failed = :failed, input_tokens = :input_tokens, output_tokens = :output_tokens,
  calls_minimum = :calls_minimum, stalls = :stalls, rate_waits = :rate_waits, calls_in_doubt = :calls_in_doubt,
  idle_runs = :idle_runs, away_since = :away_since, away_waits = :away_waits, last_error = :last_error,
  wait_reason = :wait_reason, wait_until = :wait_until, pace_ms = :pace_ms, truncated = :truncated,
  stalled_since = CASE WHEN :finished THEN NULL ELSE stalled_since END,
  rest_until = CASE WHEN :finished THEN 0 ELSE rest_until END"""

# Records the work so far, announces the next calls (`:in_flight`) and renews the lease. The announced calls must start
# within `:start_ms`, or they may not start. If PROGRESS gives no row, the claim is lost, or the deadline has passed.
# PROGRESS returns the latest calls that other isolates wrote, if one failed within the last `:told_ms`. `:told_id`
# names the tenant and the model of the latest calls.
PROGRESS = statement(f"""
UPDATE tasks SET {_TOTALS}, lease_until = {NOW} + :lease_ms, {ANNOUNCED}
WHERE {_UNDER_CLAIM} AND status = 'processing' AND {IN_TIME}
RETURNING fence, {told(":told_id")} AS told
""")

# Makes sure that the database has twice `:half` bytes of free space, or fails. The task's row grows by 2 * `:half`
# bytes, and shrinks again with PROGRESS, which follows in the same transaction. The database's file keeps the space.
FIND_ROOM = statement(f"""
UPDATE tasks SET in_flight = '["' || hex(zeroblob(:half)) || '"]'
WHERE {_UNDER_CLAIM} AND status = 'processing' AND {IN_TIME}
""")

# Says for how many ms from now a lane may start calls that its task's worker has announced, which is `start_ms`, or the
# time to the deadline if that is shorter. No row means that the claim is over; a worker uses the statement only to
# check that. A lane knows its worker's claim only by the fence, and gives NULL as `:holder`.
MAY_START = statement(f"""
SELECT min(start_ms, coalesce(deadline_at - {NOW}, start_ms)) AS left_ms FROM tasks
WHERE id = :task_key AND fence = :fence AND holder = coalesce(:holder, holder) AND status = 'processing'
""")

# --- The claim's end -------------------------------------------------------------------------------------

# Gives a task back, so that it may be claimed after `:delay_ms`. The sweep checks a released task after `:sweep_ms`. If
# RELEASE is sent twice, the second send recognizes the released task by the claim's fence, and releases it again.
RELEASE = statement(f"""
UPDATE tasks SET {_TOTALS}, status = 'pending', {UNHELD},
  not_before = {NOW} + :delay_ms, wake_at = {wake(f"{NOW} + :sweep_ms")}
WHERE {_UNDER_CLAIM} AND status IN ('processing', 'pending')
RETURNING fence
""")

# Gives a task back without recording the work since the last write, because the database has no space for it. The
# task's row does not grow, because the new `wait_reason` is shorter than the claim's name, which is removed. The
# announced calls stay announced, and become doubted at the next claim.
STAND_DOWN = statement(f"""
UPDATE tasks SET step = :step, status = 'pending', {UNHELD}, holder = NULL,
  wait_reason = 'database', wait_until = NULL, not_before = {NOW} + :delay_ms, wake_at = {wake(f"{NOW} + :sweep_ms")}
WHERE {_UNDER_CLAIM} AND status = 'processing'
RETURNING fence
""")

# Completes a task. All chunks of the task must have an output, and so must the top level of its merge, `:top_level`,
# which is 0 without a merge. A task is not completed after its deadline. The first line of the task's text stays in
# the row only if the text is kept.
_FINISH = f"""UPDATE tasks SET {_TOTALS}, status = 'completed',
  first_line = CASE WHEN :keeps_input THEN first_line END, {ENDED}
WHERE {_UNDER_CLAIM} AND (status = 'completed' OR (status = 'processing' AND {IN_TIME}))"""
FINISH = statement(f"""
{_FINISH}
  AND (SELECT count(*) FROM ({done("0")})) = total
  AND 0 IN ({done(":top_level")})
RETURNING fence
""")

# Completes a structured task with gaps: each chunk must have an output or have failed without ending the task, and at
# least one chunk must have an output. Without a merge, position 0 may be a gap, so an output at position 0 of the top
# level is required only of a merge.
FINISH_WITH_GAPS = statement(f"""
{_FINISH}
  AND (SELECT count(*) FROM (
    {done("0")} UNION SELECT idx FROM failures WHERE task_id = :task_key AND level = 0 AND final = 1 AND gap_chars >= 0
  )) = total
  AND EXISTS ({done("0")}) AND (:top_level = 0 OR 0 IN ({done(":top_level")}))
RETURNING fence
""")

# Completes a batch: each line must have an output, or have failed without ending the task.
FINISH_BATCH = statement(f"""
{_FINISH} AND :top_level = 0 AND total >= 1
  AND (SELECT count(*) FROM (
    {done("0")} UNION SELECT idx FROM failures WHERE task_id = :task_key AND level = 0 AND final = 1 AND gap_chars >= 0
  )) = total
RETURNING fence
""")

# Empties the input of a task that the present claim has completed. The row in `texts` stays, because reads of chunks
# need its offsets, and the erasure needs its submission. Goes after FINISH.
EMPTY_INPUT = statement(f"""
UPDATE texts SET input = ''
WHERE task_id = :task_key
  AND EXISTS (SELECT 1 FROM tasks WHERE id = :task_key AND {UNDER_CLAIM} AND status = 'completed')
""")

# Fails a task with the given error code and message.
FAIL = statement(f"""
UPDATE tasks SET {_TOTALS}, {failed()}
WHERE {_UNDER_CLAIM} AND (status = 'processing' OR (status = 'failed' AND error_code = :code))
RETURNING fence
""")

# Settles the bill of a worker whose task was cancelled or passed its deadline. If the task still goes on, because its
# deadline has not passed by the database's clock, its totals are recorded with the transaction's outputs.
SETTLE = statement(f"""
UPDATE tasks SET {_TOTALS}
WHERE {_UNDER_CLAIM} AND (status IN ('cancelled', 'processing') OR error_code = '{DEADLINE_EXCEEDED}')
RETURNING status
""")
