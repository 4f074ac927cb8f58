"""Webhook deliveries in D1: which sender may send each delivery, what came of the attempts, and what a client sees.

A delivery is written in the transaction that ends its task, for each endpoint that subscribes to the event; then a
sender takes it under a fence and attempts to send it. The parameters `:task_key`, `:generation` and `:endpoint` (the
endpoint's key, which begins with its tenant) together name a delivery.
"""

import json
from collections.abc import Sequence
from typing import NamedTuple

from ...kernel.domain import limits
from ...kernel.domain.ids import TaskKey
from ...kernel.domain.task import DEADLINE_EXCEEDED
from ...kernel.store import d1
from ...kernel.store.d1 import BoundStatement, Row, Store, Value, as_json, statement
from ...kernel.store.fragments import KNOWN_KIND, LISTED, NOW
from .rules import AttemptFailure, DeliveryKey, DeliveryOutcome, EndpointKey

# The event that an ended task causes, and that webhooks can subscribe to. The column `response` is not NULL for a task
# that came from `/v1`. A batch has ended only when its files are complete.
_EVENT = f"""CASE WHEN kind = 'batch' THEN 'batch.' || iif(error_code = '{DEADLINE_EXCEEDED}', 'expired', status)
    WHEN response IS NULL THEN 'task.' || status
    WHEN status = 'completed' AND truncated + failed > 0 THEN 'response.incomplete' ELSE 'response.' || status END"""

_ONE = "task_id = :task_key AND generation = :generation AND endpoint_id = :endpoint"
_OPEN = f"state IN (1, 2) AND {_ONE}"


def _of_endpoint(column: str) -> str:
    return f"(SELECT {column} FROM webhook_endpoints WHERE webhook_endpoints.id = endpoint_id)"


# What a sender needs: the URL, which of the endpoint's secrets sign, and the database's time.
_TAKEN = f"""RETURNING task_id, generation, endpoint_id, event, ended_at, begun_at, fence, tries, {NOW} AS now,
  (SELECT count(*) FROM json_each(attempts) WHERE json_extract(value, '$[0]') >= begun_at) AS tries_of_day,
  {_of_endpoint("url")} AS url, {_of_endpoint("secret_generation")} AS secret_generation,
  {_of_endpoint(f"old_secret_until > {NOW}")} AS old_secret_signs"""

# For each end of the given tasks, writes one webhook delivery for each endpoint of the task's tenant that subscribes to
# the event. Tasks that have not ended are left out. OUTBOX follows each statement that ends tasks, in the same
# transaction. If that is repeated, the delivery stays that the first run wrote. An endpoint gets deliveries about tasks
# that ended after its creation or in the minute before it, in case the database's clock was set back: one message too
# many is better than one too few. A caller that gets a row may send its delivery, which no other may for `:held_ms`.
# An endpoint that has failed too often is paused. Then the sweep sends it one delivery as a trial, and until a trial
# succeeds, all others wait for the sweep. So do the deliveries of a tenant that has `:share` others under way; the
# tenant's newest tasks suffice to count these.
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
# A condition on a due delivery: it must not be sent now. It is over if its endpoint is gone, or if it began at least
# `:kept_ms` ago. One that was never sent must wait if its endpoint is paused.
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

# Handles due webhook deliveries that must not be sent now. One that is over gets its outcome, 'gone' or 'exhausted'.
# One for a paused endpoint is recorded as waiting for it, so that it no longer blocks the tenant's other deliveries.
# Reads `:walk_most` webhook deliveries of each tenant and of each endpoint, and changes at most `:walk_most`.
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

# Takes a webhook delivery for a sender for `:held_ms`. It names the fence that the delivery had when it was read, so of
# two senders at once the second takes nothing, and neither does a TAKE_DELIVERY that arrives late. A delivery whose
# endpoint is gone, or paused after too many failures, is not taken.
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

# End the remaining deliveries of a webhook endpoint that answered 410 or is deleted, at most `:most` each; the sweep
# ends the others. The tenant's task keys are from `:first` on and below `:behind`.
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

# Starts a webhook delivery anew, whatever its outcome was, if its endpoint still exists. It names the fence that the
# delivery had when it was read, so that it changes nothing if it arrives late.
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

_ENDPOINT = f"""id, name, url, event_types, secret_generation, old_secret_until > {NOW} AS old_secret_signs, failures,
  paused_until, failed_attempts, last_failure, disabled_at, created_at, updated_at"""

# A condition: the endpoint's key is from `:first` on and below `:behind`, as are all of one tenant.
_OF_TENANT = "id >= :first AND id < :behind"

# Writes a webhook endpoint unless its tenant already has `:most` endpoints. A second send changes nothing, because the
# caller chose the key. If it arrives after the deletion, the tombstone `:grave` stops it. `:event_types`: a JSON list.
INSERT_ENDPOINT = statement(f"""
INSERT INTO webhook_endpoints (id, name, url, event_types, created_at, updated_at)
SELECT :endpoint, :name, :url, :event_types, {NOW}, {NOW}
WHERE (SELECT count(*) FROM webhook_endpoints WHERE {_OF_TENANT}) < :most
  AND NOT EXISTS (SELECT 1 FROM tombstones WHERE id = :grave)
ON CONFLICT DO NOTHING
""")

ENDPOINT = statement(f"SELECT {_ENDPOINT} FROM webhook_endpoints WHERE id = :endpoint")

# Reads a tenant's webhook endpoints, oldest first. A tenant has few endpoints.
LIST_ENDPOINTS = statement(f"SELECT {_ENDPOINT} FROM webhook_endpoints WHERE {_OF_TENANT} ORDER BY created_at, id")

# Gives a webhook endpoint a new secret. The previous one also signs for another `:old_ms`. ROTATE names the generation
# that the secret had when it was read, so that it changes nothing if it arrives after another rotation.
ROTATE = statement(f"""
UPDATE webhook_endpoints SET secret_generation = secret_generation + 1, old_secret_until = {NOW} + :old_ms,
  updated_at = {NOW}
WHERE id = :endpoint AND secret_generation = :generation
""")

# Leaves a tombstone of a webhook endpoint that is about to be deleted, because its own write may still arrive. With
# `:unseen` also of one that does not exist, because the write that creates it may have failed, and still arrive.
BURY_ENDPOINT = statement(f"""
INSERT INTO tombstones (id, until) SELECT :grave, {NOW} + :tombstone_ms
WHERE :unseen OR EXISTS (SELECT 1 FROM webhook_endpoints WHERE id = :endpoint)
ON CONFLICT DO NOTHING
""")
# Counts the endpoints of all tenants whose last `:least` attempts failed.
COUNT_FAILING = statement("""
SELECT count(*) AS failing FROM webhook_endpoints WHERE failed_attempts >= :least AND disabled_at IS NULL
""")
DELETE_ENDPOINT = statement("DELETE FROM webhook_endpoints WHERE id = :endpoint RETURNING id")

# --- What attempts say about an endpoint -----------------------------------------------------------------
# If one of these takes effect late or twice, a pause of the endpoint becomes too long or too short, and nothing else.
# `:began_at` is when the attempt to send a webhook delivery began.

# Records that an attempt succeeded, unless the endpoint has no failures. A pause that began after it is not ended.
NOTE_SUCCESS = statement("""
UPDATE webhook_endpoints SET failures = 0, failed_attempts = 0, last_failure = NULL,
  paused_until = CASE WHEN paused_at <= :began_at THEN 0 ELSE paused_until END
WHERE id = :endpoint AND (failed_attempts > 0 OR failures > 0 OR (paused_until > 0 AND paused_at <= :began_at))
""")

# How many failures in a row an endpoint has with this one.
_FAILURES = "iif(paused_at <= :began_at, max(failures + 1, min(:breaker, failures + :weight)), failures)"

# Records that an attempt failed, which counts as `:weight` failures until the endpoint has `:breaker` of them, and then
# as one. After `:breaker` failures in a row the endpoint is paused for `:pause_ms`, doubled with each further failure
# up to `:pause_most_ms`, or for `:asked_ms` if it asked for more. `paused_at` is the time of the last counted failure,
# so of attempts that fail at the same time only one counts, and none that began before a pause. `failed_attempts` has
# all of them.
_COUNTS = f"(paused_at <= :began_at OR (:asked_ms > 0 AND paused_until < {NOW} + :asked_ms))"
NOTE_FAILURE = statement(f"""
UPDATE webhook_endpoints SET failed_attempts = failed_attempts + 1, last_failure = :failure, failures = {_FAILURES},
  paused_at = iif({_COUNTS}, {NOW}, paused_at),
  paused_until = iif({_COUNTS}, max(paused_until, {NOW} + max(:asked_ms,
    CASE WHEN paused_at > :began_at OR {_FAILURES} < :breaker THEN 0
    ELSE min(:pause_most_ms, :pause_ms << min({_FAILURES} - :breaker, 16)) END)), paused_until)
WHERE id = :endpoint
""")

# Pauses an endpoint with `:breaker` failures in a row while one delivery is tried, for `:held_ms` if its sender dies.
PAUSE_FOR_TRIAL = statement(f"""
UPDATE webhook_endpoints SET paused_until = {NOW} + :held_ms
WHERE id = :endpoint AND failures >= :breaker AND paused_until <= {NOW}
""")

# Disables a webhook endpoint for good, because it answered 410.
DISABLE = statement(f"UPDATE webhook_endpoints SET disabled_at = {NOW} WHERE id = :endpoint AND disabled_at IS NULL")

HELD_MS = round(limits.DELIVERY_HELD_SECONDS * 1000)


class Taken(NamedTuple):
    """A webhook delivery that its taker may send until DELIVERY_HELD_SECONDS after `now_ms`, by the database's clock.

    `tries` counts all earlier attempts to send the webhook delivery. `tries_of_day` counts the attempts since
    `begun_at` (ms since the epoch), as far as the attempts are stored.
    """

    key: DeliveryKey
    event: str
    url: str
    secret_generation: int
    old_secret_signs: bool
    begun_at: int
    fence: int
    tries: int
    tries_of_day: int
    now_ms: int


class Outbox:
    """Writes webhook deliveries where this invocation ends tasks.

    `fresh` are the deliveries that it has just written, and that no other may send within the next minute. Each has the
    time at which its write was sent, by the invocation's clock.
    """

    def __init__(self) -> None:
        self.fresh: list[tuple[Taken, float]] = []

    def ended(self, task_keys: Sequence[TaskKey]) -> BoundStatement:
        """Make the statement that writes webhook deliveries, to follow every statement that ends tasks."""
        return OUTBOX.bind(
            task_keys=as_json(task_keys),
            held_ms=HELD_MS,
            breaker=limits.BREAKER_FAILURES,
            share=limits.DELIVERIES_SHARE,
        )

    def wrote(self, rows: Sequence[Row], asked_at: float) -> None:
        """Remember the webhook deliveries that a transaction wrote for this invocation; the sweep sends the others."""
        self.fresh.extend((taken(row), asked_at) for row in rows if d1.whole(row, "state") == 1)


def delivery_key(row: Row) -> DeliveryKey:
    """Read the key of a webhook delivery from its row."""
    endpoint_key = EndpointKey(d1.text(row, "endpoint_id"))
    generation, ended_at = d1.whole(row, "generation"), d1.whole(row, "ended_at")
    return DeliveryKey(d1.task_key(row, "task_id"), generation, endpoint_key, ended_at)


def taken(row: Row) -> Taken:
    """Read a webhook delivery that the caller may send from its row."""
    return Taken(
        key=delivery_key(row),
        event=d1.text(row, "event"),
        url=d1.text(row, "url"),
        secret_generation=d1.whole(row, "secret_generation"),
        old_secret_signs=bool(row["old_secret_signs"]),
        begun_at=d1.whole(row, "begun_at"),
        fence=d1.whole(row, "fence"),
        tries=d1.whole(row, "tries"),
        tries_of_day=d1.whole(row, "tries_of_day"),
        now_ms=d1.whole(row, "now"),
    )


_KEPT_MS = round(limits.DELIVERY_SECONDS_KEPT * 1000)


class DueDelivery(NamedTuple):
    """A due delivery, and how many attempts in a row failed at its endpoint. `astray`: it must not be sent."""

    key: DeliveryKey
    fence: int
    astray: bool
    failures: int


class Attempt(NamedTuple):
    """An attempt to send a webhook delivery: its time (ms since the epoch), HTTP status, duration and failure."""

    at: int
    status: int | None
    milliseconds: int
    failure: AttemptFailure | None


class AttemptResult(NamedTuple):
    """What came of an attempt. Without an `outcome` the next follows in `delay_ms`.

    `asked_ms` is for how long the endpoint asked us to wait, DELIVERY_RETRY_AFTER_SECONDS_MOST at most, or 0.
    """

    taken: Taken
    attempt: Attempt
    outcome: DeliveryOutcome | None
    delay_ms: int = 0
    asked_ms: int = 0


class Delivery(NamedTuple):
    """A delivery as the API shows it. `due_at` is when it is tried next, at the earliest, by the database's clock."""

    key: DeliveryKey
    event: str
    fence: int
    due_at: int
    tries: int
    outcome: DeliveryOutcome | None
    attempts: tuple[Attempt, ...]


class DeliveryStore(Store):
    """Reads and writes webhook deliveries for their sender and the API. Each method is one call to D1."""

    async def sort(self) -> None:
        """End webhook deliveries whose endpoint is gone or that are too old, and postpone those of paused endpoints."""
        walk_most, breaker = limits.DELIVERIES_WALK_MOST, limits.BREAKER_FAILURES
        await self._database.run(SORT_DELIVERIES.bind(walk_most=walk_most, breaker=breaker, kept_ms=_KEPT_MS))

    async def take(self, due: Sequence[DueDelivery]) -> list[Taken]:
        """Take webhook deliveries for this sender, and return those that no other has taken.

        The write is sent only once, because the next sweep tries again. An endpoint that has failed too often is tried
        by one delivery at a time.
        """
        breaker, batch = limits.BREAKER_FAILURES, list[BoundStatement]()
        for one in due:
            held = {"held_ms": HELD_MS, "breaker": breaker}
            batch.append(TAKE_DELIVERY.bind(**_named(one.key), fence=one.fence, **held))
            if one.failures >= breaker:
                batch.append(PAUSE_FOR_TRIAL.bind(endpoint=one.key.endpoint_key, **held))
        found = await self._database.run(*batch, sends=1) if batch else []
        return [taken(row) for rows in found for row in rows]

    async def record(self, tried: Sequence[AttemptResult]) -> None:
        """Record attempts, and what follows for the endpoints; nothing for a delivery taken by others since."""
        await self._database.run(*(statement for one in tried for statement in _record(one)))

    async def redeliver(self, found: Delivery) -> Taken | None:
        """Start a delivery anew for this sender. None: its endpoint is gone, or another sender has it."""
        (rows,) = await self._database.run(REDELIVER.bind(**_named(found.key), fence=found.fence, held_ms=HELD_MS))
        return taken(rows[0]) if rows else None

    async def deliveries(self, task_key: TaskKey) -> list[Delivery]:
        """Read all webhook deliveries of a task."""
        (rows,) = await self._database.run(DELIVERIES.bind(task_key=task_key))
        return [_delivery(row) for row in rows]

    async def delivery(self, key: DeliveryKey) -> Delivery | None:
        """Read a delivery. None also for a key of an earlier end of the task, which has its own delivery."""
        (rows,) = await self._database.run(DELIVERY.bind(**_named(key)))
        found = _delivery(rows[0]) if rows else None
        return found if found is not None and found.key == key else None


def look(plan: str) -> BoundStatement:
    """Make the statement that finds webhook deliveries to send, as a part of the sweep's transaction."""
    return DUE_DELIVERIES.bind(
        most=limits.DELIVERIES_A_SWEEP[plan],
        of_each=limits.DELIVERIES_OF_ENDPOINT,
        breaker=limits.BREAKER_FAILURES,
        kept_ms=_KEPT_MS,
    )


def read_look(rows: Sequence[Row]) -> list[DueDelivery]:
    """Read due webhook deliveries from the rows of the statement that `look` makes."""
    return [
        DueDelivery(delivery_key(row), d1.whole(row, "fence"), bool(row["astray"]), d1.whole(row, "failures"))
        for row in rows
    ]


def end_all_of(endpoint: EndpointKey) -> tuple[BoundStatement, ...]:
    """Make the statements that end up to DELIVERIES_WALK_MOST deliveries each of an endpoint that is gone."""
    tenant, most = endpoint.partition(":")[0], limits.DELIVERIES_WALK_MOST
    return (
        END_FRESH.bind(endpoint=endpoint, first=f"{tenant}:", behind=f"{tenant};", most=most),
        END_WAITING.bind(endpoint=endpoint, most=most),
    )


def _record(one: AttemptResult) -> list[BoundStatement]:
    attempt, endpoint = one.attempt, one.taken.key.endpoint_key
    recorded = RECORD_ATTEMPT.bind(
        **_named(one.taken.key),
        fence=one.taken.fence,
        tries=one.taken.tries,
        outcome=one.outcome,
        delay_ms=one.delay_ms,
        attempt=as_json([attempt.at, attempt.status, attempt.milliseconds, attempt.failure]),
        shown_most=limits.DELIVERY_ATTEMPTS_SHOWN,
    )
    if attempt.failure is None:
        return [recorded, NOTE_SUCCESS.bind(endpoint=endpoint, began_at=attempt.at)]
    if attempt.failure is AttemptFailure.GONE:
        return [recorded, DISABLE.bind(endpoint=endpoint), *end_all_of(endpoint)]
    failed = NOTE_FAILURE.bind(
        endpoint=endpoint,
        began_at=attempt.at,
        failure=attempt.failure,
        breaker=limits.BREAKER_FAILURES,
        weight=limits.BREAKER_WEIGHT_OF_TIMEOUT if attempt.failure is AttemptFailure.TIMEOUT else 1,
        asked_ms=one.asked_ms,
        pause_ms=round(limits.BREAKER_SECONDS_FIRST * 1000),
        pause_most_ms=round(limits.BREAKER_SECONDS_MOST * 1000),
    )
    return [recorded, failed]


def _named(key: DeliveryKey) -> dict[str, Value]:
    return {"task_key": key.task_key, "generation": key.generation, "endpoint": key.endpoint_key}


def _delivery(row: Row) -> Delivery:
    tried = json.loads(d1.text(row, "attempts"))
    return Delivery(
        key=delivery_key(row),
        event=d1.text(row, "event"),
        fence=d1.whole(row, "fence"),
        due_at=d1.whole(row, "due_at"),
        tries=d1.whole(row, "tries"),
        outcome=None if row["outcome"] is None else DeliveryOutcome(d1.text(row, "outcome")),
        attempts=tuple(
            Attempt(at, status, ms, failure and AttemptFailure(failure)) for at, status, ms, failure in tried
        ),
    )
