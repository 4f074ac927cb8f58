"""The SQL of what was last seen of the deployment's triggers, and of what is done when they do not come."""

from .fragments import LATE, NOW, UNATTENDED, wake
from .statement import statement

# Notes that a trigger came, unless that was noted within `:apart_ms`. It goes along with a write that happens anyway.
SEE = statement(f"""
INSERT INTO seen (what, at) VALUES (:what, {NOW})
ON CONFLICT DO UPDATE SET at = excluded.at WHERE at <= excluded.at - :apart_ms OR at > excluded.at
""")

# The same, for something that is to happen at most once in `:apart_ms`: whoever gets a row has the turn. Of two at once
# the second finds the first, since D1 serialises writes. One that lands late takes a turn that nobody uses.
TAKE_TURN = statement(f"""
INSERT INTO seen (what, at) VALUES (:what, {NOW})
ON CONFLICT DO UPDATE SET at = excluded.at WHERE at <= excluded.at - :apart_ms OR at > excluded.at
RETURNING at
""")

# Says for how long there is no turn.
TURN = statement(f"SELECT at + :apart_ms - {NOW} AS left_ms FROM seen WHERE what = :what")

# Reads all that was noted.
SEEN = statement("SELECT what, at FROM seen")

# Counts the tasks that go on, and says how old the oldest is that nobody works on, NULL if there is none. It reads two
# rows for each task that goes on, and one for each tenant that has such tasks; what has ended is not read.
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

# Takes on the sending of a task that somebody asks for and that is late: at most once in `:late_ms`, whoever asks. The
# sweep looks again after `:delay_ms`, however often the task was sent off. One that was sent off `:in_vain` times
# before is not put off: the sweep may have to work on it. No row: there is nothing to send.
_WAKE_AT = wake(f"{NOW} + :delay_ms")
NUDGE = statement(f"""
UPDATE tasks SET dispatches = dispatches + 1, sent_at = {NOW},
  wake_at = CASE WHEN dispatches >= :in_vain THEN min(wake_at, {_WAKE_AT}) ELSE {_WAKE_AT} END
WHERE id = :task_key AND {LATE}
RETURNING dispatches
""")

# Has the sweep begin a task that NUDGE took on and no route took. It counts as sent off by nobody, and the next NUDGE
# is a minute away all the same. Landing twice or late it has the sweep look too early.
UNSENT = statement(f"""
UPDATE tasks SET dispatches = 0, wake_at = {NOW} WHERE id = :task_key AND dispatches > 0 AND {UNATTENDED}
""")
