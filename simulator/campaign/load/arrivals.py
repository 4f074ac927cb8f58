"""Measures how long tasks take that arrive steadily at one database, which serves one call at a time.

Each task's client submits the task and polls with `?wait=` until it has ended, as a program would. No fault strikes in
these runs, so a task takes longer than it would alone only because of other tasks.
"""

import asyncio
import json
import math
from dataclasses import dataclass, replace
from random import Random
from statistics import median
from typing import Any

from simulator.campaign.load.overload import CRON_SECONDS, ISOLATES, ROUTES, Bystander, submission
from simulator.campaign.runs.run import TEMPLATE
from simulator.campaign.subject.adapter import Onceover
from simulator.campaign.subject.arrivals import ClientRequest
from simulator.platform.queues import QueueSettings
from simulator.platform.shared_database import Sharing
from simulator.platform.world import World

CONSUMERS = 250  # The platform's limit of consumers that one queue runs at a time.
MODEL_SECONDS = (0.8, 1.2)
VARIABLES = {"PLAN": "paid", "REQUIRE_KEYS": "false", "AI_CONCURRENCY": "6"}
# wrangler.toml sets this for `direct`: a run there has 20 s, and starts only calls that would end in this time.
VARIABLES_OF = {"direct": {"AI_TIMEOUT_SECONDS": "20"}}
WARM_UP = 0.25  # The share of the arrival time whose tasks are not counted.
TASKS_LEAST = 12  # About how many tasks must arrive, at least, to judge a rate.
LATE_SECONDS = 600.0  # How many seconds the run waits for tasks after the last arrival.


@dataclass(frozen=True, slots=True)
class ArrivalRate:
    """A load: `rate` tasks arrive per second, for `seconds` seconds.

    Each task has `chunks` chunks, and the database takes `service_seconds` for each call.
    """

    rate: float
    service_seconds: float
    chunks: int = 20
    route: str = "queue"
    seconds: float = 40.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """The result of one load.

    `submit` and `task` are medians in seconds: the time until a submission is answered, and the time until the client
    knows that its task has ended. `busy` is the share of the time in which the database was at work. `calls` is the
    average number of D1 calls per task, including those of polls.
    """

    stream: ArrivalRate
    tasks: int
    refused: int
    unfinished: int
    submit: float
    task: float
    busy: float
    calls: float


def play(stream: ArrivalRate, seed: int = 0) -> Figures:
    """Run one load of arriving tasks."""
    world = World(
        seed,
        Onceover(),
        TEMPLATE,
        scheduling="fifo",
        deployment=ROUTES[stream.route],
        variables=VARIABLES | VARIABLES_OF.get(stream.route, {}),
        queue_settings=QueueSettings(max_concurrency=CONSUMERS),
        model_seconds=MODEL_SECONDS,
        slots=ISOLATES,
        sharing=Sharing(stream.service_seconds),
        max_steps=100_000_000,
    )
    world.database.meter_reads = False
    world.app.watcher = Bystander()  # type: ignore[attr-defined]
    return world.run(Arrivals(world, stream).run)


def carried(stream: ArrivalRate, seed: int, *, slower: float = 2.0, steps: int = 3) -> list[Figures]:
    """Find the highest rate at which no task is refused and tasks take at most `slower` times as long as alone.

    The search begins with a rate that leaves the database idle, and doubles the rate until it is too high. After this
    first phase the search tries `steps` rates, each halfway between the highest good rate and the lowest bad rate.
    Returns the figures of the first rate and of the highest good rate.
    """

    def at(rate: float) -> Figures:
        seconds = max(stream.seconds, TASKS_LEAST / rate)
        return play(replace(stream, rate=rate, seconds=seconds), seed)

    good = alone = at(stream.rate)
    bad = math.inf
    while math.isinf(bad) or steps:
        steps -= math.isfinite(bad)
        figures = at(2 * good.stream.rate if math.isinf(bad) else (good.stream.rate + bad) / 2)
        if is_worse(figures, alone, slower):
            bad = figures.stream.rate
        else:
            good = figures
    return [alone, good]


def is_worse(figures: Figures, alone: Figures, slower: float) -> bool:
    """Whether tasks are refused, do not end, or take more than `slower` times as long as alone."""
    return figures.refused > 0 or figures.unfinished > 0 or figures.task > slower * alone.task


class Arrivals:
    """One load of arriving tasks in one world."""

    def __init__(self, world: World, stream: ArrivalRate) -> None:
        self._world = world
        self._stream = stream
        self._rng = Random(f"{stream.rate}/{stream.service_seconds}")
        self._submits: list[float] = []
        self._tasks: list[float] = []
        self._refused = 0

    async def run(self, world: World) -> Figures:
        """Let the tasks arrive, wait for them to end, and return the figures."""
        stream, loop = self._stream, world.loop
        world.start_cron(CRON_SECONDS)
        clients: set[asyncio.Task[None]] = set()
        began = loop.now()
        counted_at, served = began, 0
        while loop.now() - began < stream.seconds:
            counted = loop.now() - began >= WARM_UP * stream.seconds
            if counted and not served:
                counted_at, served = loop.now(), world.database.calls
            clients.add(asyncio.create_task(self._client(len(clients), counted=counted)))
            await asyncio.sleep(self._rng.expovariate(stream.rate))
        busy = (world.database.calls - served) * stream.service_seconds / (loop.now() - counted_at)
        _, left = await asyncio.wait(clients, timeout=LATE_SECONDS)
        for client in left:
            client.cancel()
        return Figures(
            stream=stream,
            tasks=len(clients),
            refused=self._refused,
            unfinished=len(left),
            submit=median(self._submits or [math.inf]),
            task=median(self._tasks or [math.inf]),
            busy=busy,
            calls=world.database.calls / len(clients),
        )

    async def _client(self, number: int, *, counted: bool) -> None:
        loop, began = self._world.loop, self._world.loop.now()
        status, task = await self._ask(submission(f"T{number}", self._stream.chunks))
        if status != 202:
            self._refused += 1
            return
        submitted = loop.now() - began
        while not task["terminal"]:
            _, task = await self._ask(ClientRequest("GET", f"/api/tasks/{task['id']}?wait=25"))
        if counted:
            self._submits.append(submitted)
            self._tasks.append(loop.now() - began)

    async def _ask(self, request: ClientRequest) -> tuple[int, dict[str, Any]]:
        reply = await self._world.fetch(request)
        return reply.status, json.loads(reply.body)
