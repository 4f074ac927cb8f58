"""The SQL that accepts a new or retried task, if its tenant's limits allow it.

Each submission of a task is one transaction. The transaction accepts the task, or finds that it was accepted before, or
refuses it. The condition `_FRESH` tells the first run of a submission's transaction from a repetition of the
transaction.
"""

from collections.abc import Sequence

from ...core.task import BUDGET_EXHAUSTED
from ..d1.statement import Statement, statement
from .fragments import COVERAGE, HAS_TEXT, IN_DOUBT, NOW, OPTION_PARAMETERS, OPTIONS, delete_parts, unended, wake
from .tallies import COUNTED, count_erased, count_retried

# --- With an Idempotency-Key -----------------------------------------------------------------------------
# `:submission` is the tenant, a colon and the client's Idempotency-Key. `:digest` identifies the content of the
# request.

# Takes an Idempotency-Key for a task, if the key is free or has expired. If two requests with one Idempotency-Key come
# at once, the first gets the key. Goes before INSERT_TASK.
TAKE_KEY = statement(f"""
INSERT INTO submissions (id, task_id, digest, expires_at) VALUES (:submission, :task_key, :digest, {NOW} + :valid_ms)
ON CONFLICT DO UPDATE SET task_id = excluded.task_id, digest = excluded.digest, expires_at = excluded.expires_at,
  replayed = 0
WHERE expires_at <= {NOW} AND task_id <> excluded.task_id
""")

# Records that a repeated request is about to be answered with the task of its Idempotency-Key, so that this task is not
# withdrawn. `:task_key` is the task that the repeated request would have made if it were not a repetition.
NOTE_REPLAY = statement("""
UPDATE submissions SET replayed = 1
WHERE id = :submission AND task_id <> :task_key AND digest = :digest AND replayed = 0
""")

# Frees an Idempotency-Key again if the task that took it was refused.
GIVE_KEY_BACK = statement("""
DELETE FROM submissions WHERE id = :submission AND task_id = :task_key
  AND NOT EXISTS (SELECT 1 FROM tasks WHERE id = :task_key)
""")

# Reads which task has an Idempotency-Key.
KEY_HOLDER = statement("SELECT task_id, digest FROM submissions WHERE id = :submission")

# Reads which task has an Idempotency-Key, unless that key has expired. An expired key must not count for this read,
# because the read runs without TAKE_KEY, which replaces expired keys.
VALID_KEY_HOLDER = statement(f"""
SELECT task_id, digest FROM submissions WHERE id = :submission AND expires_at > {NOW}
""")

# --- The new task ----------------------------------------------------------------------------------------

_TODAY = f"({NOW} / 86400000)"
_DEADLINE_AT = f"{NOW} + :deadline_ms"


# Writes a pending task, unless another request has its Idempotency-Key or a limit of its tenant is reached. If
# INSERT_TASK is sent twice, the second send changes nothing, because the caller chose the task's key. If the write
# arrives after the task was erased or withdrawn, the task's tombstone stops it. If no worker claims the task within
# `:unclaimed_ms`, the sweep dispatches it again. `:model` and `:first_line` may be NULL. `:deadline_ms` and
# `:max_calls` are NULL for a task without a deadline or budget, `:submission` is NULL without an Idempotency-Key, and
# `:tasks_most` (in flight) and `:characters_most` (a day) are NULL without such limits.
def insert_task(kind: str = "NULL", condition: str = "1", also: Sequence[str] = ()) -> Statement:
    """Make the statement that writes a new task of a `kind`, if also the `condition` holds. Both are SQL.

    `also` are further columns, with parameters of the same names.
    """
    columns = "".join(f", {name}" for name in ("kind", *also)) if kind != "NULL" else ""
    values = "".join(f", {value}" for value in (kind, *(f":{name}" for name in also))) if kind != "NULL" else ""
    return statement(f"""
INSERT INTO tasks (id, status, route, {OPTIONS}, total, merge_chars, calls_minimum, created_at, first_line,
  deadline_at, wake_at{columns})
SELECT :task_key, 'pending', :route, {OPTION_PARAMETERS}, :total, :merge_chars, :calls_minimum, :created_at,
  :first_line, {_DEADLINE_AT}, {wake(f"{NOW} + :unclaimed_ms", _DEADLINE_AT)}{values}
WHERE (:submission IS NULL OR EXISTS (SELECT 1 FROM submissions WHERE id = :submission AND task_id = :task_key))
  AND (:tasks_most IS NULL OR {unended(":tasks_most")} < :tasks_most)
  AND (:characters_most IS NULL OR :characters_most >=
    :characters + coalesce((SELECT characters FROM daily_use WHERE tenant = :tenant AND day = {_TODAY}), 0))
  AND NOT EXISTS (SELECT 1 FROM tombstones WHERE id = :task_key) AND {condition}
ON CONFLICT DO NOTHING
""")


INSERT_TASK = insert_task()

# A condition: the task's row was written just now, and its text has not been written yet.
_FRESH = """EXISTS (SELECT 1 FROM tasks WHERE id = :task_key)
  AND NOT EXISTS (SELECT 1 FROM texts WHERE task_id = :task_key)"""

# Adds the characters of a new task, once, to those that its tenant has used today. Goes before INSERT_TEXT.
COUNT_CHARACTERS = statement(f"""
INSERT INTO daily_use (tenant, day, characters) SELECT :tenant, {_TODAY}, :characters WHERE {_FRESH}
ON CONFLICT DO UPDATE SET day = excluded.day,
  characters = excluded.characters + CASE day WHEN excluded.day THEN characters ELSE 0 END
""")


def _insert_text(*more: str) -> Statement:
    """Write the text of a new task. `more` are the columns of `texts` that only structured tasks have."""
    columns, values = ("".join(f", {mark}{name}" for name in more) for mark in ("", ":"))
    return statement(f"""
INSERT INTO texts (task_id, input, instructions, cuts, overlap, submission{columns})
SELECT :task_key, :input, :instructions, :cuts, :overlap, :submission{values}
WHERE EXISTS (SELECT 1 FROM tasks WHERE id = :task_key)
ON CONFLICT DO NOTHING
""")


# Writes the text of a new plain task. `:submission` is NULL without an Idempotency-Key.
INSERT_TEXT = _insert_text()

# Writes the text of a new structured task. `:output_schema` and `:join_rules` are JSON objects, or NULL.
INSERT_STRUCTURED_TEXT = _insert_text("output_schema", "join_rules")

# Says whether a task exists, in which status, and how many tasks of its tenant are unfinished, counted up to
# `:counted_most`.
OUTCOME = statement(f"""
SELECT EXISTS (SELECT 1 FROM tasks WHERE id = :task_key) AS accepted,
  (SELECT status FROM tasks WHERE id = :task_key) AS status, {unended(":counted_most")} AS unended
""")

# --- The new task taken back -----------------------------------------------------------------------------

# A condition: a repeated request has been answered with this task.
_SHARED = """EXISTS (SELECT 1 FROM submissions JOIN texts ON submissions.id = texts.submission
  WHERE texts.task_id = :task_key AND submissions.task_id = :task_key AND replayed = 1)"""

# Subtracts the characters of a task that is about to be withdrawn from those that its tenant has used today. Goes
# before WITHDRAW.
UNCOUNT_CHARACTERS = statement(f"""
UPDATE daily_use SET characters = max(0, characters - :characters) WHERE tenant = :tenant AND day = {_TODAY}
  AND EXISTS (SELECT 1 FROM tasks WHERE id = :task_key) AND NOT {_SHARED}
""")

# Withdraws a task, because the answer says that nothing was accepted. WITHDRAW does not withdraw a task with which a
# repeated request was answered. A tombstone of the withdrawn task is written first and stays for `:tombstone_ms`,
# because the submission may still arrive after the withdrawal.
BURY_WITHDRAWN = statement(f"""
INSERT INTO tombstones (id, until) SELECT :task_key, {NOW} + :tombstone_ms WHERE NOT {_SHARED}
ON CONFLICT DO NOTHING
""")
# Adds a task that is about to be withdrawn to the sums over ended tasks, if a worker has already claimed it. Goes
# before WITHDRAW.
WITHDRAW_COUNT = count_erased(f"id = :task_key AND started_at IS NOT NULL AND NOT {_SHARED}")
WITHDRAW = statement(f"DELETE FROM tasks WHERE id = :task_key AND NOT {_SHARED}")

# Deletes the parts of a withdrawn task, if the task's row is gone.
WITHDRAW_PARTS = delete_parts("=", ":task_key", "AND NOT EXISTS (SELECT 1 FROM tasks WHERE id = :task_key)")

# --- A retried task --------------------------------------------------------------------------------------

# SPENT counts all model calls of an ended task, and LEFT the least number of calls that the task still needs.
SPENT = "(calls_settled + calls_in_doubt + json_array_length(in_flight))"
LEFT = "(total - completed + (reduce = 'merge' AND total > 1))"

# A condition: the task has failed or was cancelled, and its tenant's limit allows one more task in flight.
# `:tasks_most` is NULL if the tenant has no limit of tasks in flight. `:max_calls` is a new budget, or NULL to keep the
# old one. If the task's budget ran out, the new budget must be larger than the old one. A batch is not retried, because
# its files are complete, and neither is a task whose text was in a file that is gone.
_RETRYABLE = f"""generation = :generation AND status IN ('failed', 'cancelled') AND kind IS NOT 'batch' AND {HAS_TEXT}
  AND (:max_calls IS NULL OR :max_calls >= {SPENT} + {LEFT})
  AND (error_code IS NOT '{BUDGET_EXHAUSTED}' OR coalesce(:max_calls > max_calls, 0))
  AND (:tasks_most IS NULL OR {unended(":tasks_most")} < :tasks_most)"""

# Adds the end of a task that is retried to the sums over ended tasks, unless that was done before. Goes before RETRY.
RETRY_COUNT = statement(count_retried(f"id = :task_key AND {_RETRYABLE}"))

# Sets the counts of all failed calls to 0, even of calls that failed for good, so that their outputs get all their
# attempts again. SET_BACK keeps the logs of the failed calls.
SET_BACK = (
    "attempts = 0, counted = 0, calls = 0, final = 0, rests_until = NULL, held = NULL, rung = NULL, gap_chars = NULL"
)

# A gap stays open once merges are planned, because the merges that were already paid for were made without it.
# Otherwise gaps open again.
OPENS_AGAIN = """(level > 0 OR gap_chars IS NULL OR final = 0
  OR NOT EXISTS (SELECT 1 FROM merges WHERE merges.task_id = failures.task_id))"""

# Sets the counts of a retried task's failed calls to 0. Goes before RETRY.
RETRY_FAILURES = statement(f"""
UPDATE failures SET {SET_BACK} WHERE task_id = :task_key AND {OPENS_AGAIN}
  AND EXISTS (SELECT 1 FROM tasks WHERE id = :task_key AND {_RETRYABLE})
""")

# The assignments with which an UPDATE retries a task. The task becomes pending and counts as just dispatched, as after
# a submission: the sweep dispatches it again if no worker claims it within `:unclaimed_ms`. After the other statements
# of a retry, only gaps that stay open count as failed for good.
_GAPS_LEFT = "(SELECT count(*) FROM failures WHERE task_id = tasks.id AND level = 0 AND final = 1)"
PUT_BACK = f"""status = 'pending', fence = fence + 1, generation = generation + 1, counted = {COUNTED},
  attempts = attempts + (started_at IS NOT NULL), {IN_DOUBT},
  failed = iif(structured IS NULL, 0, {_GAPS_LEFT}),
  coverage = {COVERAGE},
  stalls = 0, stalled_since = NULL, rate_waits = 0, idle_runs = 0,
  away_since = NULL, away_waits = 0, last_error = NULL, wait_reason = NULL, wait_until = NULL, dispatches = 0,
  sent_at = {NOW}, not_before = 0,
  finished_at = NULL, error_code = NULL, error_message = NULL, error_retryable = NULL,
  deadline_at = {NOW} + deadline_ms, wake_at = {wake(f"{NOW} + :unclaimed_ms", f"{NOW} + deadline_ms")}"""

# Retries a failed or cancelled task. The outputs of finished chunks stay, and the deadline begins anew. The task's
# fence rises, so that the database refuses writes of an earlier worker. The task's generation rises too. RETRY names
# the generation that was read before. A retry that arrives late, after the task has ended again, therefore changes
# nothing.
RETRY = statement(f"""
UPDATE tasks SET {PUT_BACK}, max_calls = coalesce(:max_calls, max_calls)
WHERE id = :task_key AND {_RETRYABLE}
RETURNING status
""")
