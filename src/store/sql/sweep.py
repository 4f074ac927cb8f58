"""The SQL of the sweep: what is due, who is sent off, and what is erased."""

from .fragments import ABANDONED, FREE_AT, IN_TIME, JUST_SENT, LATE, LISTED, NOW, OVERDUE, STALLS, delete_parts, wake
from .statement import statement
from .tallies import UNCOUNTED, count_ends

# Finds tasks that go on and need a look: the longest overdue one of each tenant, then each tenant's second, and so on,
# so that nobody's backlog holds up another's task. Who comes first moves on with each minute, by `:tenants_served`: as
# many tenants as a run is sure to get to. With T tenants that have tasks which go on, each one's first task is taken
# within T/:tenants_served minutes, whatever the others have. A page has `:most` of them. The index gives those tenants
# one by one, and each one's tasks in order; what is stored besides is not read. A task that was just sent off again, by
# a poll, is left out for now, unless it was sent off `:in_vain` times; with NULL that is no exception.
_OWN_DUE = f"""SELECT id FROM tasks AS own
    WHERE own.tenant = turns.tenant AND finished_at IS NULL AND wake_at <= {NOW}
    AND (NOT {JUST_SENT} OR dispatches >= :in_vain OR {OVERDUE}) ORDER BY wake_at LIMIT :most"""
DUE = statement(f"""
WITH RECURSIVE tenants (tenant, rank) AS (
  SELECT min(tenant), 0 FROM tasks WHERE finished_at IS NULL
  UNION ALL SELECT (SELECT min(tenant) FROM tasks WHERE finished_at IS NULL AND tenant > tenants.tenant), rank + 1
  FROM tenants WHERE tenant IS NOT NULL
), turns (tenant, turn) AS (
  SELECT tenant, (rank - {NOW} / 60000 * :tenants_served % count(*) OVER () + count(*) OVER ()) % count(*) OVER ()
  FROM tenants WHERE tenant IS NOT NULL
), found AS (
  SELECT tasks.id, status, {STALLS} AS stalls, dispatches, lease_until, rest_until, deadline_at, turn,
    row_number() OVER (PARTITION BY tasks.tenant ORDER BY wake_at, tasks.id) AS place
  FROM turns CROSS JOIN tasks ON tasks.id IN ({_OWN_DUE})
)
SELECT id, status, stalls, dispatches, {NOW} AS now, coalesce({FREE_AT} > {NOW}, 0) AS live, {OVERDUE} AS overdue
FROM found ORDER BY place, turn LIMIT :most
""")

# Finds ended tasks whose retention is over, those that have been due longest first: `:most` of them, of `:chunks_most`
# chunks together, or one that has more. That is what a transaction can well erase. It says whether a fold has come to
# them. Nothing else is read.
PAST_RETENTION = statement(f"""
SELECT id, {NOW} AS now, uncounted FROM (
  SELECT id, uncounted, sum(total) OVER page AS chunks, row_number() OVER page AS place FROM (
    SELECT id, total, wake_at, {UNCOUNTED} AS uncounted FROM tasks WHERE finished_at IS NOT NULL AND wake_at <= {NOW}
    ORDER BY wake_at, id LIMIT :most
  ) WINDOW page AS (ORDER BY wake_at, id)
) WHERE place = 1 OR chunks <= :chunks_most ORDER BY place
""")

# Removes tombstones whose time is over: no write is still on its way.
REMOVE_TOMBSTONES = statement(f"DELETE FROM tombstones WHERE until <= {NOW}")

# Puts off the look at tasks whose worker is alive, or that rest, until somebody may take them over.
POSTPONE = statement(f"""
UPDATE tasks SET wake_at = {wake(FREE_AT)}
WHERE {LISTED} AND status = 'processing' AND {FREE_AT} > {NOW}
""")

# Takes on the dispatch of tasks that nobody works on, and looks again after `:delay_ms`, doubled at each repetition up
# to `:doublings_most` times. It is written before the message is sent: a crash in between costs a delay, the other
# order would cost a flood. A task that another sweep took on is no longer due, and one that a poll just sent off is
# left alone for `:apart_ms`. One whose deadline has passed meanwhile
# is the next run's.
REDISPATCH = statement(f"""
UPDATE tasks SET dispatches = dispatches + 1, sent_at = {NOW},
  wake_at = {wake(f"{NOW} + (:delay_ms << min(dispatches + 1, :doublings_most))")}
WHERE {LISTED} AND wake_at <= {NOW} AND NOT {JUST_SENT} AND {IN_TIME}
  AND (status = 'pending' OR ({ABANDONED}))
RETURNING id
""")

# Gives back what REDISPATCH took on, or has the sweep begin a fresh task: nothing was sent, so anybody may send it.
# Sent twice it finds the tasks due already.
MAKE_DUE = statement(f"""
UPDATE tasks SET dispatches = max(0, dispatches - 1), sent_at = NULL, wake_at = {NOW}
WHERE {LISTED} AND wake_at > {NOW} AND (status = 'pending' OR ({ABANDONED}))
""")

# --- Places among the tasks that objects work on -----------------------------------------------------------

# Gives back the places of tasks that have ended, or that another route works on.
FREE_PLACES = statement("""
DELETE FROM object_places WHERE NOT EXISTS (SELECT 1 FROM tasks WHERE tasks.id = object_places.id
  AND finished_at IS NULL AND (status = 'pending' OR route = 'durable-object'))
""")


# The tasks that wait for one of `:most` places, with their turns. A place goes to the tenant that has the fewest, and
# of tenants that have as many to the oldest task. Of each tenant's tasks that go on, no more than `:walk_most` are
# looked at, those that have been due longest. Nothing is looked at while no place is free, nor for `:task_key` if that
# has one; it may be NULL.
def _queue(also: str = "") -> str:
    """Give the tasks with their turn, as common table expressions; `also` adds tasks, as a UNION."""
    return f"""WITH RECURSIVE room (places) AS (
  SELECT CASE WHEN EXISTS (SELECT 1 FROM object_places WHERE id = :task_key) THEN 0 ELSE :most - count(*) END
  FROM object_places
), tenants (tenant) AS (
  SELECT min(tenant) FROM tasks WHERE finished_at IS NULL AND (SELECT places FROM room) > 0
  UNION ALL SELECT (SELECT min(tenant) FROM tasks WHERE finished_at IS NULL AND tenant > tenants.tenant)
  FROM tenants WHERE tenant IS NOT NULL
), waiting (id) AS (
  SELECT tasks.id FROM tenants CROSS JOIN tasks ON tasks.id IN (
    SELECT id FROM tasks AS own WHERE own.tenant = tenants.tenant AND finished_at IS NULL
    ORDER BY wake_at LIMIT :walk_most
  ) WHERE status = 'pending' AND route = 'durable-object' AND not_before <= {NOW} AND {IN_TIME}
    AND NOT EXISTS (SELECT 1 FROM object_places WHERE object_places.id = tasks.id)
  {also}
), named AS (
  SELECT id, substr(id, 1, instr(id, ':')) AS tenant, substr(id, instr(id, ':') + 1) AS task_id FROM waiting
), held AS MATERIALIZED (
  SELECT substr(id, 1, instr(id, ':')) AS tenant, count(*) AS places FROM object_places GROUP BY 1
), queue AS (
  SELECT id, row_number() OVER (ORDER BY place, task_id) AS turn FROM (
    SELECT id, task_id, row_number() OVER (PARTITION BY tenant ORDER BY task_id) + coalesce(places, 0) AS place
    FROM named LEFT JOIN held USING (tenant)
  )
)"""


# Takes a place for a task, of `:most`, if it has none yet and its turn has come. Sent twice it takes one. Landing late
# it takes one for a task that goes on, until that has ended. No row: it has none. Goes after FREE_PLACES.
TAKE_PLACE = statement(f"""
INSERT INTO object_places (id) SELECT :task_key
WHERE EXISTS (SELECT 1 FROM tasks WHERE id = :task_key AND finished_at IS NULL) AND (
  EXISTS (SELECT 1 FROM object_places WHERE id = :task_key) OR ((SELECT count(*) FROM object_places) < :most
    AND (SELECT places >= turn FROM ({_queue("UNION SELECT :task_key")} SELECT turn, places FROM queue, room
      WHERE id = :task_key)))
) ON CONFLICT DO UPDATE SET id = excluded.id RETURNING id
""")

# Finds the tasks that should have the places that are free, `:give_most` of them, in their turn. Goes after
# FREE_PLACES.
NEXT_PLACES = statement(f"""
{_queue()} SELECT id FROM queue, room WHERE turn <= min(places, :give_most) ORDER BY turn
""")

# Gives places that are free, of `:most`, to tasks that wait, in the order of the list.
GIVE_PLACES = statement("""
INSERT INTO object_places (id) SELECT value FROM json_each(:task_keys)
WHERE key < :most - (SELECT count(*) FROM object_places)
  AND EXISTS (SELECT 1 FROM tasks WHERE id = value AND finished_at IS NULL AND status = 'pending')
ON CONFLICT DO NOTHING RETURNING id
""")

# Makes those due at once that have a place, before the other tasks of their tenants: whoever gave it may die before an
# object is told. Goes after GIVE_PLACES.
PLACED_DUE = statement(f"""
UPDATE tasks SET wake_at = {wake(f"min(created_at, {NOW})")}, dispatches = 0
WHERE {LISTED} AND finished_at IS NULL AND status = 'pending'
  AND EXISTS (SELECT 1 FROM object_places WHERE object_places.id = tasks.id)
""")

# Says whether somebody may work on a task in place of its object: not while it only waits for one of `:most` places. A
# place counts for nothing where the object should have come `:late_ms` ago. No row: there is no such task.
MAY_STAND_IN = statement(f"""
SELECT asked.route <> 'durable-object' OR :most > (
  SELECT count(*) FROM object_places CROSS JOIN tasks ON tasks.id = object_places.id
  WHERE finished_at IS NULL AND (status = 'pending' OR route = 'durable-object') AND NOT ({LATE} OR {OVERDUE})
) AS may FROM tasks AS asked WHERE asked.id = :task_key
""")

# --- The end of the retention ------------------------------------------------------------------------------

# Erases ended tasks whose retention was over at `:now_ms`, the time of PAST_RETENTION. It is a transaction of its own,
# so that much to erase keeps the sweep from sending nobody off. All its statements look at the same rows with the same
# time. A task that was put back meanwhile is left alone.
_PAST_RETENTION = f"""(SELECT id FROM tasks WHERE {LISTED}
  AND status IN ('completed', 'failed', 'cancelled') AND wake_at <= :now_ms)"""
ERASE_EXPIRED = (
    *delete_parts("IN", _PAST_RETENTION),
    statement(f"DELETE FROM tasks WHERE id IN {_PAST_RETENTION} RETURNING id"),
)

# Adds the ends of those to the sums that no fold has come to. Goes before the last of ERASE_EXPIRED.
EXPIRED_COUNT = statement(count_ends(f"id IN {_PAST_RETENTION}"))
