"""A bench for webhooks: workers whose invocations send deliveries to a stand-in for the network, in virtual time."""

import asyncio
from collections.abc import Awaitable, Sequence
from typing import Any

from src.features.webhooks.deliveries_store import Delivery, DeliveryStore
from src.features.webhooks.endpoints_store import WebhookStore
from src.features.webhooks.rules import EndpointKey, Event, endpoint_key_of
from src.kernel.domain.ids import TaskKey
from src.kernel.domain.meter import Meter
from src.kernel.domain.task import Reduce
from src.kernel.store.d1 import Database
from src.kernel.work.worker import Worker
from tests.support.courier import FakeCourier
from tests.support.invocations import new_sweep
from tests.support.store_bench import START_MS, new_task
from tests.support.worker_bench import HOST, WorkerBench

KEY = "k" * 32
URL = "https://hooks.example.com/a"
ALL = tuple(Event)
TASK = TaskKey("local:0197b2f0-0000-7000-8000-00000000abcd")


def task_key(number: int, tenant: str = "local") -> TaskKey:
    return TaskKey(f"{tenant}:0197b2f0-0000-7000-8000-{number:012x}")


class DeliveryBench(WorkerBench):
    """A deployment with WEBHOOK_KEY. `settle` waits for the work that invocations gave to `waitUntil`."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**{"webhook_key": KEY} | settings)
        self.courier = FakeCourier()
        self.endpoints = WebhookStore(Database(self.database, Meter()))
        self._behind: list[asyncio.Future[None]] = []
        self.sends = True  # True if the invocations of workers last long enough to send webhook deliveries.

    def worker(self, **fields: Any) -> Worker:
        parts = {"courier": self.courier, "chance": lambda: 1.0, "wait_until": self._wait_until}
        return super().worker(**parts | fields)

    def _wait_until(self, work: Awaitable[None]) -> None:
        if self.sends:
            self._behind.append(asyncio.ensure_future(work))
        else:
            work.close()  # type: ignore[attr-defined]

    def settle(self) -> None:
        while self._behind:
            behind, self._behind = self._behind, []
            self.do(asyncio.wait(behind))

    def add_endpoint(self, number: int = 1, *events: Event, tenant: str = "local", url: str = URL) -> EndpointKey:
        key = endpoint_key_of(tenant, f"we_{number:024x}")
        assert self.do(self.endpoints.insert(key, "one", url, events or ALL))
        return key

    def submit(self, key: TaskKey = TASK, chunks: int = 1, *, response: bool = False, **terms: Any) -> TaskKey:
        self.do(self.store.insert(new_task(key, chunks, Reduce.CONCAT, START_MS, **terms), self.settings.lease_ms))
        if response:
            self.database.rows("UPDATE tasks SET response = '{}' WHERE id = ?", key)
        return key

    def finish(self, key: TaskKey = TASK, *, sends: bool = True) -> None:
        """Let a worker run a task to its end, and with `sends` send its webhook deliveries."""
        self.sends = sends
        self.do(self.worker().run(key, HOST))
        self.settle()
        self.sends = True

    def end(self, key: TaskKey = TASK, *, sends: bool = True) -> None:
        """Submit a task, and let a worker run it to its end."""
        self.submit(key)
        self.finish(key, sends=sends)

    def sweep(self, after_seconds: float = 60.0) -> None:
        self.do(asyncio.sleep(after_seconds))
        self.do(new_sweep(self.worker(), []).run())
        self.settle()

    def deliveries(self, key: TaskKey = TASK) -> Sequence[Delivery]:
        found: Sequence[Delivery] = self.do(self.store.beside(DeliveryStore).deliveries(key))
        return found

    def rows(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.database.rows("SELECT * FROM webhook_deliveries")
        return found
