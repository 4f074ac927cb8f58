"""The SQL of the log of a task's calls: it reads what the calls have left in other tables."""

from ..d1.statement import statement
from .fragments import LIVE

# Reads the calls without an answer, the bill, and what the calls have in common: one row.
CALLS = statement(f"""
SELECT in_flight, doubted, {LIVE} AS live, announced_at, calls_settled, calls_in_doubt, model, route
FROM tasks WHERE id = :task_key
""")

# A retry of gaps copies outputs under fence 0, which no claim has. The new task has made no call for them.
_OWN = "fence > 0"

# Reads which outputs the task's calls gave, with their sizes, without any text.
OUTPUTS = statement(f"SELECT level, places, sizes FROM segments WHERE task_id = :task_key AND {_OWN}")

# Reads how many failed calls of each output are logged, and the number of the latest.
FAILURES = statement("""
SELECT level, idx, calls, json_array_length(log) AS logged, log ->> '$[#-1][1]' AS latest
FROM failures WHERE task_id = :task_key
""")

# Read the outputs and the failed calls from the output (`:level`, `:idx`) to (`:last_level`, `:last_idx`). A segment
# may have other outputs, too.
SOME_OUTPUTS = statement(f"""
SELECT level, part, hex(body) AS body FROM segments
WHERE task_id = :task_key AND {_OWN} AND level BETWEEN :level AND :last_level AND EXISTS (
  SELECT 1 FROM json_each('[' || places || ']')
  WHERE (level, value) >= (:level, :idx) AND (level, value) <= (:last_level, :last_idx)
)
""")
SOME_FAILURES = statement("""
SELECT level, idx, calls, code, message, held, log FROM failures
WHERE task_id = :task_key AND (level, idx) >= (:level, :idx) AND (level, idx) <= (:last_level, :last_idx)
""")
