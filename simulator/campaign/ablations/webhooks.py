"""Ablations of the safeguards of webhook deliveries: the outbox, the record of a delivery, and its claim."""

import asyncio
from collections.abc import Sequence
from random import Random
from typing import Any

from simulator.campaign.ablations import substitutes as without
from simulator.campaign.ablations.definition import Ablation
from simulator.campaign.clients.shares import beside_hanging, hooked
from simulator.campaign.clients.workload import Workload, draw
from simulator.campaign.runs import run
from src.features.webhooks import deliveries_store
from src.features.webhooks.deliveries_store import Outbox
from src.kernel.store.d1 import BoundStatement, Database
from src.kernel.store.fragments import NOW

_RUN = Database.run
_WROTE = Outbox.wrote


async def _outbox_apart(self: Database, *statements: BoundStatement, **options: Any) -> list[Sequence[Any]]:
    """Write the outbox in a separate transaction, after the one that ends the task."""
    if len(statements) > 1 and statements[-1].sql == deliveries_store.OUTBOX.sql:
        ended = await _RUN(self, *statements[:-1], **options)
        return [*ended, *await _RUN(self, statements[-1], **options)]
    return await _RUN(self, *statements, **options)


def _wrote_now(self: Outbox, rows: Sequence[Any], asked_at: float) -> None:
    """Let a sender's time for its deliveries begin at the database's answer instead of at the request."""
    _WROTE(self, rows, asyncio.get_running_loop().time())


def _told(rng: Random) -> Workload:
    """Draw tasks whose tenants have webhook endpoints."""
    return hooked(draw(rng))


# Under the faults in this table a sweep stands still while the next one works, sweeps send most deliveries, and
# receivers fail.
_SLOW = {"worker_frozen": 0.3, "d1_slow": 0.2, "wait_until_cut": 0.5, "receiver_hung": 0.3, "receiver_failed": 0.3}

# This patch makes the claim of a webhook delivery delete the delivery's row instead of marking it as claimed.
TAKEN_OFF = {
    "UPDATE webhook_deliveries SET state = 2, fence = fence + 1, due_at =": "DELETE FROM webhook_deliveries WHERE 0 <",
    "\nWHERE state IN (1, 2) AND": "\nAND state IN (1, 2) AND",
}

ABLATIONS = (
    Ablation(
        "outbox_in_the_ending_transaction",
        "what endpoints are to hear of an end is written with it",
        ((Database, "run", _outbox_apart),),
        {},
        _told,
    ),
    Ablation(
        "endpoint_there_at_the_end",
        "an endpoint that is gone is not told of what ends after it",
        (without.swapped("OUTBOX", "AND disabled_at IS NULL", "AND 1"),),
        {"receiver_gone": 1.0, "d1_slow": 0.2, "worker_frozen": 0.15},
        _told,
    ),
    Ablation(
        "time_of_who_ended_a_task",
        "who has ended a task has its deliveries from when it asked, not from when it was answered",
        ((Outbox, "wrote", _wrote_now),),
        {"worker_frozen": 0.15, "d1_slow": 0.3},
        _told,
    ),
    Ablation(
        "record_of_a_delivery",
        "a delivery that somebody takes on stays on record",
        (without.swapped_parts("TAKE_DELIVERY", TAKEN_OFF),),
        {"receiver_failed": 0.3},
        _told,
    ),
    Ablation(
        "consumer_free_of_deliveries",
        "a queue consumer takes the next task while the webhooks of the last one are sent",
        ((run, "CONSUMERS_WAIT", True),),
        {},
        beside_hanging,
    ),
    Ablation(
        "share_of_deliveries",
        "a tenant has a share of the deliveries that are under way",
        (without.swapped("OUTBOX", "OR crowded)", "OR crowded AND 0)"),),
        {},
        beside_hanging,
    ),
    Ablation(
        "one_try_at_a_time",
        "an endpoint that has failed too often is tried by one delivery at a time",
        (
            without.swapped("DUE_DELIVERIES", "WHEN failures >= :breaker THEN 1", "WHEN failures >= :breaker THEN 3"),
            without.swapped("PAUSE_FOR_TRIAL", "failures >= :breaker", "failures < 0 AND :breaker > 0"),
        ),
        {},
        beside_hanging,
    ),
    Ablation(
        "claim_of_a_delivery",
        "of two that find a delivery due one sends it",
        (without.swapped("TAKE_DELIVERY", f"AND fence = :fence AND due_at <= {NOW}", "AND :fence >= 0"),),
        _SLOW,
        _told,
    ),
)
