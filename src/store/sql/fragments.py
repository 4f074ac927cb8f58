"""Pieces of SQL that several statements share, so that each rule is written once."""

from ..d1.statement import Statement, statement
from ..records import options

# The database's clock, in milliseconds since the epoch. This clock alone decides about leases and deadlines: an
# isolate's clock may stand still, differ or jump.
NOW = "CAST(unixepoch('subsec') * 1000 AS INTEGER)"

# The columns of `tasks` for the client's options, and the parameters from which an INSERT fills them.
OPTIONS = ", ".join(options.NAMES)
OPTION_PARAMETERS = ", ".join(f":{name}" for name in options.NAMES)

# --- Conditions on a row of `tasks` ----------------------------------------------------------------------

LISTED = "id IN (SELECT value FROM json_each(:task_keys))"
IN_TIME = f"coalesce(deadline_at > {NOW}, 1)"
OVERDUE = f"coalesce(deadline_at <= {NOW}, 0)"
LIVE = f"coalesce(lease_until > {NOW}, 0)"
# The time from which another worker may take over a task in work: its lease is over, and so is the rest after workers
# died on it.
FREE_AT = "max(lease_until, rest_until)"
# The task's worker has lost it, and no other worker has it.
ABANDONED = f"status = 'processing' AND {FREE_AT} <= {NOW}"
# How many claims in a row have ended without a finished call, if the current claim has ended too.
STALLS = "(stalls + (stalled_since IS NOT NULL))"
# No worker has the task, and one may claim it.
UNATTENDED = f"((status = 'pending' AND not_before <= {NOW}) OR ({ABANDONED}))"
# By when a worker should have claimed the task.
_AWAITED_AT = f"max(wake_at, coalesce({FREE_AT}, 0))"
# The task has been due for `:late_ms`, or it was dispatched again that long ago and not claimed. In addition, the task
# was not dispatched again within that time.
LATE = f"""({UNATTENDED} AND {IN_TIME} AND coalesce(sent_at, 0) <= {NOW} - :late_ms
  AND (dispatches > 0 OR {_AWAITED_AT} <= {NOW} - :late_ms))"""
# The task was dispatched again within `:apart_ms`, and has not been claimed since.
JUST_SENT = f"(dispatches > 0 AND coalesce(sent_at, 0) > {NOW} - :apart_ms)"
# A write belongs to the claim `:holder`, under `:fence`. The fence tells a task's claims apart. After the database was
# set back in time, a claim that the database has forgotten and a new one may have the same fence. If a worker stood
# down, its row names no claim.
UNDER_CLAIM = "fence = :fence AND coalesce(holder, :holder) = :holder"
# The task was dispatched again `:in_vain` times, the last time at least `:late_ms` ago, and was not claimed.
UNANSWERED = f"({UNATTENDED} AND dispatches >= :in_vain AND coalesce(sent_at, 0) <= {NOW} - :late_ms)"


def unended(most: str) -> str:
    """Count the unfinished tasks of `:tenant`, up to a parameter, as an expression. NULL counts none.

    The expression reads as many index entries as it counts, however many tasks have ended.
    """
    return f"""(SELECT count(*) FROM (SELECT 1 FROM tasks WHERE tenant = :tenant AND finished_at IS NULL
    LIMIT coalesce({most}, 0)))"""


# --- Assignments of an UPDATE of `tasks` -----------------------------------------------------------------

# Announces calls: they start within `:start_ms` or not at all. Calls of an earlier announcement, perhaps of a worker
# that lost its claim, keep their window: the new window never closes before the old one.
ANNOUNCED = f"""announced_at = {NOW},
  start_ms = max(:start_ms, min(start_ms, coalesce(announced_at + start_ms - {NOW}, 0)))"""

# No worker has the task. The name of the last claim stays, for the writes that this claim must still make: see
# UNDER_CLAIM.
UNHELD = "host = NULL, lease_until = NULL"

# Assigns the end of a task. If the same write is sent again, the time of the first end stays. The sweep erases the task
# when its retention is over: `:retention_ms`, or the task's own if shorter. `wake_at` is exactly that long after the
# end. The end is later than all folded ends (see `sql.tallies`).
_ENDED_AT = f"""coalesce(finished_at, max(created_at, {NOW}, coalesce((SELECT max(until) + 1 FROM folds), 0)))"""
ENDED = f"""{UNHELD}, finished_at = {_ENDED_AT},
  wake_at = {_ENDED_AT} + min(:retention_ms, coalesce(retention_ms, :retention_ms))"""

# Announced calls that were not settled are in doubt: their outcome will never be known.
IN_DOUBT = "calls_in_doubt = calls_in_doubt + json_array_length(in_flight), in_flight = '[]'"


def failed(*, code: str = ":code", retryable: str = ":retryable") -> str:
    """Assign a failure: the task has ended, for this reason."""
    return f"""status = 'failed', {ENDED},
  error_code = {code}, error_message = :message, error_retryable = {retryable}"""


def wake(at: str, deadline_at: str = "deadline_at") -> str:
    """When the sweep must look at an unfinished task, as an expression: at this time, or at an earlier deadline."""
    return f"min({at}, coalesce({deadline_at}, {at}))"


# --- Outputs ---------------------------------------------------------------------------------------------


def done(level: str) -> str:
    """Give the index `idx` of each output of `:task_key` at a level once, without loading any text."""
    return f"""SELECT DISTINCT value AS idx FROM segments, json_each('[' || places || ']')
  WHERE task_id = :task_key AND level = {level}"""


def stored(level: str, *, first: str = "", last: str = "") -> str:
    """Give the segments of `:task_key` at a level, as `store.records.rows.outputs` reads them: a body is hexadecimal
    digits.

    With `first` and `last`, two parameters, give only the segments that have an output at these places. Such a segment
    may have other outputs, too.
    """
    wanted = f" AND EXISTS (SELECT 1 FROM json_each('[' || places || ']') WHERE value BETWEEN {first} AND {last})"
    return f"""SELECT part, hex(body) AS body FROM segments
  WHERE task_id = :task_key AND level = {level}{wanted if first else ""}"""


def sizes(level: str) -> str:
    """Give the sizes of the outputs of `:task_key` at a level, as `store.records.rows.sizes` reads them, without any
    text."""
    return f"SELECT part, places, sizes FROM segments WHERE task_id = :task_key AND level = {level}"


def readable(level: str) -> str:
    """Whether the outputs of `:task_key` at a level have no more than `:most_chars` code points together."""
    return f""":most_chars >= coalesce((
    SELECT sum(value) FROM segments, json_each('[' || sizes || ']') WHERE task_id = :task_key AND level = {level}
  ), 0)"""


# The gaps of `:task_key`, whose row is read: a JSON list of objects, NULL without one. A chunk that failed without
# ending the task is a gap as soon as another chunk has an output.
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
    """Delete everything of tasks except their own rows, which the same transaction deletes.

    `equals` is `=` and `keys` one key, or `IN` and several. The first statement reads the text that the last one
    deletes.
    """
    of_task = f"task_id {equals} {keys}"
    submission = f"id {equals} (SELECT submission FROM texts WHERE {of_task})"
    return (
        statement(f"DELETE FROM submissions WHERE {submission} AND {of_task} {condition}"),
        statement(f"DELETE FROM segments WHERE {of_task} {condition}"),
        statement(f"DELETE FROM merges WHERE {of_task} {condition}"),
        statement(f"DELETE FROM failures WHERE {of_task} {condition}"),
        statement(f"DELETE FROM webhook_deliveries WHERE state IN (0, 1, 2) AND {of_task} {condition}"),
        statement(f"DELETE FROM texts WHERE {of_task} {condition}"),
    )
