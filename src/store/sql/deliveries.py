"""The SQL of deliveries: each is written with the end that it tells of, taken on under a fence, and tried.

A delivery is named by `:task_key`, `:generation` and `:endpoint`, the endpoint's key.
"""

from .fragments import LISTED, NOW
from .statement import statement

# What an endpoint hears of a task that has ended. A task of `/v1` has `response`.
_EVENT = """CASE WHEN response IS NULL THEN 'task.' || status
    WHEN status = 'completed' AND truncated > 0 THEN 'response.incomplete' ELSE 'response.' || status END"""

_ONE = "task_id = :task_key AND generation = :generation AND endpoint_id = :endpoint"
_OPEN = f"state IN (1, 2) AND {_ONE}"


def _of_endpoint(column: str) -> str:
    return f"(SELECT {column} FROM webhook_endpoints WHERE webhook_endpoints.id = endpoint_id)"


# What whoever sends it must know: where to, by which secrets it is signed, and the time by the database.
_TAKEN = f"""RETURNING task_id, generation, endpoint_id, event, ended_at, begun_at, fence, tries, {NOW} AS now,
  {_of_endpoint("url")} AS url, {_of_endpoint("secret_generation")} AS secret_generation,
  {_of_endpoint(f"old_secret_until > {NOW}")} AS old_secret_signs"""

# Writes what endpoints of their tenants are to hear of those of the tasks that have ended, once for each end. It goes
# behind each statement that ends tasks, in its transaction. Where nobody wants to hear, it writes nothing. An endpoint
# hears of what ended since it was there. An end that did not happen leaves no delivery, whatever the statement before
# it wanted, and one that lands again finds the delivery of the first time. Whoever gets a row may send it, for
# `:held_ms`; then somebody else may. One for an endpoint that rests waits for it.
OUTBOX = statement(f"""
INSERT INTO webhook_deliveries (state, task_id, generation, endpoint_id, event, ended_at, begun_at, due_at)
SELECT 1 + (paused_until > {NOW}), ended.id, generation, endpoints.id, event, finished_at, {NOW},
  max({NOW} + :held_ms, paused_until)
FROM (
  SELECT id, tenant, generation, finished_at, {_EVENT} AS event FROM tasks WHERE {LISTED} AND finished_at IS NOT NULL
) AS ended CROSS JOIN webhook_endpoints AS endpoints
WHERE endpoints.id > ended.tenant || ':' AND endpoints.id < ended.tenant || ';'
  AND disabled_at IS NULL AND endpoints.created_at <= finished_at
  AND EXISTS (SELECT 1 FROM json_each(event_types) WHERE value = event)
  AND NOT EXISTS (SELECT 1 FROM webhook_deliveries AS known WHERE known.state IN (0, 1, 2)
    AND known.task_id = ended.id AND known.generation = ended.generation AND known.endpoint_id = endpoints.id)
ON CONFLICT DO NOTHING
{_TAKEN}, state
""")

# Finds deliveries that somebody should send: each endpoint's first one, then each one's second, and so on, `:of_each`
# at most, and of an endpoint that fails one. An endpoint that rests is left alone. `outcome` is set for those that are
# over: the endpoint is gone, or `:kept_ms` have passed. The index gives the endpoints that have failed one by one; of
# what nobody sent `:walk_most` entries are looked at.
_WAITING = "webhook_deliveries INDEXED BY webhook_deliveries_waiting"  # the planner prefers the key, and walks it
_OWN_DUE = f"""SELECT task_id, generation, endpoint_id FROM webhook_deliveries AS own
    WHERE own.state = 2 AND own.endpoint_id = waiting.endpoint AND own.due_at <= {NOW}
    ORDER BY own.due_at LIMIT :of_each"""
DUE_DELIVERIES = statement(f"""
WITH RECURSIVE waiting (endpoint) AS (
  SELECT min(endpoint_id) FROM {_WAITING} WHERE state = 2
  UNION ALL SELECT (SELECT min(endpoint_id) FROM {_WAITING} WHERE state = 2 AND endpoint_id > endpoint)
  FROM waiting WHERE endpoint IS NOT NULL
), found AS (
  SELECT * FROM (
    SELECT task_id, generation, endpoint_id, fence, due_at, begun_at FROM webhook_deliveries
    WHERE state = 1 AND due_at <= {NOW} LIMIT :walk_most
  ) UNION ALL
  SELECT due.task_id, due.generation, due.endpoint_id, due.fence, due.due_at, due.begun_at
  FROM waiting CROSS JOIN webhook_deliveries AS due ON due.state = 2
    AND (due.task_id, due.generation, due.endpoint_id) IN ({_OWN_DUE})
), placed AS (
  SELECT *, row_number() OVER (PARTITION BY endpoint_id ORDER BY due_at, task_id) AS place FROM found
), judged AS (
  SELECT placed.*, coalesce(failures, 0) AS failures, coalesce(paused_until, 0) AS paused_until,
    CASE WHEN endpoints.id IS NULL OR disabled_at IS NOT NULL THEN 'gone'
      WHEN begun_at <= {NOW} - :kept_ms THEN 'exhausted' END AS outcome
  FROM placed LEFT JOIN webhook_endpoints AS endpoints ON endpoints.id = placed.endpoint_id
)
SELECT task_id, generation, endpoint_id, fence, outcome FROM judged
WHERE outcome IS NOT NULL
  OR (paused_until <= {NOW} AND place <= CASE WHEN failures >= :breaker THEN 1 ELSE :of_each END)
ORDER BY place, failures, due_at, task_id LIMIT :most
""")

# Takes a delivery on, for `:held_ms`. It names the fence that was read before: of two at once the second finds it
# raised, and one that lands late takes nothing.
TAKE_DELIVERY = statement(f"""
UPDATE webhook_deliveries SET state = 2, fence = fence + 1, due_at = {NOW} + :held_ms
WHERE {_OPEN} AND fence = :fence AND due_at <= {NOW}
{_TAKEN}
""")

# Records an attempt, of whoever holds the fence: what came of it, a JSON list, and the outcome; NULL to try again after
# `:delay_ms`. Sent twice it finds the attempt counted, by `:tries`, those before it.
RECORD_ATTEMPT = statement(f"""
UPDATE webhook_deliveries SET state = CASE WHEN :outcome IS NULL THEN 2 ELSE 0 END, outcome = :outcome,
  tries = tries + 1, due_at = {NOW} + :delay_ms, attempts = json_insert(
    CASE WHEN json_array_length(attempts) >= :shown_most THEN json_remove(attempts, '$[0]') ELSE attempts END,
    '$[#]', json(:attempt))
WHERE {_OPEN} AND fence = :fence AND tries = :tries
RETURNING state
""")

# Ends a delivery that nobody is to try any more.
END_DELIVERY = statement(f"""
UPDATE webhook_deliveries SET state = 0, outcome = :outcome WHERE {_OPEN} AND fence = :fence AND due_at <= {NOW}
""")

# Ends all that an endpoint was still to hear: it has said that it is gone.
END_FRESH = statement("""
UPDATE webhook_deliveries SET state = 0, outcome = 'gone' WHERE state = 1 AND endpoint_id = :endpoint
""")
END_WAITING = statement(f"""
UPDATE {_WAITING} SET state = 0, outcome = 'gone' WHERE state = 2 AND endpoint_id = :endpoint
""")

# Sends a delivery again from its beginning, whatever has come of it, if its endpoint is there. It names the fence that
# was read before, so that it changes nothing if it lands late.
REDELIVER = statement(f"""
UPDATE webhook_deliveries SET state = 2, outcome = NULL, fence = fence + 1, due_at = {NOW} + :held_ms,
  begun_at = {NOW}
WHERE state IN (0, 1, 2) AND {_ONE} AND fence = :fence
  AND EXISTS (SELECT 1 FROM webhook_endpoints WHERE id = :endpoint AND disabled_at IS NULL)
{_TAKEN}
""")

_SHOWN = "task_id, generation, endpoint_id, event, ended_at, state, fence, due_at, tries, outcome, attempts"

# Reads a task's deliveries, in order.
DELIVERIES = statement(f"""
SELECT {_SHOWN} FROM webhook_deliveries WHERE state IN (0, 1, 2) AND task_id = :task_key
ORDER BY generation, endpoint_id
""")
DELIVERY = statement(f"SELECT {_SHOWN} FROM webhook_deliveries WHERE state IN (0, 1, 2) AND {_ONE}")
