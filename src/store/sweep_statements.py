"""The SQL of the sweep: what is due, and what becomes of it."""

from .statement import NOW, wake

# The tasks that need a look: the longest overdue one of each tenant, then each tenant's second, and so on, so that
# nobody's backlog holds up another's task. Who comes first moves on with each minute, by as many tenants as a run is
# sure to serve: with T tenants in all, each one's first is taken within T/?2 minutes, whatever the others have. Tasks
# that go on and tasks to erase have a limit each, and cannot crowd each other out; of the latter no more than a
# transaction can well erase, but one at least. The index gives the tenants one by one and each one's overdue tasks of
# both kinds in order; what is stored besides is not read. ?1 limit of each kind ?2 tenants served a run
# ?3 chunks to erase at most
_OWN_DUE = " UNION ALL ".join(
    f"""SELECT id FROM (SELECT id FROM tasks AS own
    WHERE own.tenant = turns.tenant AND ended = {ended} AND wake_at <= {NOW} ORDER BY wake_at LIMIT ?1)"""
    for ended in (0, 1)
)
DUE = f"""
WITH RECURSIVE tenants (tenant, rank) AS (
  SELECT min(tenant), 0 FROM tasks
  UNION ALL SELECT (SELECT min(tenant) FROM tasks WHERE tenant > tenants.tenant), rank + 1
  FROM tenants WHERE tenant IS NOT NULL
), turns (tenant, turn) AS (
  SELECT tenant, (rank - {NOW} / 60000 * ?2 % count(*) OVER () + count(*) OVER ()) % count(*) OVER ()
  FROM tenants WHERE tenant IS NOT NULL
), found AS (
  SELECT tasks.id, status, stalls, total, lease_until, deadline_at, ended, turn,
    row_number() OVER (PARTITION BY tasks.tenant, ended ORDER BY wake_at, tasks.id) AS place
  FROM turns CROSS JOIN tasks ON tasks.id IN ({_OWN_DUE})
), seated AS (
  SELECT *, row_number() OVER page AS seat, sum(total) OVER page AS chunks
  FROM found WINDOW page AS (PARTITION BY ended ORDER BY place, turn)
)
SELECT id, status, stalls, {NOW} AS now, coalesce(lease_until > {NOW}, 0) AS live,
  coalesce(deadline_at <= {NOW}, 0) AS overdue
FROM seated WHERE seat <= ?1 AND (NOT ended OR seat = 1 OR chunks <= ?3) ORDER BY seat
"""

# Looks again when the lease ends. ?1 JSON ids
POSTPONE = f"""
UPDATE tasks SET wake_at = {wake("lease_until")}
WHERE id IN (SELECT value FROM json_each(?1)) AND status = 'processing' AND lease_until > {NOW}
"""

# Fails a task whose workers die again and again without an output, the last of them before it could say so itself:
# nobody else would end it. ?1 JSON ids ?2 stalls from which on ?3 code ?4 message ?5 retention, ms
GIVE_UP = f"""
UPDATE tasks SET status = 'failed', fence = fence + 1, holder = NULL, host = NULL, lease_until = NULL,
  calls_in_doubt = calls_in_doubt + json_array_length(in_flight), in_flight = '[]',
  finished_at = max(created_at, {NOW}), wake_at = {NOW} + ?5,
  error_code = ?3, error_message = ?4, error_retryable = 1
WHERE id IN (SELECT value FROM json_each(?1)) AND status = 'processing' AND lease_until <= {NOW} AND stalls >= ?2
RETURNING id
"""

# Takes on the dispatch of tasks that nobody works on, and looks again later, longer at each repetition. It is
# written before the message is sent: a crash in between costs a delay, the other order would cost a flood.
# A task that another sweep took on is no longer due, and one whose deadline has passed meanwhile is the next run's.
# ?1 JSON ids ?2 base delay, ms ?3 doublings at most
REDISPATCH = f"""
UPDATE tasks SET dispatches = dispatches + 1, wake_at = {wake(f"{NOW} + (?2 << min(dispatches + 1, ?3))")}
WHERE id IN (SELECT value FROM json_each(?1)) AND wake_at <= {NOW} AND coalesce(deadline_at > {NOW}, 1)
  AND (status = 'pending' OR (status = 'processing' AND lease_until <= {NOW}))
RETURNING id
"""

# Gives back what REDISPATCH took on, or has the sweep begin a fresh task. Sent twice it finds the tasks due already.
# ?1 JSON ids
MAKE_DUE = f"""
UPDATE tasks SET dispatches = max(0, dispatches - 1), wake_at = {NOW}
WHERE id IN (SELECT value FROM json_each(?1)) AND wake_at > {NOW}
  AND (status = 'pending' OR (status = 'processing' AND lease_until <= {NOW}))
"""

# Erases finished tasks whose retention is over, in a transaction of its own: what is much to erase must not keep
# the sweep from sending others off. A task that was put back meanwhile is left alone: all look
# at the same rows with the same time. ?1 JSON ids ?2 the time of DUE, ms
_OVER = """SELECT id FROM tasks WHERE id IN (SELECT value FROM json_each(?1))
  AND status IN ('completed', 'failed', 'cancelled') AND wake_at <= ?2"""
ERASE_EXPIRED = (
    f"""DELETE FROM submissions
  WHERE id IN (SELECT submission FROM texts WHERE task_id IN ({_OVER})) AND task_id IN ({_OVER})""",
    f"DELETE FROM outputs WHERE task_id IN ({_OVER})",
    f"DELETE FROM failures WHERE task_id IN ({_OVER})",
    f"DELETE FROM texts WHERE task_id IN ({_OVER})",
    f"DELETE FROM tasks WHERE id IN ({_OVER}) RETURNING id",
)
