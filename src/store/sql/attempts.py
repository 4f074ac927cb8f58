"""The SQL that reads the log of a task's model calls, which is put together from several tables."""

from ..d1.statement import statement
from .fragments import LIVE

# Reads in one row a task's calls without an answer, its bill, and what all of its calls have in common, such as the
# model.
CALLS = statement(f"""
SELECT in_flight, doubted, {LIVE} AS live, announced_at, calls_settled, calls_in_doubt, model, route
FROM tasks WHERE id = :task_key
""")

# A condition: the output comes from a call of this task itself. A task that retries gaps also has copied outputs. They
# have fence 0, which no claim has, and the task made no calls for them.
_OWN = "fence > 0"

# Reads which outputs a task's calls gave and how long these outputs are, without their texts.
OUTPUTS = statement(f"SELECT level, places, sizes FROM segments WHERE task_id = :task_key AND {_OWN}")

# Reads how many failed calls are logged for each output, and the number of the latest failed call.
FAILURES = statement("""
SELECT level, idx, calls, json_array_length(log) AS logged, log ->> '$[#-1][1]' AS latest
FROM failures WHERE task_id = :task_key
""")

# SOME_OUTPUTS and SOME_FAILURES read the outputs and the failed calls from the output (`:level`, `:idx`) to
# (`:last_level`, `:last_idx`). A segment that is returned may also contain outputs that were not asked for.
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
