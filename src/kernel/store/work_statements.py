"""The SQL of a worker: it claims a task, records outputs and failed model calls under the claim, and ends the claim."""

from ..domain import limits
from ..domain.task import DEADLINE_EXCEEDED
from .absence import RESUMED
from .d1 import Statement, statement
from .fragments import (
    ANNOUNCED,
    ENDED,
    IN_TIME,
    KNOWN_KIND,
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
from .latest_calls import shared

# The columns of a failed call, in the order of an entry of `:failures`.
_FAILURE = (
    *("level", "idx", "attempts", "calls", "final", "code", "message", "retryable", "counted", "rests_until", "held"),
    *("log", "rung", "gap_chars", "refusal"),
)

# Adds an entry to the column `failures.log` if the log does not have the entry yet, and keeps the latest `:logged_most`
# entries. The fence and the number of a call identify its entry in the log. A write adds at most one entry for each
# output, so if an entry was already written, it is the last entry.
_LOGGED = """CASE
    WHEN excluded.log IS NULL THEN log
    WHEN log ->> '$[#-1][0]' = excluded.log ->> '$[0][0]' AND log ->> '$[#-1][1]' = excluded.log ->> '$[0][1]' THEN log
    ELSE json_insert(
      CASE WHEN json_array_length(log) >= :logged_most THEN json_remove(log, '$[0]') ELSE coalesce(log, '[]') END,
      '$[#]', excluded.log -> '$[0]')
  END"""


def recording_outputs(mine: str, full: str) -> Statement:
    """Return the statement that records a piece of outputs, if `mine` holds; if `full`, in a new segment."""
    return _recording(mine, full, ":piece", ":places, :sizes, unhex(:body) WHERE")


def recording_pieces(mine: str, full: str) -> Statement:
    """Return the statement that records up to PIECES_A_STATEMENT pieces, each after the first in a new segment."""
    pieces = ", ".join(
        f"(:piece + {at}, :places_{at}, :sizes_{at}, :body_{at})" for at in range(limits.PIECES_A_STATEMENT)
    )
    source = f"column2, column3, unhex(column4) FROM (VALUES {pieces}) WHERE column2 IS NOT NULL AND"
    return _recording(mine, full, "column1", source, " + row_number() OVER (ORDER BY column1) - 1")


def _recording(mine: str, full: str, piece: str, source: str, place: str = "") -> Statement:
    return statement(f"""
INSERT INTO segments (task_id, level, part, fence, step, piece, places, sizes, body)
SELECT :task_key, :level, coalesce((
    SELECT part + ({full}) FROM segments
    WHERE task_id = :task_key AND level = :level ORDER BY part DESC LIMIT 1
  ), 0){place}, :fence, :step, {piece}, {source} {mine} AND NOT EXISTS (
  SELECT 1 FROM segments WHERE task_id = :task_key AND level = :level
    AND (fence, step, piece) >= (:fence, :step, {piece})
)
ON CONFLICT DO UPDATE SET fence = excluded.fence, step = excluded.step, piece = excluded.piece,
  places = places || ',' || excluded.places, sizes = sizes || ',' || excluded.sizes,
  body = unhex(hex(body) || hex(excluded.body))
""")


# --- The claim ------------------------------------------------------------------------------------------

# Claims a task that is pending and due, or whose lease has run out, or that an earlier instance of the same host holds
# under `:seen_fence`. A Durable Object is alone under its name, so an earlier instance of it is dead or dying. `:host`
# is '' for a host that is no Durable Object. The task's fence rises. `:seen_fence` is NULL unless the host has seen
# that an earlier instance holds the task, so that a late claim of an earlier instance takes nothing over. A holder that
# claims again has lost the answer: it gets the claim that it has, and the fence does not rise. Calls that the former
# worker announced and did not settle become doubted. If two claims come at once, the second finds a live lease, because
# D1 serialises writes. If CLAIM gives no row, the worker gets no claim. A task past its deadline is not claimed, and
# neither is one of a kind that this code does not know, or one that is to start later.
#
# A stall is a claim whose worker died without a finished call. `stalled_since` is when the first claim in a row of
# stalls was written. Each claim sets how long the task will rest if the claim's worker dies too. `:rests_ms` is a JSON
# list of the rests after the first claim of a row of stalls, after the second claim and so on. A rest is counted from
# the first claim, but lasts at least half as long from the present claim on. After the last claim of a row of stalls,
# the task rests until `:least_ms` after the row's first claim.
#
# The very first claim of a task also announces the first model calls, so that the worker needs no write for that.
# `:first_chunks` is a JSON list of the chunks with which a worker of a new task starts; CLAIM shortens the list to fit
# the client's budget. A task whose model is in the JSON list `:priced` announces none, nor one of a tenant with a cap,
# because the most that a call can cost is known only once its text is read. Before the first claim, no call can have
# failed for good. The first claim of a task that has copied outputs of another task announces no calls. `:early_ms` is
# by how many ms a message to continue a task may arrive too early. `:stands_in` is 1 for a worker that replaces a host
# that did not come: the task then still counts as dispatched in vain.
#
# CLAIM returns the latest calls that other isolates wrote, if one failed within the last `:shared_ms`. `:model` is the
# model of a task that names none. For a structured task, `structured_fence` records that the claiming code knows
# structured tasks, `kind_fence` that it knows batches, and `text_fence` that it knows texts in files: see the CHECKs of
# the columns.
#
# The announced calls must start within `:start_ms` from now; later they may not start. Lanes of the previous worker may
# have just read that worker's longer time limit for starting calls, and may start calls until then. Therefore, if the
# row's `start_ms` is longer than that of the claim, the row's value stays.
_CAPPED = "EXISTS (SELECT 1 FROM tenant_limits WHERE tenant_limits.tenant = tasks.tenant AND monthly_most IS NOT NULL)"
_MAY_ANNOUNCE = f"""started_at IS NULL AND completed = 0
  AND max_cost IS NULL AND NOT {_CAPPED} AND coalesce(model, :model) NOT IN (SELECT value FROM json_each(:priced))"""
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
  cost_in_doubt = cost_in_doubt + cost_out, cost_out = 0,
  doubted = CASE WHEN {_IS_NEW} THEN in_flight ELSE doubted END,
  in_flight = CASE WHEN NOT {_IS_NEW} THEN in_flight WHEN {_MAY_ANNOUNCE} THEN {_FIRST_CALLS} ELSE '[]' END,
  holder = :holder, host = :host, route = :route, not_before = 0,
  structured_fence = iif(structured IS NULL, NULL, fence + {_IS_NEW}),
  kind_fence = iif(kind IS NULL, NULL, fence + {_IS_NEW}), text_fence = iif(text_file IS NULL, NULL, fence + {_IS_NEW}),
  cost_fence = iif(max_cost IS NULL, NULL, fence + {_IS_NEW}),
  long_text_fence = iif(long_text IS NULL, NULL, fence + {_IS_NEW}),
  dispatches = CASE WHEN :stands_in THEN dispatches ELSE 0 END,
  lease_until = {NOW} + :lease_ms, announced_at = {NOW}, start_ms = max(start_ms, :start_ms),
  started_at = coalesce(started_at, max(created_at, {NOW}))
WHERE id = :task_key AND (
  (status = 'pending' AND not_before <= {NOW} + :early_ms)
  OR (status = 'processing' AND (holder = :holder OR (
    rest_until <= {NOW} AND (lease_until <= {NOW} OR fence = :seen_fence))))
) AND {IN_TIME} AND {KNOWN_KIND} AND coalesce(starts_at <= {NOW}, 1)
RETURNING fence, step, attempts, stalls, rest_until - {NOW} AS rest_left, rate_waits, idle_runs, start_ms, {OPTIONS},
  kind, text_file, total, failed, merge_chars, calls_settled, calls_in_doubt, in_flight, doubted, input_tokens,
  output_tokens, cached_tokens, cost, cost_in_doubt, truncated, reasks, rejected, repaired, quotes_not_found,
  announced_at, {_CAPPED} AS capped, deadline_at - {NOW} AS deadline_left,
  max(0, {NOW} - away_since) AS away_ms, away_waits, {RESUMED} AS resumed, last_error, pace_ms,
  {shared("tenant || ':' || coalesce(model, :model)")} AS shared """)

# If `wake_at`, when the sweep checks the task, is later than the end of the new lease, moves it to the end of the
# lease. Usually `wake_at` is not later, and then no row is written.
CLAIM_WAKE = statement("""
UPDATE tasks SET wake_at = lease_until
WHERE id = :task_key AND holder = :holder AND status = 'processing' AND wake_at > lease_until
""")

# Says why a claim was not granted. `own_fence` is that of an earlier instance of the asking host, if it holds the task.
STANDING = statement(f"""
SELECT status, lease_until - {NOW} AS lease_left, rest_until - {NOW} AS rest_left, not_before - {NOW} AS wait_left,
  {OVERDUE} AS overdue, {KNOWN_KIND} AS known_kind,
  CASE WHEN host = :host AND :host <> '' THEN fence END AS own_fence
FROM tasks WHERE id = :task_key
""")

# --- Work under the claim --------------------------------------------------------------------------------
# Each of the following statements names the claim, by its fence and name, so a worker whose task was taken over,
# cancelled or erased changes nothing. Each also names its step, the number of the write, which rises with each write. A
# write that is sent again finds its own step in the task's row, and has the same effect again. A write that was given
# up and arrives late finds a later step there, and changes nothing.

_UNDER_CLAIM = f"id = :task_key AND {UNDER_CLAIM} AND step <= :step"
_KEEPS = f"{_UNDER_CLAIM} AND status IN ('processing', 'cancelled', 'failed')"
_MINE = f"EXISTS (SELECT 1 FROM tasks WHERE {_KEEPS})"


# Adds a piece with outputs to the last segment of the outputs' level. A new segment begins if the last segment has
# `:segment_bytes`, or contains copied outputs, which have fence 0. A write that is sent again, or that arrives after a
# later write, finds its own piece or a later piece in the segment, and adds nothing. The outputs of a task's last
# worker are recorded even if the task was cancelled or passed its deadline in the meantime, because these outputs are
# paid for. `:places`, `:sizes` and `:body` come from a `Piece` of `segments`.
_IS_FULL = "length(body) >= :segment_bytes OR fence = 0"
RECORD_OUTPUTS = recording_outputs(_MINE, _IS_FULL)

# RECORD_PIECES records several pieces with one statement, because an invocation on the free plan has few statements,
# and each large output is a piece. So a write never needs more statements than its run has kept for it.
RECORD_PIECES = recording_pieces(_MINE, _IS_FULL)

# With `:segment_chars`, a segment also takes no more outputs once it has become an object in the bucket, or once its
# outputs have so many characters, because a worker holds all outputs of a segment in memory when it makes an object of
# them. To add up `sizes`, SQLite reads a row for each output, at each write. So it adds them up only if the number of
# outputs and the digits of the longest one allow so many characters. An output has at most seven digits. Other tasks
# have statements without this, which saves a seventh of the bytes of their writes.
_CHARS_MOST = """(length(sizes) - length(replace(sizes, ',', '')) + 1) * CASE
        WHEN sizes GLOB '*[0-9][0-9][0-9][0-9][0-9]*' THEN 10000000
        WHEN sizes GLOB '*[0-9][0-9][0-9][0-9]*' THEN 10000 ELSE 1000 END"""
_IS_FULL_BY_CHARS = f"""CASE WHEN {_IS_FULL} OR object IS NOT NULL THEN 1
      WHEN {_CHARS_MOST} < :segment_chars THEN 0
      ELSE (SELECT sum(value) FROM json_each('[' || sizes || ']')) >= :segment_chars END"""
RECORD_OUTPUTS_BY_CHARS = recording_outputs(_MINE, _IS_FULL_BY_CHARS)
RECORD_PIECES_BY_CHARS = recording_pieces(_MINE, _IS_FULL_BY_CHARS)

# Records how many outputs were cut off, in the transaction that records these outputs. If the task has ended in the
# meantime, the transaction still records its outputs, but not the other totals of the worker. For an ended task,
# RECORD_CUT alone records how many outputs were cut off. `:truncated` is the count since the start of the task. Of an
# ended task, a copy of a write may arrive after the write that settled the bill, and both have the same step. Under one
# claim the count never falls, so the greater count is the later one.
RECORD_CUT = statement(f"UPDATE tasks SET truncated = max(truncated, :truncated) WHERE {_KEEPS}")

# Records failed calls. For the output of each call it also records the counts of calls, which the worker knows.
# `:failures` is a JSON list of [level, idx, attempts, calls, final, code, message, retryable, counted, rests_until,
# held, log, rung, gap_chars, refusal]. `log` is a list with one entry for the log of calls, or null for a failure that
# is already recorded. `rung` is a JSON object with the rejected answers, `gap_chars` the length of a chunk that may
# fail without ending the task, and `refusal` a JSON object with the answer of a provider that refused the call for
# good. Each of the three may be null.
RECORD_FAILURES = statement(f"""
INSERT INTO failures (task_id, {", ".join(_FAILURE)})
SELECT :task_key, {", ".join(f"value ->> {place}" for place, _ in enumerate(_FAILURE))}
FROM json_each(:failures) WHERE {_MINE}
ON CONFLICT DO UPDATE SET
  {", ".join(f"{name} = excluded.{name}" for name in _FAILURE[2:] if name != "log")}, log = {_LOGGED}
""")

# Records the counters of a task with rejected answers or gaps, and the share of its text that has outputs. Like
# RECORD_CUT, RECORD_ANSWER_COUNTS takes effect even if the task has ended in the meantime, and keeps the later of two
# values: under one claim no counter falls, and the share never rises. The share is NULL without a gap.
RECORD_ANSWER_COUNTS = statement(f"""
UPDATE tasks SET reasks = max(reasks, :reasks), rejected = max(rejected, :rejected),
  repaired = max(repaired, :repaired), quotes_not_found = max(quotes_not_found, :quotes_not_found),
  coverage = min(coalesce(coverage, :coverage), coalesce(:coverage, coverage))
WHERE {_KEEPS}
""")

# Records a level's plan, a JSON list, with the announcement of its first calls. An existing plan stays.
RECORD_MERGE = statement(f"""
INSERT INTO merges (task_id, level, ends) SELECT :task_key, :level, :ends WHERE {_MINE}
ON CONFLICT DO NOTHING
""")

# Assigns the worker's totals. They count from the start of the task, so a second send adds nothing. `:finished` says
# that a call of this claim has finished, so that the claim does not count as a stall. `:in_flight` is a JSON list of
# [level, idx], and `:last_error` a JSON object. Some parameters may be NULL: `:away_since` while the model is not away,
# `:last_error` without an error, `:wait_reason` and `:wait_until` while the run waits for nothing, and `:pace_ms` until
# a call has finished. `:doubted` has the calls in doubt that the claim found, and the calls that the worker has given
# up; with NULL, the row's value stays. `:cost` is NULL until a call had a price, and `:wave_step` unless calls are
# announced.
_TOTALS = """step = :step, wave_step = coalesce(:wave_step, wave_step),
  calls_settled = :calls_settled, in_flight = :in_flight, doubted = coalesce(:doubted, doubted),
  completed = :completed, failed = :failed, input_tokens = :input_tokens, output_tokens = :output_tokens,
  calls_minimum = :calls_minimum, stalls = :stalls, rate_waits = :rate_waits, calls_in_doubt = :calls_in_doubt,
  idle_runs = :idle_runs, away_since = :away_since, away_waits = :away_waits, last_error = :last_error,
  cached_tokens = :cached_tokens, cost = :cost, cost_in_doubt = :cost_in_doubt, cost_out = :cost_out,
  wait_reason = :wait_reason, waits_for = :waits_for, wait_until = :wait_until,
  asked_until = :asked_until, pace_ms = :pace_ms, truncated = :truncated,
  stalled_since = CASE WHEN :finished THEN NULL ELSE stalled_since END,
  rest_until = CASE WHEN :finished THEN 0 ELSE rest_until END"""

# Records the work so far, announces the next calls (`:in_flight`) and renews the lease. The announced calls must start
# within `:start_ms`; later they may not start. If PROGRESS gives no row, the claim is lost, or the deadline has passed.
# PROGRESS returns the latest calls that other isolates wrote, if a call has failed within the last `:shared_ms`.
# `:shared_id` names the tenant and the model of the latest calls.
PROGRESS = statement(f"""
UPDATE tasks SET {_TOTALS}, lease_until = {NOW} + :lease_ms, {ANNOUNCED}
WHERE {_UNDER_CLAIM} AND status = 'processing' AND {IN_TIME}
RETURNING fence, {shared(":shared_id")} AS shared
""")

# Checks that the database has twice `:half` bytes of free space, and fails otherwise. The task's row grows by 2 *
# `:half` bytes, and PROGRESS, which follows in the same transaction, makes the row small again. The space that was
# found stays reserved in the database's file.
FIND_ROOM = statement(f"""
UPDATE tasks SET in_flight = '["' || hex(zeroblob(:half)) || '"]'
WHERE {_UNDER_CLAIM} AND status = 'processing' AND {IN_TIME}
""")

# Says for how many ms from now a lane may start calls that its task's worker has announced: for `start_ms`, or until
# the deadline if that is earlier. Without a row, the claim is over, which is all that a worker asks. A lane knows only
# the fence of its worker's claim, and so gives NULL as `:holder`.
MAY_START = statement(f"""
SELECT min(start_ms, coalesce(deadline_at - {NOW}, start_ms)) AS left_ms FROM tasks
WHERE id = :task_key AND fence = :fence AND holder = coalesce(:holder, holder) AND status = 'processing'
""")

# --- The claim's end -------------------------------------------------------------------------------------

# Releases a task, so that it may be claimed again after `:delay_ms`. The sweep checks it after `:sweep_ms`. A second
# send recognizes the released task by the claim's fence, and releases it again.
RELEASE = statement(f"""
UPDATE tasks SET {_TOTALS}, status = 'pending', {UNHELD},
  not_before = {NOW} + :delay_ms, wake_at = {wake(f"{NOW} + :sweep_ms")}
WHERE {_UNDER_CLAIM} AND status IN ('processing', 'pending')
RETURNING fence
""")

# Releases a task without recording the work since the last write, because the database has no space for a record. The
# task's row does not grow, because the new `wait_reason` is shorter than the claim's name, which is removed from the
# row. The announced calls stay announced, and the next claim records them as in doubt.
STAND_DOWN = statement(f"""
UPDATE tasks SET step = :step, status = 'pending', {UNHELD}, holder = NULL,
  wait_reason = 'database', waits_for = NULL, wait_until = NULL, not_before = {NOW} + :delay_ms,
  wake_at = {wake(f"{NOW} + :sweep_ms")}
WHERE {_UNDER_CLAIM} AND status = 'processing'
RETURNING fence
""")

# Completes a task. Each chunk of the task must have an output or, with `:may_lack`, have failed without ending the
# task. At least one chunk must have an output, unless `:may_be_empty`. With a merge, its top level `:top_level` must
# also have an output; without a merge, `:top_level` is 0. A task whose deadline has passed is not completed. The first
# line of the task's text stays in the task's row only with `:keeps_first_line`.
_OR_FAILED = "SELECT idx FROM failures WHERE task_id = :task_key AND level = 0 AND final = 1 AND gap_chars >= 0"
FINISH = statement(f"""
UPDATE tasks SET {_TOTALS}, status = 'completed', first_line = iif(:keeps_first_line, first_line, NULL), {ENDED}
WHERE {_UNDER_CLAIM} AND (status = 'completed' OR (status = 'processing' AND {IN_TIME}))
  AND total >= 1 AND total = CASE :may_lack WHEN 0 THEN (SELECT count(*) FROM ({done("0")}))
    ELSE (SELECT count(*) FROM ({done("0")} UNION {_OR_FAILED})) END
  AND (:may_be_empty OR EXISTS (SELECT 1 FROM segments WHERE task_id = :task_key AND level = 0))
  AND (:top_level = 0 OR 0 IN ({done(":top_level")}))
RETURNING fence
""")

# Erases the input of a task that the present claim has completed. The row in `texts` is not deleted, because reads of
# chunks need its offsets, and the task's erasure needs its submission. Goes after FINISH.
EMPTY_INPUT = statement(f"""
UPDATE texts SET input = '', headings = NULL WHERE task_id = :task_key
  AND EXISTS (SELECT 1 FROM tasks WHERE id = :task_key AND {UNDER_CLAIM} AND status = 'completed')
""")

# Fails a task with the given error code and message.
FAIL = statement(f"""
UPDATE tasks SET {_TOTALS}, {failed()}
WHERE {_UNDER_CLAIM} AND (status = 'processing' OR (status = 'failed' AND error_code = :code))
RETURNING fence
""")

# Settles the bill of a worker whose task was cancelled or has passed its deadline. If the task has not ended, because
# its deadline has not passed by the database's clock, its totals are recorded in the transaction with the outputs.
SETTLE = statement(f"""
UPDATE tasks SET {_TOTALS}
WHERE {_UNDER_CLAIM} AND (status IN ('cancelled', 'processing') OR error_code = '{DEADLINE_EXCEEDED}')
RETURNING status
""")
