"""Pieces of SQL that several statements share, so that each rule stands once."""

from .. import options
from .statement import Statement, statement

# The database's clock, in milliseconds since the epoch. Leases and deadlines are judged by it alone: an isolate's clock
# may stand still, differ or jump.
NOW = "CAST(unixepoch('subsec') * 1000 AS INTEGER)"

# The columns of `tasks` that hold what a client asked for, and the parameters from which an INSERT fills them.
OPTIONS = ", ".join(options.NAMES)
OPTION_PARAMETERS = ", ".join(f":{name}" for name in options.NAMES)

# --- Conditions on a row of `tasks` ----------------------------------------------------------------------

LISTED = "id IN (SELECT value FROM json_each(:task_keys))"
IN_TIME = f"coalesce(deadline_at > {NOW}, 1)"
OVERDUE = f"coalesce(deadline_at <= {NOW}, 0)"
LIVE = f"coalesce(lease_until > {NOW}, 0)"
# Nobody works on the task, although somebody did.
ABANDONED = f"status = 'processing' AND lease_until <= {NOW}"


def unended(most: str) -> str:
    """Count the tasks of `:tenant` that have not ended, up to a parameter, as an expression; NULL counts none.

    It reads as many entries of an index as it counts, however many tasks have ended.
    """
    return f"""(SELECT count(*) FROM (SELECT 1 FROM tasks WHERE tenant = :tenant AND ended = 0
    LIMIT coalesce({most}, 0)))"""


# --- Assignments of an UPDATE of `tasks` -----------------------------------------------------------------

# Nobody holds the task.
UNHELD = "holder = NULL, host = NULL, lease_until = NULL"

# The task has ended, unless it had already, and the sweep erases it when its retention is over.
ENDED = f"""{UNHELD},
  finished_at = coalesce(finished_at, max(created_at, {NOW})), wake_at = {NOW} + :retention_ms"""

# Calls that were announced and not settled are in doubt: nobody will say what became of them.
IN_DOUBT = "calls_in_doubt = calls_in_doubt + json_array_length(in_flight), in_flight = '[]'"


def failed(*, code: str = ":code", retryable: str = ":retryable") -> str:
    """Assign a failure: the task has ended, for the reason given."""
    return f"""status = 'failed', {ENDED},
  error_code = {code}, error_message = :message, error_retryable = {retryable}"""


def wake(at: str, deadline_at: str = "deadline_at") -> str:
    """When the sweep must look at a task that goes on, as an expression: at this time, or at an earlier deadline."""
    return f"min({at}, coalesce({deadline_at}, {at}))"


# --- Whole statements ------------------------------------------------------------------------------------


def delete_parts(equals: str, keys: str, condition: str = "") -> tuple[Statement, ...]:
    """Delete everything of tasks but their own rows, which go in the same transaction.

    `equals` is `=` and `keys` one key, or `IN` and several. The first statement reads the text that the last deletes.
    """
    of_task = f"task_id {equals} {keys}"
    submission = f"id {equals} (SELECT submission FROM texts WHERE {of_task})"
    return (
        statement(f"DELETE FROM submissions WHERE {submission} AND {of_task} {condition}"),
        statement(f"DELETE FROM outputs WHERE {of_task} {condition}"),
        statement(f"DELETE FROM failures WHERE {of_task} {condition}"),
        statement(f"DELETE FROM texts WHERE {of_task} {condition}"),
    )
