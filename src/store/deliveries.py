"""Webhook deliveries in D1: which sender may send each delivery, what came of the attempts, and what a client sees."""

import json
from collections.abc import Sequence
from typing import NamedTuple

from ..core import limits
from ..core.ids import TaskKey
from ..core.webhooks import AttemptFailure, DeliveryKey, DeliveryOutcome, EndpointKey
from .d1 import columns
from .d1.database import Row, Store
from .d1.statement import BoundStatement, Value, as_json
from .outbox import HELD_MS, Taken, delivery_key, taken
from .sql import deliveries as sql
from .sql import webhooks as endpoints

_KEPT_MS = round(limits.DELIVERY_SECONDS_KEPT * 1000)


class DueDelivery(NamedTuple):
    """A webhook delivery that is due, its fence, and how many attempts in a row have failed at its endpoint.

    If `astray` is set, the webhook delivery must not be sent, but ended or postponed.
    """

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
    """What came of an attempt to send a webhook delivery, to be recorded.

    Without an `outcome`, the webhook delivery's next attempt follows after `delay_ms`. `asked_ms` is how long the
    webhook endpoint asked us to wait.
    """

    taken: Taken
    attempt: Attempt
    outcome: DeliveryOutcome | None
    delay_ms: int = 0
    asked_ms: int = 0


class Delivery(NamedTuple):
    """A webhook delivery as the API shows it.

    `due_at` is the earliest time of the webhook delivery's next attempt, by the database's clock.
    """

    key: DeliveryKey
    event: str
    fence: int
    due_at: int
    tries: int
    outcome: DeliveryOutcome | None
    attempts: tuple[Attempt, ...]


class DeliveryStore(Store):
    """Reads and writes webhook deliveries for their sender and the API.

    Each method of `DeliveryStore` is one call to D1.
    """

    async def sort(self) -> None:
        """End webhook deliveries whose endpoint is gone or that are too old, and postpone those of paused endpoints."""
        walk_most, breaker = limits.DELIVERIES_WALK_MOST, limits.BREAKER_FAILURES
        await self._database.run(sql.SORT_DELIVERIES.bind(walk_most=walk_most, breaker=breaker, kept_ms=_KEPT_MS))

    async def take(self, due: Sequence[DueDelivery]) -> list[Taken]:
        """Take webhook deliveries for this sender, and return those that it may send.

        The write that takes webhook deliveries is sent only once, because the next sweep tries again. Webhook
        deliveries that another sender has taken are not returned. An endpoint that has failed too often is tried by one
        delivery at a time.
        """
        breaker, batch = limits.BREAKER_FAILURES, list[BoundStatement]()
        for one in due:
            held = {"held_ms": HELD_MS, "breaker": breaker}
            batch.append(sql.TAKE_DELIVERY.bind(**_named(one.key), fence=one.fence, **held))
            if one.failures >= breaker:
                batch.append(endpoints.PAUSE_FOR_TRIAL.bind(endpoint=one.key.endpoint_key, **held))
        found = await self._database.run(*batch, sends=1) if batch else []
        return [taken(row) for rows in found for row in rows]

    async def record(self, tried: Sequence[AttemptResult]) -> None:
        """Record attempts to send webhook deliveries, and what follows from the attempts for the endpoints.

        An attempt changes its webhook delivery only if no other caller has taken the delivery since.
        """
        await self._database.run(*(statement for one in tried for statement in _record(one)))

    async def redeliver(self, found: Delivery) -> Taken | None:
        """Start a webhook delivery anew, and reserve it for this sender.

        Returns None if the webhook delivery's endpoint is gone, or if another sender has taken the delivery.
        """
        (rows,) = await self._database.run(sql.REDELIVER.bind(**_named(found.key), fence=found.fence, held_ms=HELD_MS))
        return taken(rows[0]) if rows else None

    async def deliveries(self, task_key: TaskKey) -> list[Delivery]:
        """Read all webhook deliveries of a task."""
        (rows,) = await self._database.run(sql.DELIVERIES.bind(task_key=task_key))
        return [_delivery(row) for row in rows]

    async def delivery(self, key: DeliveryKey) -> Delivery | None:
        """Read one delivery.

        `delivery` also returns None if the key of the webhook delivery belongs to an earlier end of the task, because
        each end of a task has a delivery of its own.
        """
        (rows,) = await self._database.run(sql.DELIVERY.bind(**_named(key)))
        found = _delivery(rows[0]) if rows else None
        return found if found is not None and found.key == key else None


def look(plan: str) -> BoundStatement:
    """Make the statement that finds webhook deliveries to send, as a part of the sweep's transaction."""
    return sql.DUE_DELIVERIES.bind(
        most=limits.DELIVERIES_A_SWEEP[plan],
        of_each=limits.DELIVERIES_OF_ENDPOINT,
        breaker=limits.BREAKER_FAILURES,
        kept_ms=_KEPT_MS,
    )


def read_look(rows: Sequence[Row]) -> list[DueDelivery]:
    """Read due webhook deliveries from the rows of the statement that `look` makes."""
    return [
        DueDelivery(delivery_key(row), columns.whole(row, "fence"), bool(row["astray"]), columns.whole(row, "failures"))
        for row in rows
    ]


def end_all_of(endpoint: EndpointKey) -> tuple[BoundStatement, ...]:
    """Make the statements that end webhook deliveries of an endpoint that is gone.

    Each of the two statements ends at most DELIVERIES_WALK_MOST webhook deliveries; the sweep ends the rest.
    """
    tenant, most = endpoint.partition(":")[0], limits.DELIVERIES_WALK_MOST
    return (
        sql.END_FRESH.bind(endpoint=endpoint, first=f"{tenant}:", behind=f"{tenant};", most=most),
        sql.END_WAITING.bind(endpoint=endpoint, most=most),
    )


def _record(one: AttemptResult) -> list[BoundStatement]:
    attempt, endpoint = one.attempt, one.taken.key.endpoint_key
    recorded = sql.RECORD_ATTEMPT.bind(
        **_named(one.taken.key),
        fence=one.taken.fence,
        tries=one.taken.tries,
        outcome=one.outcome,
        delay_ms=one.delay_ms,
        attempt=as_json([attempt.at, attempt.status, attempt.milliseconds, attempt.failure]),
        shown_most=limits.DELIVERY_ATTEMPTS_SHOWN,
    )
    if attempt.failure is None:
        return [recorded, endpoints.NOTE_SUCCESS.bind(endpoint=endpoint, began_at=attempt.at)]
    if attempt.failure is AttemptFailure.GONE:
        return [recorded, endpoints.DISABLE.bind(endpoint=endpoint), *end_all_of(endpoint)]
    failed = endpoints.NOTE_FAILURE.bind(
        endpoint=endpoint,
        began_at=attempt.at,
        breaker=limits.BREAKER_FAILURES,
        weight=limits.BREAKER_WEIGHT_OF_TIMEOUT if attempt.failure is AttemptFailure.TIMEOUT else 1,
        asked_ms=one.asked_ms,
        pause_ms=round(limits.BREAKER_SECONDS_FIRST * 1000),
        pause_most_ms=round(limits.BREAKER_SECONDS_MOST * 1000),
    )
    return [recorded, failed]


def _named(key: DeliveryKey) -> dict[str, Value]:
    return {"task_key": key.task_key, "generation": key.generation, "endpoint": key.endpoint_key}


def _outcome(row: Row) -> DeliveryOutcome | None:
    text = columns.maybe_text(row, "outcome")
    return None if text is None else DeliveryOutcome(text)


def _delivery(row: Row) -> Delivery:
    tried = json.loads(columns.text(row, "attempts"))
    return Delivery(
        key=delivery_key(row),
        event=columns.text(row, "event"),
        fence=columns.whole(row, "fence"),
        due_at=columns.whole(row, "due_at"),
        tries=columns.whole(row, "tries"),
        outcome=_outcome(row),
        attempts=tuple(
            Attempt(at, status, ms, failure and AttemptFailure(failure)) for at, status, ms, failure in tried
        ),
    )
