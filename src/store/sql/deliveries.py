"""The SQL of webhook deliveries.

A webhook delivery is written when its task ends; then a sender takes it under a fence and attempts to send it. The
parameters `:task_key`, `:generation` and `:endpoint` (the endpoint's key) together name a webhook delivery.
"""

from ...core.task import DEADLINE_EXCEEDED
from ..d1.statement import statement
from .fragments import KNOWN_KIND, LISTED, NOW

# The event that an ended task causes, and that webhooks can subscribe to. The column `response` is not NULL for a task
# that came from `/v1`. A batch has ended only when its files are complete.
_EVENT = f"""CASE WHEN kind = 'batch' THEN 'batch.' || iif(error_code = '{DEADLINE_EXCEEDED}', 'expired', status)
    WHEN response IS NULL THEN 'task.' || status
    WHEN status = 'completed' AND truncated + failed > 0 THEN 'response.incomplete' ELSE 'response.' || status END"""

_ONE = "task_id = :task_key AND generation = :generation AND endpoint_id = :endpoint"
_OPEN = f"state IN (1, 2) AND {_ONE}"


def _of_endpoint(column: str) -> str:
    return f"(SELECT {column} FROM webhook_endpoints WHERE webhook_endpoints.id = endpoint_id)"


# The values that a sender of a webhook delivery needs: the URL, which of the endpoint's secrets sign, and the
# database's time.
_TAKEN = f"""RETURNING task_id, generation, endpoint_id, event, ended_at, begun_at, fence, tries, {NOW} AS now,
  (SELECT count(*) FROM json_each(attempts) WHERE json_extract(value, '$[0]') >= begun_at) AS tries_of_day,
  {_of_endpoint("url")} AS url, {_of_endpoint("secret_generation")} AS secret_generation,
  {_of_endpoint(f"old_secret_until > {NOW}")} AS old_secret_signs"""

# For each end of the given tasks, writes one webhook delivery for each endpoint of the task's tenant that subscribes to
# the event. Tasks that have not ended are left out. OUTBOX follows each statement that ends tasks, in the same
# transaction. Without a subscribed webhook endpoint OUTBOX writes nothing. An endpoint gets deliveries about tasks that
# ended after the endpoint's creation or in the minute before it. The minute is added in case the database's clock was
# set back: one message too many is better than one too few. For a task that has not ended, OUTBOX writes no webhook
# delivery. If the transaction is repeated, OUTBOX keeps the webhook delivery that the first run wrote. A caller that
# gets a row may send the row's webhook delivery, which no other caller may send for `:held_ms`. A webhook endpoint that
# has failed too often is paused. After the pause of a webhook endpoint, the sweep sends the endpoint one delivery as a
# trial. Until such a trial succeeds, all other webhook deliveries for the endpoint wait for the sweep, too. So do the
# deliveries of a tenant that has `:share` others under way; the tenant's newest tasks suffice to count these.
_CROWDED = f""":share <= (SELECT count(*) FROM (
    SELECT due_at FROM webhook_deliveries WHERE state = 1 AND task_id > tenant || ':' AND task_id < tenant || ';'
    ORDER BY task_id DESC LIMIT :share) WHERE due_at > {NOW})"""
OUTBOX = statement(f"""
INSERT INTO webhook_deliveries (state, task_id, generation, endpoint_id, event, ended_at, begun_at, due_at)
SELECT 1 + (paused_until > {NOW} OR failures >= :breaker OR crowded), ended.id, generation, endpoints.id, event,
  finished_at, {NOW}, max({NOW} + :held_ms, paused_until)
FROM (
  SELECT id, tenant, generation, finished_at, {_EVENT} AS event, {_CROWDED} AS crowded FROM tasks WHERE {LISTED}
    AND finished_at IS NOT NULL AND {KNOWN_KIND}
    AND (kind IS NOT 'batch' OR EXISTS (SELECT 1 FROM batches WHERE task_id = tasks.id AND ended_at IS NOT NULL))
) AS ended CROSS JOIN webhook_endpoints AS endpoints
WHERE endpoints.id > ended.tenant || ':' AND endpoints.id < ended.tenant || ';'
  AND disabled_at IS NULL AND endpoints.created_at <= finished_at + 60000
  AND EXISTS (SELECT 1 FROM json_each(event_types) WHERE value = event)
  AND NOT EXISTS (SELECT 1 FROM webhook_deliveries AS known WHERE known.state IN (0, 1, 2)
    AND known.task_id = ended.id AND known.generation = ended.generation AND known.endpoint_id = endpoints.id)
ON CONFLICT DO NOTHING
{_TAKEN}, state
""")

# The table of webhook deliveries is read through the index of waiting deliveries, because SQLite's planner would prefer
# the primary key and read the whole table. `waiting` finds the webhook endpoints with waiting deliveries, one by one.
# `unsent` finds the tenants with webhook deliveries that were never sent, one by one, each by its first delivery.
_WAITING = "webhook_deliveries INDEXED BY webhook_deliveries_waiting"
_TENANT = "substr(first, 1, instr(first, ':') - 1)"
_FOUND = f"""WITH RECURSIVE waiting (endpoint) AS (
  SELECT min(endpoint_id) FROM {_WAITING} WHERE state = 2
  UNION ALL SELECT (SELECT min(endpoint_id) FROM {_WAITING} WHERE state = 2 AND endpoint_id > endpoint)
  FROM waiting WHERE endpoint IS NOT NULL
), unsent (first) AS (
  SELECT min(task_id) FROM webhook_deliveries WHERE state = 1
  UNION ALL SELECT (SELECT min(task_id) FROM webhook_deliveries WHERE state = 1 AND task_id > {_TENANT} || ';')
  FROM unsent WHERE first IS NOT NULL
)"""
_KEY_COLUMNS = "due.task_id, due.generation, due.endpoint_id"
_KEY = f"({_KEY_COLUMNS})"


def _of_tenant(most: str) -> str:
    return f"""due.state = 1 AND {_KEY} IN (
    SELECT own.task_id, own.generation, own.endpoint_id FROM webhook_deliveries AS own
    WHERE own.state = 1 AND own.task_id >= first AND own.task_id < {_TENANT} || ';' AND own.due_at <= {NOW}
    LIMIT {most})"""


def _of_waiting(most: str) -> str:
    return f"""due.state = 2 AND {_KEY} IN (
    SELECT own.task_id, own.generation, own.endpoint_id FROM webhook_deliveries AS own
    WHERE own.state = 2 AND own.endpoint_id = endpoint AND own.due_at <= {NOW} ORDER BY own.due_at LIMIT {most})"""


_THERE = "SELECT 1 FROM webhook_endpoints AS there WHERE there.id = endpoint_id AND disabled_at IS NULL"
_OVER = f"CASE WHEN NOT EXISTS ({_THERE}) THEN 'gone' WHEN begun_at <= {NOW} - :kept_ms THEN 'exhausted' END"
_PAUSED = f"coalesce({_of_endpoint(f'paused_until > {NOW} OR failures >= :breaker')}, 0)"
# A condition on a webhook delivery that is due: it must not be sent now. A webhook delivery is over if its endpoint is
# gone, or if the delivery began at least `:kept_ms` ago. A webhook delivery that was never sent must wait if its
# endpoint is paused.
_ASTRAY = f"({_OVER} IS NOT NULL OR (state = 1 AND {_PAUSED}))"

_FOUND_COLUMNS = "task_id, generation, endpoint_id, ended_at, fence, astray, failures"

# Finds at most `:most` webhook deliveries to send: the first delivery of each tenant, then the second of each, and so
# on, and within a tenant likewise by endpoint. A webhook endpoint whose last attempt failed gets at most `:of_each`
# deliveries, an endpoint whose pause is over gets one, and a paused endpoint gets none. `astray` in a row says that the
# delivery must be handled by SORT_DELIVERIES. DUE_DELIVERIES reads at most `:most` webhook deliveries of each tenant
# and of each endpoint.
DUE_DELIVERIES = statement(f"""
{_FOUND}, found AS (
  SELECT due.state, {_KEY_COLUMNS}, due.ended_at, due.fence, due.due_at, due.begun_at FROM unsent
  CROSS JOIN webhook_deliveries AS due ON {_of_tenant(":most")}
  UNION ALL
  SELECT due.state, {_KEY_COLUMNS}, due.ended_at, due.fence, due.due_at, due.begun_at FROM waiting
  LEFT JOIN webhook_endpoints AS paused ON paused.id = endpoint AND paused_until > {NOW}
  CROSS JOIN webhook_deliveries AS due ON paused.id IS NULL AND {_of_waiting(":most")}
), judged AS (
  SELECT *, {_ASTRAY} AS astray, coalesce({_of_endpoint("failures")}, 0) AS failures FROM found
), placed AS MATERIALIZED (
  SELECT *, row_number() OVER (PARTITION BY endpoint_id, astray ORDER BY due_at, task_id) AS place FROM judged
)
SELECT * FROM (
  SELECT {_FOUND_COLUMNS} FROM placed WHERE NOT astray
    AND place <= CASE WHEN failures >= :breaker THEN 1 WHEN failures > 0 THEN :of_each ELSE :most END
  ORDER BY row_number() OVER (
    PARTITION BY substr(endpoint_id, 1, instr(endpoint_id, ':')) ORDER BY place, failures, due_at, task_id
  ), failures, due_at, task_id LIMIT :most
) UNION ALL SELECT * FROM (SELECT {_FOUND_COLUMNS} FROM placed WHERE astray LIMIT 1)
""")

# Handles due webhook deliveries that must not be sent now. A webhook delivery that is over gets its outcome, 'gone' or
# 'exhausted'. A webhook delivery for a paused endpoint is recorded as waiting for that endpoint, so that it no longer
# blocks the tenant's other deliveries. SORT_DELIVERIES reads `:walk_most` webhook deliveries of each tenant and of each
# endpoint, and changes at most `:walk_most`.
SORT_DELIVERIES = statement(f"""
{_FOUND}
UPDATE webhook_deliveries SET outcome = {_OVER}, state = CASE WHEN {_OVER} IS NULL THEN 2 ELSE 0 END,
  due_at = max(due_at, coalesce({_of_endpoint("paused_until")}, 0))
WHERE state IN (1, 2) AND (task_id, generation, endpoint_id) IN (
  SELECT task_id, generation, endpoint_id FROM (
    SELECT due.state, due.task_id, due.generation, due.endpoint_id, due.begun_at FROM unsent
    CROSS JOIN webhook_deliveries AS due ON {_of_tenant(":walk_most")}
    UNION ALL
    SELECT due.state, due.task_id, due.generation, due.endpoint_id, due.begun_at FROM waiting
    CROSS JOIN webhook_deliveries AS due ON {_of_waiting(":walk_most")}
  ) WHERE {_ASTRAY} LIMIT :walk_most)
""")

# Takes a webhook delivery for a sender for `:held_ms`. TAKE_DELIVERY names the fence that the delivery had when it was
# read. Therefore, if two senders come at once, the second takes no webhook delivery, and neither does a TAKE_DELIVERY
# that arrives late. A webhook delivery whose endpoint is gone is not taken, nor one whose endpoint is paused after too
# many failures.
TAKE_DELIVERY = statement(f"""
UPDATE webhook_deliveries SET state = 2, fence = fence + 1, due_at = {NOW} + :held_ms
WHERE {_OPEN} AND fence = :fence AND due_at <= {NOW}
  AND EXISTS (SELECT 1 FROM webhook_endpoints WHERE id = :endpoint AND disabled_at IS NULL
    AND (failures < :breaker OR paused_until <= {NOW}))
{_TAKEN}
""")

# Records an attempt to send a webhook delivery, under the delivery's fence: the attempt's result as a JSON list, and
# the delivery's outcome, which is NULL if the delivery is tried again after `:delay_ms`. `:tries` is the number of
# attempts before this one, so that a second send of the statement does not record the attempt again.
RECORD_ATTEMPT = statement(f"""
UPDATE webhook_deliveries SET state = CASE WHEN :outcome IS NULL THEN 2 ELSE 0 END, outcome = :outcome,
  tries = tries + 1, due_at = {NOW} + :delay_ms, attempts = json_insert(
    CASE WHEN json_array_length(attempts) >= :shown_most THEN json_remove(attempts, '$[0]') ELSE attempts END,
    '$[#]', json(:attempt))
WHERE {_OPEN} AND fence = :fence AND tries = :tries
RETURNING state
""")

# END_FRESH and END_WAITING end the remaining deliveries of a webhook endpoint that answered 410 or is deleted; each
# statement ends at most `:most` deliveries. The sweep ends the remaining ones later. The tenant's task keys are from
# `:first` on and below `:behind`.
END_FRESH = statement("""
UPDATE webhook_deliveries SET state = 0, outcome = 'gone'
WHERE state = 1 AND (task_id, generation, endpoint_id) IN (
  SELECT task_id, generation, endpoint_id FROM webhook_deliveries
  WHERE state = 1 AND task_id > :first AND task_id < :behind AND endpoint_id = :endpoint LIMIT :most)
""")
END_WAITING = statement(f"""
UPDATE webhook_deliveries SET state = 0, outcome = 'gone'
WHERE state = 2 AND (task_id, generation, endpoint_id) IN (
  SELECT task_id, generation, endpoint_id FROM {_WAITING} WHERE state = 2 AND endpoint_id = :endpoint LIMIT :most)
""")

# Starts a webhook delivery anew, whatever its outcome was, if its endpoint still exists. REDELIVER names the fence that
# the delivery had when it was read, so that REDELIVER changes nothing if it arrives late.
REDELIVER = statement(f"""
UPDATE webhook_deliveries SET state = 2, outcome = NULL, fence = fence + 1, due_at = {NOW} + :held_ms,
  begun_at = {NOW}
WHERE state IN (0, 1, 2) AND {_ONE} AND fence = :fence
  AND EXISTS (SELECT 1 FROM webhook_endpoints WHERE id = :endpoint AND disabled_at IS NULL)
{_TAKEN}
""")

_SHOWN = "task_id, generation, endpoint_id, event, ended_at, state, fence, due_at, tries, outcome, attempts"

# Reads a task's webhook deliveries, in the order of the task's generations.
DELIVERIES = statement(f"""
SELECT {_SHOWN} FROM webhook_deliveries WHERE state IN (0, 1, 2) AND task_id = :task_key
ORDER BY generation, endpoint_id
""")
DELIVERY = statement(f"SELECT {_SHOWN} FROM webhook_deliveries WHERE state IN (0, 1, 2) AND {_ONE}")
