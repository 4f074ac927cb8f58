"""The SQL that adds outputs to the segments of a task, for plain tasks and for batches."""

from ..d1.statement import Statement, statement


def recording_outputs(mine: str, full: str) -> Statement:
    """Make the statement that records outputs, if the condition `mine` holds.

    Another segment is begun if the condition `full` on the last one holds.
    """
    return statement(f"""
INSERT INTO segments (task_id, level, part, fence, step, piece, places, sizes, body)
SELECT :task_key, :level, coalesce((
    SELECT part + ({full}) FROM segments
    WHERE task_id = :task_key AND level = :level ORDER BY part DESC LIMIT 1
  ), 0), :fence, :step, :piece, :places, :sizes, unhex(:body)
WHERE {mine} AND NOT EXISTS (
  SELECT 1 FROM segments WHERE task_id = :task_key AND level = :level
    AND (fence, step, piece) >= (:fence, :step, :piece)
)
ON CONFLICT DO UPDATE SET fence = excluded.fence, step = excluded.step, piece = excluded.piece,
  places = places || ',' || excluded.places, sizes = sizes || ',' || excluded.sizes,
  body = unhex(hex(body) || hex(excluded.body))
""")
