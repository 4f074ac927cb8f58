"""The SQL that records outputs and failed model calls."""

from ...core import limits
from ..d1.statement import Statement, statement

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


def recording_failures(mine: str) -> Statement:
    """Return the statement that records failed calls if the condition `mine` holds."""
    values = ", ".join(f"value ->> {place}" for place, _ in enumerate(_FAILURE))
    updates = ", ".join(f"{name} = excluded.{name}" for name in _FAILURE[2:] if name != "log")
    return statement(f"""
INSERT INTO failures (task_id, {", ".join(_FAILURE)})
SELECT :task_key, {values} FROM json_each(:failures) WHERE {mine}
ON CONFLICT DO UPDATE SET {updates}, log = {_LOGGED}
""")


def recording_outputs(mine: str, full: str) -> Statement:
    """Return the statement that records a piece of outputs if the condition `mine` holds.

    A new segment begins if the last segment meets the condition `full`.
    """
    return _recording(mine, full, ":piece", ":places, :sizes, unhex(:body) WHERE")


def recording_pieces(mine: str, full: str) -> Statement:
    """Return the statement that records up to PIECES_A_STATEMENT pieces; see `recording_outputs`.

    Each piece after the first begins a new segment. Of the parameters with a number, those of missing pieces are NULL.
    """
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
