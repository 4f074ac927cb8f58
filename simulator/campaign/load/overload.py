"""Measures whether many workers finish their tasks on one slow database, on which each waits for all the others.

A database that stands still for some seconds leaves a queue of waiting calls behind. Whether the queue of waiting calls
ever gets shorter depends on what the callers do while they wait.
"""

import asyncio
import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from simulator.campaign.checks.progress import WRITES_PER_CALL, WRITES_PER_MINUTE, WriteBudget, worked_on
from simulator.campaign.runs.run import TEMPLATE
from simulator.campaign.subject.adapter import Onceover
from simulator.campaign.subject.arrivals import Arrival, ClientRequest
from simulator.campaign.subject.row_changes import COLUMNS, Row
from simulator.platform.choices import DIRECT, FREE, Deployment
from simulator.platform.d1 import PreparedStatement
from simulator.platform.queues import QueueSettings
from simulator.platform.shared_database import Sharing
from simulator.platform.world import World
from src.kernel.api.base.messages import Reply
from src.kernel.domain import limits
from src.kernel.domain.ids import TaskKey

ROUTES = {"queue": Deployment("queue", queue=True, objects=False), "objects": FREE, "direct": DIRECT}
ISOLATES = 8  # The number of isolates of a queue's consumers. Each object has its own.
CHUNKS = 8
CONCURRENCY = 3
CHUNK_CHARS = 10
STALLS_AT_SECONDS = 1.0
CRON_SECONDS = 60
LOOK_SECONDS = 0.1
MAX_ATTEMPTS = 3
SLOWER_MOST = 1.5  # The highest allowed ratio of the time after a stall to the time without a stall.


@dataclass(frozen=True, slots=True)
class Load:
    """One experiment: `workers` workers with a task each, on a database that stalls for `stall_seconds` (0: never).

    In this load the database takes `service_seconds` for each call. Tasks may take `limit_seconds`.
    """

    workers: int
    service_seconds: float
    stall_seconds: float = 0.0
    route: str = "queue"
    limit_seconds: float = 300.0


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadResult:
    """The result of a load. `seconds` is when the last task ended: infinite if a task did not end within the limit.

    `batches` is the number of D1 calls that were served, and `writes` the number of those that wrote under a claim.
    `calls` is the number of calls that reached the model. `spare` is the highest number of writes of any task that
    neither calls nor time account for.
    """

    load: Load
    completed: int
    seconds: float
    batches: int
    writes: int
    calls: int
    spare: float

    @property
    def after_stall_seconds(self) -> float:
        """How many seconds the load still took after the end of the stall."""
        return self.seconds - (STALLS_AT_SECONDS + self.load.stall_seconds if self.load.stall_seconds else 0.0)

    @property
    def writes_allowed(self) -> float:
        """How many writes of all tasks together the calls and the time account for."""
        seconds = min(self.seconds, self.load.limit_seconds)
        return WRITES_PER_CALL * self.calls + WRITES_PER_MINUTE * self.load.workers * seconds / 60

    @property
    def _vain_seconds(self) -> float:
        """How long the database works after the stall on calls that the workers gave up while it stood still."""
        load = self.load
        return load.stall_seconds // limits.STORE_SECONDS * load.workers * load.service_seconds

    def faults(self, calm: "LoadResult") -> list[str]:
        """Name what is wrong with the result; `calm` is the result of the same load without a stall."""
        wrong = []
        if self.completed < self.load.workers:
            wrong.append("not ended")
        elif self.after_stall_seconds > SLOWER_MOST * calm.seconds + self._vain_seconds:
            wrong.append("slow after the stall")
        if self.calls > self.load.workers * CHUNKS:
            wrong.append("calls made twice")
        if self.writes > self.writes_allowed:
            wrong.append("too many writes")
        if self.spare > limits.WRITES_AT_FIRST:
            wrong.append("too many writes of a task")
        return wrong

    def facts(self) -> dict[str, Any]:
        """Return the figures for JSON. An infinite time is null."""
        return {
            "workers": self.load.workers,
            "route": self.load.route,
            "serviceSeconds": self.load.service_seconds,
            "stallSeconds": self.load.stall_seconds,
            "completed": self.completed,
            "seconds": round(self.seconds, 1) if math.isfinite(self.seconds) else None,
            "batches": self.batches,
            "writes": self.writes,
            "calls": self.calls,
            "spareWrites": round(self.spare, 1),
        }


def loads(
    workers: list[int], service_ms: list[int], stalls: list[int], route: str, limit_seconds: float
) -> Iterator[tuple[Load, list[Load]]]:
    """Yield each load without a stall, together with the same load with each of the stalls."""
    for count in workers:
        for milliseconds in service_ms:
            calm = Load(count, milliseconds / 1000, 0.0, route, limit_seconds)
            yield calm, [Load(count, milliseconds / 1000, stall, route, limit_seconds) for stall in stalls]


def play(load: Load, seed: int = 0) -> LoadResult:
    """Run one experiment."""
    world = World(
        seed,
        Onceover(),
        TEMPLATE,
        scheduling="fifo",
        deployment=ROUTES[load.route],
        variables={
            "PLAN": "paid",
            "REQUIRE_KEYS": "false",
            "MAX_ATTEMPTS": str(MAX_ATTEMPTS),
            "AI_CONCURRENCY": str(CONCURRENCY),
        },
        queue_settings=QueueSettings(max_concurrency=0),
        slots=ISOLATES,
        sharing=Sharing(0.0),
        max_steps=20_000_000,
    )
    return world.run(LoadTrial(world, load).run)


def submission(tag: str, chunks: int) -> ClientRequest:
    """Return the request that submits a task of this many chunks. The simulated model knows the task by its tag."""
    text = "".join(f"w{at:03d} abc. " for at in range(chunks))
    body = {"input": text, "instructions": tag, "chunk": {"maxChars": CHUNK_CHARS}}
    return ClientRequest("POST", "/api/tasks", lambda: body)


class Bystander:
    """A watcher of a world's requests that checks nothing."""

    def arrived(self, arrival: Arrival) -> None:
        """Ignore it."""

    def read(self, arrival: Arrival) -> None:
        """Ignore it."""

    def counting(self, arrival: Arrival) -> None:
        """Ignore it."""

    def answered(self, arrival: Arrival, reply: Reply) -> None:
        """Ignore it."""


class LoadTrial:
    """One load in one world.

    A trial of a load only counts: with so many tasks, the checks of an ordinary run would take hours.
    """

    def __init__(self, world: World, load: Load) -> None:
        self._world = world
        self._load = load
        self._rows: dict[TaskKey, Row] = {}
        self._progress = WriteBudget(math.inf)
        self._execute = world.database.execute
        world.database.execute = self._executed  # type: ignore[method-assign]
        world.database.meter_reads = False
        world.app.watcher = Bystander()  # type: ignore[attr-defined]

    async def run(self, world: World) -> LoadResult:
        """Submit all tasks while the database is quick, then make it slow, start all workers, and return the result."""
        load, line = self._load, world.database.line
        assert line is not None
        await asyncio.gather(*(self._submit(f"T{number}") for number in range(load.workers)))
        began, served = world.loop.now(), world.database.calls
        line.sharing = Sharing(load.service_seconds)
        world.start_cron(CRON_SECONDS)
        world.queue.settings.max_concurrency = load.workers
        world.queue.pump()
        if load.stall_seconds:
            world.loop.call_later(STALLS_AT_SECONDS, line.stall, load.stall_seconds, context=world.loop.outside)
        for _ in range(round(load.limit_seconds / LOOK_SECONDS)):
            if not self._left():
                break
            await asyncio.sleep(LOOK_SECONDS)
        return LoadResult(
            load=load,
            completed=sum(row.status == "completed" for row in self._rows.values()),
            seconds=math.inf if self._left() else world.loop.now() - began,
            batches=world.database.calls - served,
            writes=self._progress.writes,
            calls=len(world.model.records),
            spare=self._progress.spare,
        )

    def _left(self) -> int:
        """Return how many tasks have not ended."""
        return self._load.workers - sum(row.terminal for row in self._rows.values())

    def _executed(self, statements: Sequence[PreparedStatement]) -> list[dict[str, Any]]:
        results = self._execute(statements)
        for task_key in worked_on(statements, results, self._progress.parameters):
            query = f"SELECT {COLUMNS} FROM tasks WHERE id = ?"  # noqa: S608 - constants
            row = Row._make(self._world.database.connection.execute(query, (task_key,)).fetchone())
            self._progress.changed(self._rows.get(task_key, row), row)
            self._progress.wrote(task_key, self._world.loop.now())
            self._rows[task_key] = row
        return results

    async def _submit(self, tag: str) -> None:
        reply = await self._world.fetch(submission(tag, CHUNKS))
        assert reply.status == 202, json.loads(reply.body)


def written(outcomes: list[LoadResult], path: Path) -> None:
    """Write the results' figures as JSON."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps([outcome.facts() for outcome in outcomes], indent=2) + "\n", "utf-8")
