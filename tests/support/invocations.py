"""Makes the worker of a new invocation, with the features that there are, and its sweeps."""

import asyncio
import math
from collections.abc import Sequence
from typing import Any

from src.composition import JOINER_OF, duties, with_features
from src.features import FEATURES
from src.kernel.domain.ids import TaskKey
from src.kernel.domain.meter import Meter
from src.kernel.domain.task import Route
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


class Road:
    """A route that counts sends, and notes what it took. It refuses what comes after `takes`, and send `refused`."""

    def __init__(
        self,
        route: Route = Route.QUEUE,
        *,
        takes: float = math.inf,
        refused: int | None = None,
        seconds: float = 0.0,
    ) -> None:
        self.route = route
        self.sent: list[TaskKey] = []
        self.sent_at: list[float] = []
        self._takes, self._refused, self._seconds = takes, refused, seconds
        self.sends = 0

    async def send(self, task_key: TaskKey, delay_seconds: float) -> None:
        self.sends += 1
        if self.sends == self._refused or len(self.sent) >= self._takes:
            raise RuntimeError("Exceeded allowed duration in Durable Objects free tier.")
        await asyncio.sleep(self._seconds)
        self.sent.append(task_key)
        self.sent_at.append(asyncio.get_running_loop().time())
