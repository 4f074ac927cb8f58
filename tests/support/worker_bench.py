"""The task actor on a bench: a scripted model, a database, and workers over both, in virtual time."""

import asyncio
import json
from collections.abc import Callable
from typing import Any

from simulator.engine.loop import Loop
from src.core.meter import Meter
from src.core.settings import Settings
from src.core.task import Reduce, Route, Task
from src.inference.protocol import Health, ModelCall, ModelReply
from src.processing.log import Log
from src.processing.outcomes import Outcome
from src.processing.worker import Host, Worker
from src.store.database import Database
from src.store.tasks import TaskStore
from tests.support.sqlite_d1 import SqliteD1
from tests.support.store_bench import START_MS, new_task

HOST = Host(Route.QUEUE, 600.0)


class Script:
    """A provider whose calls take a second each and do what `act` says; it notes when each was made."""

    name = "script"
    default_model = "script-1"

    def __init__(self, act: Callable[[ModelCall, int], Any] = lambda call, number: None) -> None:
        self.act = act
        self.seconds: Callable[[int], float] = lambda number: 1.0
        self.calls: list[tuple[float, ModelCall]] = []

    async def infer(self, call: ModelCall) -> ModelReply:
        self.calls.append((asyncio.get_running_loop().time(), call))
        number = len(self.calls)
        await asyncio.sleep(self.seconds(number))
        result = self.act(call, number)
        if isinstance(result, Exception):
            raise result
        return ModelReply(result or f"<{call.user}>", 10, 5)

    async def probe(self) -> Health:
        return Health("healthy", "")


class Bench:
    """One database, one model, and workers over them, in virtual time."""

    def __init__(self, **settings: Any) -> None:
        self.loop = Loop(max_steps=10_000_000)  # type: ignore[abstract]
        self.database = SqliteD1(now_ms=lambda: START_MS + round(self.loop.time() * 1000))
        self.store = TaskStore(Database(self.database, Meter()))
        self.model = Script()
        self.settings = Settings(plan="paid", **settings)
        self.lines: list[dict[str, Any]] = []
        self._nonces = 0

    def insert(self, chunks: int, reduce: Reduce = Reduce.CONCAT, **terms: int) -> None:
        self.do(self.store.insert(new_task("task", chunks, reduce, START_MS, **terms), self.settings.lease_ms))

    def do(self, coroutine: Any) -> Any:
        return self.loop.run_until_complete(coroutine)

    def worker(self) -> Worker:
        meter = Meter()
        return Worker(
            store=TaskStore(Database(self.database, meter)),
            provider=self.model,
            settings=self.settings,
            meter=meter,
            chance=lambda: 0.0,
            nonce=self._nonce,
            log=Log(lambda line: self.lines.append(json.loads(line))),
        )

    def _nonce(self) -> str:
        self._nonces += 1
        return f"holder-{self._nonces}"

    def run(self, host: Host = HOST) -> Outcome:
        return self.do(self.worker().run("task", host))

    def task(self) -> Task:
        return self.do(self.store.task("task"))

    def events(self, name: str) -> list[dict[str, Any]]:
        return [line for line in self.lines if line["event"] == name]

    def close(self) -> None:
        self.loop.close()
        self.database.close()
