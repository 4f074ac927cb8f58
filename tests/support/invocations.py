"""Makes the worker of a new invocation, with the features that there are, and its sweeps."""

import asyncio
from collections.abc import Sequence
from typing import Any

from src.composition import JOINER_OF, duties, with_features
from src.features import FEATURES
from src.kernel.domain.meter import Meter
from src.kernel.run.invocation import Memory
from src.kernel.run.log import Log
from src.kernel.store.d1 import D1, Database
from src.kernel.store.hooks import EndHook, Hooks
from src.kernel.store.tasks import TaskStore
from src.kernel.work.dispatch import Sender
from src.kernel.work.sweep.sweep import Sweep
from src.kernel.work.worker import Worker
from tests.support.courier import FakeCourier


def task_store(database: Database) -> TaskStore:
    """Return a store that writes deliveries, as those of the Worker do, and sends none."""
    ends: list[EndHook] = []
    if FEATURES:
        from tests.support.outbox import Unsent

        ends.append(Unsent())
    return TaskStore(database, Hooks(ends, JOINER_OF))


def new_worker(binding: D1, **fields: Any) -> Worker:
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
    return Sweep(worker, senders, duties(worker), **terms)
