"""The SQL of when the deployment's triggers were last seen, and of what replaces them when they stop."""

from ..d1.statement import statement
from .fragments import LATE, NOW, UNATTENDED, wake

# Records that a trigger came, unless that was recorded within `:apart_ms`. The statement runs along with a write that
# happens anyway.
SEE = statement(f"""
INSERT INTO seen (what, at) VALUES (:what, {NOW})
ON CONFLICT DO UPDATE SET at = excluded.at WHERE at <= excluded.at - :apart_ms OR at > excluded.at
""")

# Takes the turn to do something that may be done at most once in `:apart_ms`: the caller that gets a row has the turn.
# If two callers come at once, the second finds the first's write, because D1 serialises writes. A write that lands late
# takes a turn that stays unused.
TAKE_TURN = statement(f"""
INSERT INTO seen (what, at) VALUES (:what, {NOW})
ON CONFLICT DO UPDATE SET at = excluded.at WHERE at <= excluded.at - :apart_ms OR at > excluded.at
RETURNING at
""")

# Says how long the turn is still taken.
TURN = statement(f"SELECT at + :apart_ms - {NOW} AS left_ms FROM seen WHERE what = :what")

# Reads all that was noted.
SEEN = statement("SELECT what, at FROM seen")

# Counts the unfinished tasks, and gives the age of the oldest pending one, NULL without any. The statement reads two
# rows for each unfinished task, and one for each tenant that has some, and no ended task.
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

# Takes the dispatch of a late task that a request asks for: at most once in `:late_ms` in all. The sweep checks the
# task again after `:delay_ms`, however often the task was dispatched. If the task was dispatched `:in_vain` times
# before, its check is not postponed: the sweep may have to work on it. No row means that there is nothing to dispatch.
_WAKE_AT = wake(f"{NOW} + :delay_ms")
NUDGE = statement(f"""
UPDATE tasks SET dispatches = dispatches + 1, sent_at = {NOW},
  wake_at = CASE WHEN dispatches >= :in_vain THEN min(wake_at, {_WAKE_AT}) ELSE {_WAKE_AT} END
WHERE id = :task_key AND {LATE}
RETURNING dispatches
""")

# Makes the sweep dispatch a task that NUDGE took and no route accepted. The task counts as not dispatched, but the next
# NUDGE is still a minute away. If this write lands twice or late, the sweep only checks the task too early.
UNSENT = statement(f"""
UPDATE tasks SET dispatches = 0, wake_at = {NOW} WHERE id = :task_key AND dispatches > 0 AND {UNATTENDED}
""")
