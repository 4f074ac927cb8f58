"""The SQL that reads what a worker needs to know of a task that it has just claimed."""

from ..d1.statement import statement
from .fragments import NOW
from .window import window

# CLAIM_TEXT, CLAIM_OUTPUTS and CLAIM_FAILURES follow CLAIM in its transaction, and give rows only to the claim's
# holder.
_HELD = "EXISTS (SELECT 1 FROM tasks WHERE id = :task_key AND holder = :holder AND status = 'processing')"
# Reads the text of the chunks that the run begins with. Most outputs are of chunks at the start of the text, so the
# number of outputs tells where the run begins. CLAIM_TEXT also reads how many calls each planned merge level has, and
# the plan of the highest planned level.
_MERGES = """(
    SELECT json_group_array(calls) FROM (
      SELECT json_array_length(ends) AS calls FROM merges WHERE task_id = :task_key ORDER BY level
    )
  ) AS merges,
  (SELECT ends FROM merges WHERE task_id = :task_key ORDER BY level DESC LIMIT 1) AS merge_ends,
  coalesce(cuts ->> '$[#-1]', 0) AS characters, output_schema, join_rules, inherited"""
CLAIM_TEXT = statement(window("(SELECT completed FROM tasks WHERE id = :task_key)", _HELD, also=_MERGES))

# Reads which outputs of a task exist: the positions in each segment, without the texts. The lines of a batch that
# failed for good are positions too; they have `failed` = 1. The worker splits the lists of positions itself, because
# SQLite would read a row for each position, several times over: 110,000 rows at each claim of a batch of 20,000 lines.
_IS_BATCH = "EXISTS (SELECT 1 FROM tasks WHERE id = :task_key AND kind = 'batch')"
CLAIM_OUTPUTS = statement(f"""
SELECT level, 0 AS failed, places FROM segments WHERE task_id = :task_key AND {_HELD}
UNION ALL
SELECT level, 1, group_concat(idx) FROM failures
WHERE task_id = :task_key AND final = 1 AND gap_chars >= 0 AND {_IS_BATCH} AND {_HELD} GROUP BY level
""")
# CLAIM_FAILURES reads the failed calls of a task. A row without calls is left out: a client has retried the task, and
# since then the row has only a log. The lines of a batch that failed for good are read by CLAIM_OUTPUTS.
CLAIM_FAILURES = statement(f"""
SELECT level, idx, attempts, calls, counted, final, code, message, retryable,
  max(0, rests_until - {NOW}) AS rest_left, held, rung, gap_chars
FROM failures WHERE task_id = :task_key AND (calls > 0 OR final = 1) AND {_HELD}
  AND NOT (final = 1 AND coalesce(gap_chars, -1) >= 0 AND {_IS_BATCH}) ORDER BY level, idx
""")
