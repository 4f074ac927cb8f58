"""The SQL of the sweep: which tasks are due, which it dispatches, and which it erases."""

from ..d1.statement import statement
from .fragments import ABANDONED, FREE_AT, IN_TIME, JUST_SENT, LATE, LISTED, NOW, OVERDUE, STALLS, delete_parts, wake
from .tallies import UNCOUNTED, count_ends

# Finds unfinished tasks that are due: the longest due one of each tenant, then the second of each, and so on, so that
# no tenant's backlog delays another's task. The first tenant moves on each minute by `:tenants_served`, the number of
# tenants that a run certainly serves. With T tenants that have unfinished tasks, each one's first task is served within
# T/:tenants_served minutes, whatever the others have. A page has `:most` tasks. The index gives those tenants one by
# one and their tasks in order, so no other rows are read. A task that a poll has just dispatched is left out, unless it
# was dispatched `:in_vain` times. If `:in_vain` is NULL there is no such exception.
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

# Finds ended tasks whose retention is over, longest due first: `:most` of them with `:chunks_most` chunks together, or
# one task with more. One transaction can erase this many. `uncounted` says whether a fold must still add the task. The
# statement reads nothing else.
PAST_RETENTION = statement(f"""
SELECT id, {NOW} AS now, uncounted FROM (
  SELECT id, uncounted, sum(total) OVER page AS chunks, row_number() OVER page AS place FROM (
    SELECT id, total, wake_at, {UNCOUNTED} AS uncounted FROM tasks WHERE finished_at IS NOT NULL AND wake_at <= {NOW}
    ORDER BY wake_at, id LIMIT :most
  ) WINDOW page AS (ORDER BY wake_at, id)
) WHERE place = 1 OR chunks <= :chunks_most ORDER BY place
""")

# Removes tombstones whose time is over: no write can still be on its way.
REMOVE_TOMBSTONES = statement(f"DELETE FROM tombstones WHERE until <= {NOW}")

# Postpones the next look at tasks whose worker is alive, or that rest, until another worker may take them over.
POSTPONE = statement(f"""
UPDATE tasks SET wake_at = {wake(FREE_AT)}
WHERE {LISTED} AND status = 'processing' AND {FREE_AT} > {NOW}
""")

# Takes the dispatch of tasks without a worker. The sweep checks the task again after `:delay_ms`, doubled at each
# repetition up to `:doublings_most` times. The dispatch is written before the message is sent: a crash in between costs
# a delay, and the other order would cost a flood. A task that another sweep took is no longer due, and one that a poll
# just dispatched is left alone for `:apart_ms`. The next run handles a task whose deadline has passed in between.
REDISPATCH = statement(f"""
UPDATE tasks SET dispatches = dispatches + 1, sent_at = {NOW},
  wake_at = {wake(f"{NOW} + (:delay_ms << min(dispatches + 1, :doublings_most))")}
WHERE {LISTED} AND wake_at <= {NOW} AND NOT {JUST_SENT} AND {IN_TIME}
  AND (status = 'pending' OR ({ABANDONED}))
RETURNING id
""")

# Undoes REDISPATCH, or makes a new task due for the sweep: nothing was sent, so any host may dispatch the task at once,
# also within the minute after a poll's NUDGE. If MAKE_DUE is sent twice, the second send finds the tasks due already.
MAKE_DUE = statement(f"""
UPDATE tasks SET dispatches = max(0, dispatches - 1), sent_at = NULL, wake_at = {NOW}
WHERE {LISTED} AND wake_at > {NOW} AND (status = 'pending' OR ({ABANDONED}))
""")

# --- Slots of objects: the places for tasks that objects work on ------------------------------------------------

# Frees the slots of tasks that have ended or that another route works on.
FREE_PLACES = statement("""
DELETE FROM object_places WHERE NOT EXISTS (SELECT 1 FROM tasks WHERE tasks.id = object_places.id
  AND finished_at IS NULL AND (status = 'pending' OR route = 'durable-object'))
""")


# The tasks that wait for one of `:most` slots, with their turns. A slot goes to the tenant with the fewest slots, and
# among equal tenants to the oldest task. These expressions read those `:walk_most` of each tenant's unfinished tasks
# that have been due longest. These expressions read no task while no slot is free, or if `:task_key`, which may be
# NULL, has one.
def _queue(also: str = "") -> str:
    """Give the tasks with their turns, as common table expressions. `also` adds tasks, as a UNION."""
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


# Takes one of `:most` slots for a task, if the task has none yet and it is its turn. Sent twice the statement takes one
# slot. A statement that lands late takes a slot for an unfinished task, until that task has ended. No row means that
# the task has no slot. Goes after FREE_PLACES.
TAKE_PLACE = statement(f"""
INSERT INTO object_places (id) SELECT :task_key
WHERE EXISTS (SELECT 1 FROM tasks WHERE id = :task_key AND finished_at IS NULL) AND (
  EXISTS (SELECT 1 FROM object_places WHERE id = :task_key) OR ((SELECT count(*) FROM object_places) < :most
    AND (SELECT places >= turn FROM ({_queue("UNION SELECT :task_key")} SELECT turn, places FROM queue, room
      WHERE id = :task_key)))
) ON CONFLICT DO UPDATE SET id = excluded.id RETURNING id
""")

# Finds the tasks that should get the free slots, at most `:give_most` of them, in their turn. Goes after FREE_PLACES.
NEXT_PLACES = statement(f"""
{_queue()} SELECT id FROM queue, room WHERE turn <= min(places, :give_most) ORDER BY turn
""")

# Gives free slots, of `:most`, to waiting tasks in the order of the list.
GIVE_PLACES = statement("""
INSERT INTO object_places (id) SELECT value FROM json_each(:task_keys)
WHERE key < :most - (SELECT count(*) FROM object_places)
  AND EXISTS (SELECT 1 FROM tasks WHERE id = value AND finished_at IS NULL AND status = 'pending')
ON CONFLICT DO NOTHING RETURNING id
""")

# Makes tasks with a slot due at once, before the other tasks of their tenants: the giver may die before it notifies an
# object. Goes after GIVE_PLACES.
PLACED_DUE = statement(f"""
UPDATE tasks SET wake_at = {wake(f"min(created_at, {NOW})")}, dispatches = 0
WHERE {LISTED} AND finished_at IS NULL AND status = 'pending'
  AND EXISTS (SELECT 1 FROM object_places WHERE object_places.id = tasks.id)
""")

# Says whether another host may work on a task in place of its object. No other host may do so while the task only waits
# for one of `:most` slots. A slot does not count if its object is `:late_ms` late. No row means that the task does not
# exist.
MAY_STAND_IN = statement(f"""
SELECT asked.route <> 'durable-object' OR :most > (
  SELECT count(*) FROM object_places CROSS JOIN tasks ON tasks.id = object_places.id
  WHERE finished_at IS NULL AND (status = 'pending' OR route = 'durable-object') AND NOT ({LATE} OR {OVERDUE})
) AS may FROM tasks AS asked WHERE asked.id = :task_key
""")

# --- The end of the retention ------------------------------------------------------------------------------

# Erases ended tasks whose retention was over at `:now_ms`, the time of PAST_RETENTION. The statement is a separate
# transaction, so that a large erasure does not keep the sweep from dispatching. All statements of the erasure see the
# same rows, because they are given the same time. A task that was retried in between stays.
_PAST_RETENTION = f"""(SELECT id FROM tasks WHERE {LISTED}
  AND status IN ('completed', 'failed', 'cancelled') AND wake_at <= :now_ms)"""
ERASE_EXPIRED = (
    *delete_parts("IN", _PAST_RETENTION),
    statement(f"DELETE FROM tasks WHERE id IN {_PAST_RETENTION} RETURNING id"),
)

# Adds the ends of those tasks that no fold has added to the sums. This statement goes before the last one of
# ERASE_EXPIRED.
EXPIRED_COUNT = statement(count_ends(f"id IN {_PAST_RETENTION}"))
