"""The SQL of event streams: it reads the state of a task, and the outputs that the stream's client has not seen yet."""

from ..d1.statement import statement
from .fragments import GAPS, LATE, NOW, OVERDUE, UNANSWERED, done, stored

# Reads the state of a task in one row, with its gaps. The columns `late` and `unanswered` of LOOK also say whether a
# request that reads the task must help it.
LOOK = statement(f"""
SELECT status, route, fence, step, generation, started_at IS NOT NULL AS started, total, completed, failed, truncated,
  {NOW} AS read_at, max(created_at, coalesce(announced_at, 0), coalesce(sent_at, 0)) AS news_at,
  (status IN ('pending', 'processing') AND {OVERDUE}) AS overdue, {LATE} AS late, {UNANSWERED} AS unanswered,
  structured ->> 'gaps' AS may_leave_gaps, {GAPS}
FROM tasks WHERE id = :task_key
""")

# Reads the segment that has the output of chunk `:next`, if more than `:known` chunks of the task have outputs. If no
# more chunks than `:known` have outputs, the statement reads no segment.
NEWS = statement(f"""
SELECT * FROM ({stored("0", first=":next", last=":next")})
WHERE (SELECT completed FROM tasks WHERE id = :task_key) > :known
""")

# Reads a task's cuts and overlap, from which follows where the task's chunks are in its input.
CUTS = statement("SELECT cuts, overlap FROM texts WHERE task_id = :task_key")

# Counts how many chunks of a task have an output before the first chunk without an output, without reading any text.
READY_CHUNKS = statement(f"""
SELECT count(*) AS ready FROM (SELECT idx, row_number() OVER (ORDER BY idx) AS place FROM ({done("0")}))
WHERE idx = place - 1
""")
