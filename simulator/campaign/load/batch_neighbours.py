"""Measures how late a task of one chunk is while another tenant's batch is checked, makes its calls and is completed.

The processor's time counts too: an isolate that has read bytes of a batch's file, or stores some, stands still as long
as it takes to check them, to cut them or to join them. The database is shared, and serves one call at a time.
"""

import asyncio
import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from simulator.campaign.clients import tenants
from simulator.campaign.load.batches import BatchLoad, BatchWorld, lines
from simulator.campaign.subject.arrivals import ClientRequest
from simulator.platform.binding_port import Pending, Port
from simulator.platform.choices import Deployment
from simulator.platform.r2.bucket import BucketBinding, Bytes
from simulator.platform.shared_database import CallQueue, Sharing
from simulator.platform.world import World

LATE_SECONDS_MOST = 2.0  # The most seconds by which another tenant's batch may delay a task.
SECONDS_A_MB = 0.1  # How long an isolate's processor takes for a MB of a batch's files (docs/decisions/state.md#d0051).
D1_SECONDS = 0.01  # How long the database takes for a call.
WAITS_MOST = 600.0
LOOK_SECONDS = 0.01
CRON_SECONDS = 60

type Moment = Callable[["BatchState"], bool]


@dataclass(frozen=True, slots=True)
class BatchState:
    """How far a batch is: the share of its file that is checked, and of its lines that are done.

    `is_storing` says that an object of its output is on its way to the bucket.
    """

    checked: float
    done: float
    has_finished: bool
    has_ended: bool
    is_storing: bool


# The moments at which a task of the other tenant comes: while the file is checked, while calls are made, while an
# object is stored, and while the files are completed. On the free plan's direct route the first object is stored when
# all calls have been made.
MOMENTS: dict[str, Moment] = {
    "accepted": lambda _state: True,
    "a quarter is checked": lambda state: state.checked >= 0.25,
    "three quarters are checked": lambda state: state.checked >= 0.75,
    "all is checked": lambda state: state.checked >= 1,
    "a tenth is done": lambda state: state.done >= 0.1,
    "a half is done": lambda state: state.done >= 0.5,
    "an object is stored": lambda state: state.is_storing,
    "nearly all is done": lambda state: state.done >= 0.99,
    "the files are completed": lambda state: state.has_finished,
}


class SlowBucket(BucketBinding):
    """The binding of the bucket in an isolate whose processor takes time for the bytes that it reads and writes.

    `storing` has the key of each object that is on its way to the bucket, of all isolates.
    """

    def __init__(self, plain: BucketBinding, port: Port, storing: set[str]) -> None:
        super().__init__(plain._server, port)
        self._storing = storing

    def put(self, key: str, body: "bytes | Bytes") -> Pending:
        """Store an object."""
        self._storing.add(key)
        sent = super().put(key, body)
        self._work(len(body))
        return Pending(self._stored, key, sent)

    async def _stored(self, key: str, sent: Pending) -> None:
        try:
            await sent
        finally:
            self._storing.discard(key)

    def get(self, key: str, start: int, length: int) -> Pending:
        """Return a range of an object."""
        return Pending(self._got, super().get(key, start, length))

    async def _got(self, sent: Pending) -> bytes | None:
        found: bytes | None = await sent
        self._work(len(found or b""))
        return found

    def _work(self, size: int) -> None:
        seconds = size / 1e6 * SECONDS_A_MB
        if seconds > 0.001:
            self._port.isolate.freeze(seconds)


@dataclass(frozen=True, slots=True, kw_only=True)
class LateTask:
    """By how many seconds a task is late that came at a moment, and the state of the batch when it came."""

    moment: str
    seconds: float
    state: BatchState


class _Trial:
    """One world, in which tasks of the second tenant come at certain moments of the first tenant's batch."""

    def __init__(self, load: BatchLoad) -> None:
        self._made = BatchWorld(load, 0)
        self._storing: set[str] = set()
        world = self.world = self._made.world
        world.database.meter_reads = False
        world.database.line = CallQueue(Sharing(D1_SECONDS), world.faults, world.loop.now)
        bindings = world.servers.bindings

        def slow(deployment: Deployment, port: Port) -> dict[str, Any]:
            found = bindings(deployment, port)
            return {**found, "BLOBS": SlowBucket(found["BLOBS"], port, self._storing)}

        world.servers.bindings = slow  # type: ignore[method-assign]

    async def calm(self, world: World) -> float:
        """Return how long a task takes without a batch."""
        world.start_cron(CRON_SECONDS)
        took = [await self._task(number) for number in range(3)]
        return min(took)

    async def troubled(self, world: World, moments: Mapping[str, Moment]) -> list[tuple[str, float, BatchState]]:
        """Return how long tasks take that come at the moments of a batch."""
        world.start_cron(CRON_SECONDS)
        content = lines(self._made.load)
        tenant = tenants.TENANTS[0]
        batch = await self._made.start(tenant, await self._made.upload(tenant, content))
        came = []
        for number, (name, is_now) in enumerate(moments.items()):
            while not is_now(state := self._state(batch, len(content))):
                assert not state.has_ended, f"the batch has ended before: {name}"
                await asyncio.sleep(LOOK_SECONDS)
            came.append((name, asyncio.create_task(self._task(number)), state))
        return [(name, await task, state) for name, task, state in came]

    def _state(self, batch: str, size: int) -> BatchState:
        read, done, finished_at, ended_at = self._made.state(batch)
        return BatchState(
            checked=read / size,
            done=done / self._made.load.lines,
            has_finished=finished_at is not None,
            has_ended=ended_at is not None,
            is_storing=bool(self._storing),
        )

    async def _task(self, number: int) -> float:
        """Submit a task of one chunk, wait until it has ended, and return how long that took."""
        world, tenant = self.world, tenants.TENANTS[1]
        began = world.loop.now()
        request = ClientRequest("POST", "/api/tasks", lambda: {"input": f"w{number:03}."}, tenants.headers(tenant))
        reply = await world.fetch(request)
        assert reply.status == 202, reply.body
        key = f"{tenant}:{json.loads(reply.body)['id']}"
        while world.loop.now() < began + WAITS_MOST:
            (row,) = world.database.connection.execute("SELECT finished_at FROM tasks WHERE id = ?", (key,))
            if row[0] is not None:
                return world.loop.now() - began
            await asyncio.sleep(LOOK_SECONDS)
        return math.inf


def lateness(load: BatchLoad, moments: Mapping[str, Moment] = MOMENTS) -> list[LateTask]:
    """Return by how many seconds a task of one chunk ends later beside a batch than without it, for each moment.

    The moments are waited for one after the other.
    """
    calm, troubled = _Trial(load), _Trial(load)
    alone = calm.world.run(calm.calm)
    return [
        LateTask(moment=moment, seconds=took - alone, state=state)
        for moment, took, state in troubled.world.run(lambda world: troubled.troubled(world, moments))
    ]
