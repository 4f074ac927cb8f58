"""Makes the worker of a new invocation, with all features, and its sweeps."""

import asyncio
from collections.abc import Sequence
from typing import Any

from src.composition import JOINER_OF, duties, with_features
from src.core.meter import Meter
from src.processing.dispatch import Sender
from src.processing.invocation import Memory
from src.processing.log import Log
from src.processing.sweep.sweep import Sweep
from src.processing.worker import Worker
from src.store.d1.database import D1, Database
from src.store.deliveries import DueDelivery, look, read_look
from src.store.hooks import Hooks
from src.store.outbox import Outbox
from src.store.tasks import TaskStore
from tests.support.courier import FakeCourier


class Unsent(Outbox):
    """Writes webhook deliveries where tasks end, and sends none."""

    def begin(self) -> None:
        """Do nothing."""


def task_store(database: Database) -> TaskStore:
    """Return a store that writes deliveries, as those of the Worker do."""
    return TaskStore(database, Hooks([Unsent()], JOINER_OF))


def new_worker(binding: D1, **fields: Any) -> Worker:
    """Return the worker of a new invocation. `fields` replace what it, or its new isolate, has by default."""
    meter, isolate = fields.pop("meter", None) or Meter(), fields.pop("isolate", None) or Memory()
    for name in fields.keys() & vars(Memory()).keys() - {"settings"}:
        setattr(isolate, name, fields.pop(name))
    made: dict[str, Any] = {
        "database": Database(binding, meter, storage=isolate.storage),
        "meter": meter,
        "chance": lambda: 0.0,
        "nonce": lambda: "n",
        "log": Log(lambda line: None),
        "isolate": isolate,
        "courier": FakeCourier(),
        "bucket": lambda: None,
        "wait_until": asyncio.ensure_future,
    }
    return with_features(Worker(**made | fields))


def new_sweep(worker: Worker, senders: Sequence[Sender], **terms: Any) -> Sweep:
    """Return a sweep with all duties."""
    return Sweep(worker, senders, duties(worker), **terms)


async def due_deliveries(store: TaskStore, plan: str = "free") -> list[DueDelivery]:
    """Return the webhook deliveries that the first read of a sweep finds."""
    (rows,) = (await store.due(9, looks=[look(plan)])).looked
    return read_look(rows)
