"""Pieces of SQL that several statements share, so that each rule is written only once."""

from ..domain.task import Kind
from . import options
from .d1 import Statement, statement

# The database's clock in SQL, in milliseconds since the epoch. Only the database's clock decides whether a lease or a
# deadline is over, because an isolate's clock may stand still, be wrong or jump.
NOW = "CAST(unixepoch('subsec') * 1000 AS INTEGER)"

# The columns of `tasks` for the client's options, and the parameters with which an INSERT fills these columns.
OPTIONS = ", ".join(options.NAMES)
OPTION_PARAMETERS = ", ".join(f":{name}" for name in options.NAMES)

# --- Conditions on a row of `tasks` ----------------------------------------------------------------------

# A condition: this code knows what the task's chunks are. For up to 300 s after a deployment, code of the release
# before runs beside newer code, whose tasks may be of a new kind. Code never works on a task of a kind that it does not
# know, and neither fails it nor tells webhooks about its end, which newer code does.
KNOWN_KIND = f"(kind IS NULL OR kind IN ({', '.join(f"'{kind}'" for kind in Kind)}))"
LISTED = "id IN (SELECT value FROM json_each(:task_keys))"
IN_TIME = f"coalesce(deadline_at > {NOW}, 1)"
OVERDUE = f"coalesce(deadline_at <= {NOW}, 0)"
LIVE = f"coalesce(lease_until > {NOW}, 0)"
# From when another worker may take a task over: its lease is over, and the rest after a worker's death.
FREE_AT = "max(lease_until, rest_until)"
# A condition: the task's worker has lost the task, and no other worker has it.
ABANDONED = f"status = 'processing' AND {FREE_AT} <= {NOW}"
# How many claims of the task in a row have ended without a finished call, if the current claim also ends without one.
STALLS = "(stalls + (stalled_since IS NOT NULL))"
# A condition: no worker has the task, and a worker may claim it now.
UNATTENDED = f"((status = 'pending' AND not_before <= {NOW}) OR ({ABANDONED}))"
# The time by which a worker should have claimed the task.
_AWAITED_AT = f"max(wake_at, coalesce({FREE_AT}, 0))"
# A condition: the task has been due for at least `:late_ms`, or it was dispatched again at least that long ago and has
# not been claimed. LATE also requires that the task was not dispatched within the last `:late_ms`.
LATE = f"""({UNATTENDED} AND {IN_TIME} AND coalesce(sent_at, 0) <= {NOW} - :late_ms
  AND (dispatches > 0 OR {_AWAITED_AT} <= {NOW} - :late_ms))"""
# A condition: the task was dispatched again within the last `:apart_ms`, and no worker has claimed it since.
JUST_SENT = f"(dispatches > 0 AND coalesce(sent_at, 0) > {NOW} - :apart_ms)"
# A condition: the write belongs to the current claim of the task, which has `:fence` and the name `:holder`. The name
# is needed because after a restore of the database a claim that the database has forgotten and a new claim may have the
# same fence. After STAND_DOWN, the row of a task has no name of a claim.
UNDER_CLAIM = "fence = :fence AND coalesce(holder, :holder) = :holder"
# A condition: the task was sent again `:in_vain` times, last `:late_ms` ago or earlier, and not claimed.
UNANSWERED = f"({UNATTENDED} AND dispatches >= :in_vain AND coalesce(sent_at, 0) <= {NOW} - :late_ms)"
# A condition: the task has ended, and no call of it can record an output any more. `:claim_ms` is the longest time from
# the announcement of a call to its record.
IS_QUIET = f"""finished_at IS NOT NULL
  AND (in_flight = '[]' OR coalesce(announced_at, 0) + :claim_ms <= {NOW})"""
# A condition: the text of the task is in the database, or in a file that clients can still read.
HAS_TEXT = f"""(text_file IS NULL OR EXISTS (SELECT 1 FROM files WHERE files.id = text_file AND state = 'ready'
  AND coalesce(expires_at > {NOW}, 1)))"""


def unended(most: str) -> str:
    """Return an expression that counts `:tenant`'s unfinished tasks, and reads no others, up to `most`."""
    return f"""(SELECT count(*) FROM (SELECT 1 FROM tasks WHERE tenant = :tenant AND finished_at IS NULL
    LIMIT coalesce({most}, 0)))"""


# The time from which a task's worker may start calls. The deadline counts from it.
STARTS_AT = f"max({NOW}, coalesce(starts_at, 0))"
NEW_STARTS_AT = f"max({NOW}, coalesce(:starts_at, 0))"
# How many unfinished tasks of `:tenant` are to start later. They do not wait for a worker.
SCHEDULED = f"""(SELECT count(*) FROM tasks
    WHERE tenant = :tenant AND starts_at > {NOW} AND finished_at IS NULL)"""


def next_look(starts_at: str) -> str:
    """Return an expression for when the sweep must check a task that was just sent, or is to start later."""
    return f"iif({starts_at} > {NOW}, {starts_at}, {NOW} + :unclaimed_ms)"


# --- Assignments of an UPDATE of `tasks` -----------------------------------------------------------------

# Announces model calls, which must start within `:start_ms`; later they may not start. Calls that were announced
# earlier, perhaps by a worker that lost its claim, may still start, so the new time limit for starting is never earlier
# than the old one.
ANNOUNCED = f"""announced_at = {NOW},
  start_ms = max(:start_ms, min(start_ms, coalesce(announced_at + start_ms - {NOW}, 0)))"""

# An assignment to a task's row with which no worker has the task any more. The name of the last claim stays in the row,
# for the writes that the claim's worker must still make: see UNDER_CLAIM.
UNHELD = "host = NULL, lease_until = NULL"

# Assigns the end of a task: the time of the end, and that no worker has the task. If the write that ends a task is sent
# again, the recorded time of the end does not change. The sweep erases the task when its retention is over; the
# retention is `:retention_ms`, or the task's own retention if that is shorter. An ended task's `wake_at` is the time of
# its end plus its retention. The time of a task's end is later than the ends of all tasks that a fold has added to the
# sums (see `sql.tallies`).
_ENDED_AT = f"""coalesce(finished_at, max(created_at, {NOW}, coalesce((SELECT max(until) + 1 FROM folds), 0)))"""
ENDED = f"""{UNHELD}, finished_at = {_ENDED_AT},
  wake_at = {_ENDED_AT} + min(:retention_ms, coalesce(retention_ms, :retention_ms))"""

# Counts the announced calls without a recorded end as calls in doubt, whose outcome will never be known.
IN_DOUBT = """calls_in_doubt = calls_in_doubt + json_array_length(in_flight), in_flight = '[]',
  cost_in_doubt = cost_in_doubt + cost_out, cost_out = 0"""


def failed(*, code: str = ":code", retryable: str = ":retryable") -> str:
    """Return the assignments with which an UPDATE ends a task as failed, with the reason for the failure."""
    return f"""status = 'failed', {ENDED},
  error_code = {code}, error_message = :message, error_retryable = {retryable}"""


def wake(at: str, deadline_at: str = "deadline_at") -> str:
    """Return an expression for when the sweep must check an unfinished task: at `at`, or at its deadline if earlier."""
    return f"min({at}, coalesce({deadline_at}, {at}))"


# --- Outputs ---------------------------------------------------------------------------------------------


def done(level: str) -> str:
    """Return a query for the positions `idx` of the outputs of `:task_key` at a level; the query reads no texts."""
    return f"""SELECT DISTINCT value AS idx FROM segments, json_each('[' || places || ']')
  WHERE task_id = :task_key AND level = {level}"""


def stored(level: str, *, first: str = "", last: str = "") -> str:
    """Return a query for the segments of `:task_key` at a level, in the form that `rows.outputs` reads.

    The query gives the bodies of the segments as hexadecimal digits.

    With `first` and `last`, the names of two parameters, the query gives only segments that have an output at a
    position from `first` to `last`. The segments that the query gives may also contain other outputs.
    """
    wanted = f" AND EXISTS (SELECT 1 FROM json_each('[' || places || ']') WHERE value BETWEEN {first} AND {last})"
    return f"""SELECT part, hex(body) AS body FROM segments
  WHERE task_id = :task_key AND level = {level}{wanted if first else ""}"""


def sizes(level: str) -> str:
    """Return a query for the lengths of `:task_key`'s outputs at a level, as `rows.sizes` reads them."""
    return f"SELECT part, places, sizes FROM segments WHERE task_id = :task_key AND level = {level}"


def readable(level: str, most_chars: str = ":most_chars") -> str:
    """Return a condition: the outputs of `:task_key` at a level have at most `most_chars` code points together."""
    return f"""{most_chars} >= coalesce((
    SELECT sum(value) FROM segments, json_each('[' || sizes || ']') WHERE task_id = :task_key AND level = {level}
  ), 0)"""


# The gaps of the task `:task_key`, whose row is read, as a JSON list of objects, or NULL if the task leaves no gaps. A
# chunk that failed without ending the task is a gap as soon as another chunk has an output.
GAPS = f"""CASE WHEN structured ->> 'gaps' AND failed > 0 AND completed > 0 THEN (
    SELECT json_group_array(json_object(
      'idx', idx, 'start', start, 'cut', cut, 'code', code, 'reason', rung ->> 'reason'
    )) FROM (
      SELECT key AS place, value AS cut, lag(value, 1, 0) OVER (ORDER BY key) AS start
      FROM texts, json_each(cuts) WHERE task_id = :task_key
    ) CROSS JOIN failures ON task_id = :task_key AND level = 0 AND idx = place
    WHERE final = 1 AND gap_chars >= 0 AND idx NOT IN ({done("0")})
  ) END AS gaps"""


# --- Whole statements ------------------------------------------------------------------------------------


def delete_parts(equals: str, keys: str, condition: str = "") -> tuple[Statement, ...]:
    """Return the statements that delete all parts of tasks, but not the tasks' own rows.

    The same transaction must delete the tasks' own rows. `equals` is `=` if `keys` is a single key, or `IN` if `keys`
    has several keys. The first statement deletes the tasks' submissions. To find them, it reads the texts that the last
    statement deletes. The rows of a batch are deleted together with the row of its task. The output files of the tasks
    expire: clients no longer see them, unless a batch still reads them, and the sweep erases them.
    """
    of_task = f"task_id {equals} {keys}"
    submission = f"id {equals} (SELECT submission FROM texts WHERE {of_task})"
    return (
        statement(f"DELETE FROM submissions WHERE {submission} AND {of_task} {condition}"),
        statement(f"""
UPDATE files SET state = iif(state = 'growing', 'ready', state), owner = NULL, expires_at = {NOW}, due_at = {NOW}
WHERE owner {equals} {keys} {condition}"""),
        statement(f"DELETE FROM segments WHERE {of_task} {condition}"),
        statement(f"DELETE FROM merges WHERE {of_task} {condition}"),
        statement(f"DELETE FROM failures WHERE {of_task} {condition}"),
        statement(f"DELETE FROM webhook_deliveries WHERE state IN (0, 1, 2) AND {of_task} {condition}"),
        statement(f"DELETE FROM texts WHERE {of_task} {condition}"),
    )
