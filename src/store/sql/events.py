"""The SQL of streams of events: the state of a task, and the outputs that its follower has not seen."""

from ..d1.statement import statement
from .fragments import GAPS, LATE, NOW, OVERDUE, UNANSWERED, done, stored

# Reads the state of a task: one row, and its gaps. The statement also says whether a request that asks for the task
# must help it.
LOOK = statement(f"""
SELECT status, route, fence, step, generation, started_at IS NOT NULL AS started, total, completed, failed, truncated,
  {NOW} AS read_at, max(created_at, coalesce(announced_at, 0), coalesce(sent_at, 0)) AS news_at,
  (status IN ('pending', 'processing') AND {OVERDUE}) AS overdue, {LATE} AS late, {UNANSWERED} AS unanswered,
  structured ->> 'gaps' AS may_leave_gaps, {GAPS}
FROM tasks WHERE id = :task_key
""")

# Reads the output of chunk `:next`, with the others of its segment, if more than `:known` chunks have one. Without a
# new output the statement reads no segment.
NEWS = statement(f"""
SELECT * FROM ({stored("0", first=":next", last=":next")})
WHERE (SELECT completed FROM tasks WHERE id = :task_key) > :known
""")

# Reads the cuts and the overlap, which place the chunks in the input.
CUTS = statement("SELECT cuts, overlap FROM texts WHERE task_id = :task_key")

# Counts the chunks with an output before the first chunk without one. The statement loads no text.
READY_CHUNKS = statement(f"""
SELECT count(*) AS ready FROM (SELECT idx, row_number() OVER (ORDER BY idx) AS place FROM ({done("0")}))
WHERE idx = place - 1
""")
