"""Writes webhook deliveries in the same transaction that ends a task, for the endpoints that subscribe to the event."""

from collections.abc import Sequence
from typing import NamedTuple

from ..core import limits
from ..core.ids import TaskKey
from ..core.webhooks import DeliveryKey, EndpointKey
from .d1 import columns
from .d1.database import Row
from .d1.statement import BoundStatement, as_json
from .sql import deliveries as sql

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
        return sql.OUTBOX.bind(
            task_keys=as_json(task_keys),
            held_ms=HELD_MS,
            breaker=limits.BREAKER_FAILURES,
            share=limits.DELIVERIES_SHARE,
        )

    def wrote(self, rows: Sequence[Row], asked_at: float) -> None:
        """Remember the webhook deliveries that a transaction wrote for this invocation; the sweep sends the others."""
        self.fresh.extend((taken(row), asked_at) for row in rows if columns.whole(row, "state") == 1)


def delivery_key(row: Row) -> DeliveryKey:
    """Read the key of a webhook delivery from its row."""
    endpoint_key = EndpointKey(columns.text(row, "endpoint_id"))
    generation, ended_at = columns.whole(row, "generation"), columns.whole(row, "ended_at")
    return DeliveryKey(columns.task_key(row, "task_id"), generation, endpoint_key, ended_at)


def taken(row: Row) -> Taken:
    """Read a webhook delivery that the caller may send from its row."""
    return Taken(
        key=delivery_key(row),
        event=columns.text(row, "event"),
        url=columns.text(row, "url"),
        secret_generation=columns.whole(row, "secret_generation"),
        old_secret_signs=bool(row["old_secret_signs"]),
        begun_at=columns.whole(row, "begun_at"),
        fence=columns.whole(row, "fence"),
        tries=columns.whole(row, "tries"),
        tries_of_day=columns.whole(row, "tries_of_day"),
        now_ms=columns.whole(row, "now"),
    )
