"""The SQL that records when cron, queue and alarms last triggered the Worker, and replaces them when they stop."""

from ..d1.statement import statement
from .fragments import LATE, NOW, UNATTENDED, wake

# Records that a trigger of the Worker came, unless that was recorded within the last `:apart_ms`. SEE runs in the
# transaction of another write, which is made in any case.
SEE = statement(f"""
INSERT INTO seen (what, at) VALUES (:what, {NOW})
ON CONFLICT DO UPDATE SET at = excluded.at WHERE at <= excluded.at - :apart_ms OR at > excluded.at
""")

# Takes the turn for work that may be done at most once in `:apart_ms`: the caller that gets a row back has the turn. If
# two callers come at once, only the first has the turn, because D1 serialises writes. If TAKE_TURN arrives late, the
# turn is taken but not used.
TAKE_TURN = statement(f"""
INSERT INTO seen (what, at) VALUES (:what, {NOW})
ON CONFLICT DO UPDATE SET at = excluded.at WHERE at <= excluded.at - :apart_ms OR at > excluded.at
RETURNING at
""")

# Returns for how many ms no caller can take the turn again.
TURN = statement(f"SELECT at + :apart_ms - {NOW} AS left_ms FROM seen WHERE what = :what")

# Reads when each trigger of the Worker last came, and when each turn (see TAKE_TURN) was last taken.
SEEN = statement("SELECT what, at FROM seen")

# Counts the unfinished tasks, and returns the age of the oldest pending task, or NULL if no task is pending. BACKLOG
# reads two rows for each unfinished task, one row for each tenant with unfinished tasks, and no ended task.
BACKLOG = statement(f"""
WITH RECURSIVE tenants (tenant) AS (
  SELECT min(tenant) FROM tasks WHERE finished_at IS NULL
  UNION ALL SELECT (SELECT min(tenant) FROM tasks WHERE finished_at IS NULL AND tenant > tenants.tenant)
  FROM tenants WHERE tenant IS NOT NULL
)
SELECT coalesce(sum(status = 'pending'), 0) AS pending, coalesce(sum(status = 'processing'), 0) AS processing,
  max(0, {NOW} - min(created_at) FILTER (WHERE status = 'pending')) AS oldest_ms
FROM tenants CROSS JOIN tasks ON tasks.tenant = tenants.tenant AND finished_at IS NULL
""")

# Takes the dispatch of a late task for a request that reads the task; all requests together can take it at most once in
# `:late_ms`. After this dispatch, the sweep checks the task again in `:delay_ms`, however often the task was dispatched
# before. If the task was already dispatched `:in_vain` times, the sweep's check is not postponed, because the sweep may
# have to work on the task itself. If NUDGE gives no row, the request must not dispatch the task.
_WAKE_AT = wake(f"{NOW} + :delay_ms")
NUDGE = statement(f"""
UPDATE tasks SET dispatches = dispatches + 1, sent_at = {NOW},
  wake_at = CASE WHEN dispatches >= :in_vain THEN min(wake_at, {_WAKE_AT}) ELSE {_WAKE_AT} END
WHERE id = :task_key AND {LATE}
RETURNING dispatches
""")

# Makes the sweep dispatch a task whose dispatch NUDGE took, because no route accepted the task. The task then counts as
# not dispatched, but NUDGE can take its dispatch again only after a minute. If UNSENT takes effect twice or late, the
# only consequence is that the sweep checks the task too early.
UNSENT = statement(f"""
UPDATE tasks SET dispatches = 0, wake_at = {NOW} WHERE id = :task_key AND dispatches > 0 AND {UNATTENDED}
""")
