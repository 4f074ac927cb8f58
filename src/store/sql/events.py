"""The SQL of streams of events: what has become of a task, and the outputs that its follower has not seen."""

from .fragments import LATE, NOW, OVERDUE, UNANSWERED, done, stored
from .statement import statement

# Looks at a task: one row read. It says, too, whether somebody who asks for the task must do something for it.
LOOK = statement(f"""
SELECT status, route, fence, step, generation, started_at IS NOT NULL AS started, total, completed, failed, truncated,
  {NOW} AS read_at, max(created_at, coalesce(announced_at, 0), coalesce(sent_at, 0)) AS news_at,
  (status IN ('pending', 'processing') AND {OVERDUE}) AS overdue, {LATE} AS late, {UNANSWERED} AS unanswered
FROM tasks WHERE id = :task_key
""")

# Reads the output of the chunk `:next`, and with it those that share its segment, if more than `:known` chunks have
# one. It reads no segment where there is no news.
NEWS = statement(f"""
SELECT * FROM ({stored("0", first=":next", last=":next")})
WHERE (SELECT completed FROM tasks WHERE id = :task_key) > :known
""")

# Reads what places the chunks in the input.
CUTS = statement("SELECT cuts, overlap FROM texts WHERE task_id = :task_key")

# Counts the chunks that have an output, up to the first that has none. It loads no text.
READY_CHUNKS = statement(f"""
SELECT count(*) AS ready FROM (SELECT idx, row_number() OVER (ORDER BY idx) AS place FROM ({done("0")}))
WHERE idx = place - 1
""")
