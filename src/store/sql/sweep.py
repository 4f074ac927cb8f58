"""The SQL of the sweep: what is due, who is sent off, and what is erased."""

from .fragments import ABANDONED, IN_TIME, LISTED, LIVE, NOW, OVERDUE, delete_parts, wake
from .statement import statement

# Finds the tasks that need a look: the longest overdue one of each tenant, then each tenant's second, and so on, so
# that nobody's backlog holds up another's task. Who comes first moves on with each minute, by `:tenants_served`: as
# many tenants as a run is sure to get to. With T tenants in all, each one's first task is taken within
# T/:tenants_served minutes, whatever the others have. Tasks that go on and tasks to erase have a limit each, `:most`,
# and cannot crowd each other out. Of the tasks to erase there is one at least, and more only up to `:chunks_most`
# chunks together: no more than a transaction can well erase. The index gives the tenants one by one, and each one's
# tasks of both kinds in order; what is stored besides is not read.
_OWN_DUE = " UNION ALL ".join(
    f"""SELECT id FROM (SELECT id FROM tasks AS own
    WHERE own.tenant = turns.tenant AND ended = {ended} AND wake_at <= {NOW} ORDER BY wake_at LIMIT :most)"""
    for ended in (0, 1)
)
DUE = statement(f"""
WITH RECURSIVE tenants (tenant, rank) AS (
  SELECT min(tenant), 0 FROM tasks
  UNION ALL SELECT (SELECT min(tenant) FROM tasks WHERE tenant > tenants.tenant), rank + 1
  FROM tenants WHERE tenant IS NOT NULL
), turns (tenant, turn) AS (
  SELECT tenant, (rank - {NOW} / 60000 * :tenants_served % count(*) OVER () + count(*) OVER ()) % count(*) OVER ()
  FROM tenants WHERE tenant IS NOT NULL
), found AS (
  SELECT tasks.id, status, stalls, total, lease_until, deadline_at, ended, turn,
    row_number() OVER (PARTITION BY tasks.tenant, ended ORDER BY wake_at, tasks.id) AS place
  FROM turns CROSS JOIN tasks ON tasks.id IN ({_OWN_DUE})
), seated AS (
  SELECT *, row_number() OVER page AS seat, sum(total) OVER page AS chunks
  FROM found WINDOW page AS (PARTITION BY ended ORDER BY place, turn)
)
SELECT id, status, stalls, {NOW} AS now, {LIVE} AS live, {OVERDUE} AS overdue
FROM seated WHERE seat <= :most AND (NOT ended OR seat = 1 OR chunks <= :chunks_most) ORDER BY seat
""")

# Removes tombstones whose time is over: no write is still on its way.
REMOVE_TOMBSTONES = statement(f"DELETE FROM tombstones WHERE until <= {NOW}")

# Puts off the look at tasks whose worker is alive, until their lease ends.
POSTPONE = statement(f"""
UPDATE tasks SET wake_at = {wake("lease_until")}
WHERE {LISTED} AND status = 'processing' AND lease_until > {NOW}
""")

# Takes on the dispatch of tasks that nobody works on, and looks again after `:delay_ms`, doubled at each repetition up
# to `:doublings_most` times. It is written before the message is sent: a crash in between costs a delay, the other
# order would cost a flood. A task that another sweep took on is no longer due. One whose deadline has passed meanwhile
# is the next run's.
REDISPATCH = statement(f"""
UPDATE tasks SET dispatches = dispatches + 1,
  wake_at = {wake(f"{NOW} + (:delay_ms << min(dispatches + 1, :doublings_most))")}
WHERE {LISTED} AND wake_at <= {NOW} AND {IN_TIME} AND (status = 'pending' OR ({ABANDONED}))
RETURNING id
""")

# Gives back what REDISPATCH took on, or has the sweep begin a fresh task. Sent twice it finds the tasks due already.
MAKE_DUE = statement(f"""
UPDATE tasks SET dispatches = max(0, dispatches - 1), wake_at = {NOW}
WHERE {LISTED} AND wake_at > {NOW} AND (status = 'pending' OR ({ABANDONED}))
""")

# Erases ended tasks whose retention was over at `:now_ms`, the time of DUE. It is a transaction of its own, so that
# much to erase keeps the sweep from sending nobody off. All its statements look at the same rows with the same time. A
# task that was put back meanwhile is left alone.
_PAST_RETENTION = f"""(SELECT id FROM tasks WHERE {LISTED}
  AND status IN ('completed', 'failed', 'cancelled') AND wake_at <= :now_ms)"""
ERASE_EXPIRED = (
    *delete_parts("IN", _PAST_RETENTION),
    statement(f"DELETE FROM tasks WHERE id IN {_PAST_RETENTION} RETURNING id"),
)
