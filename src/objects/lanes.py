"""A provider whose calls other objects make: how a long task gets beyond six calls at a time.

Calls that start together are sent to the `BatchCoordinator` in groups, each of which one lane works off.
"""

import asyncio
from collections.abc import Sequence
from typing import Protocol

from ..core import limits
from ..core.errors import ModelConnectionLost, ModelError
from ..core.ids import TaskKey
from ..inference import wire
from ..inference.protocol import Health, ModelCall, ModelReply, Provider
from ..inference.wire import Wire
from ..processing.crew import Crew
from ..processing.log import Log
from ..processing.worker import Worker
from ..store.claims import Claim


class CoordinatorStub(Protocol):
    """A `BatchCoordinator` at the other end of RPC."""

    async def infer(self, task_key: TaskKey, fence: int, lanes: int, calls: list[Wire], seconds: float) -> list[Wire]:
        """See `Coordinator.infer`."""
        ...

    async def close(self) -> object:
        """See `Coordinator.close`."""
        ...


class Coordinators(Protocol):
    """The `BATCH_COORDINATOR` namespace."""

    def getByName(self, name: str) -> CoordinatorStub:  # noqa: N802 - the platform's name
        """Return the stub of the one object of that name."""
        ...


def lanes_for(chunks: int) -> int:
    """Return how many lanes a task of this many chunks gets; 1 means that its own object makes the calls."""
    return max(1, min(limits.LANES_MOST, chunks // limits.LANE_CHUNKS))


class LanedProvider:
    """Implements `Provider`, each lane with up to `group` calls at a time.

    A group that is lost on the way is a lost connection for each of its calls.
    """

    def __init__(
        self,
        provider: Provider,
        coordinator: CoordinatorStub,
        claim: Claim,
        *,
        lanes: int,
        group: int,
        seconds: float,
        log: Log,
    ) -> None:
        self.name = provider.name
        self.default_model = provider.default_model
        self._provider = provider
        self._coordinator = coordinator
        self._task_id = claim.task_key
        self._fence = claim.fence
        self._lanes = lanes
        self._group = group
        self._seconds = seconds
        self._log = log
        # A call whose time is up is given up, but an RPC cannot be taken back: it keeps its connection until it ends.
        self._out = asyncio.Semaphore(lanes)
        self._sending: set[asyncio.Task[None]] = set()
        self._expected = 0  # calls that have been announced and not sent
        self._gathering: list[tuple[ModelCall, asyncio.Future[ModelReply]]] = []

    def expect(self, calls: int) -> None:
        """Take note of how many calls are about to start together."""
        self._expected += calls

    async def infer(self, call: ModelCall) -> ModelReply:
        """Send the call with those that start together with it, as soon as the last of them is here."""
        future: asyncio.Future[ModelReply] = asyncio.get_running_loop().create_future()
        self._gathering.append((call, future))
        if len(self._gathering) == self._expected:
            gathered, self._gathering, self._expected = self._gathering, [], 0
            groups = [gathered[start : start + self._group] for start in range(0, len(gathered), self._group)]
            for group in groups:
                sending = asyncio.create_task(self._send(group))
                self._sending.add(sending)  # the loop itself keeps only a weak reference
                sending.add_done_callback(self._sending.discard)
        return await future

    async def probe(self) -> Health:
        """Ask the provider behind the lanes."""
        return await self._provider.probe()

    async def _send(self, group: Sequence[tuple[ModelCall, asyncio.Future[ModelReply]]]) -> None:
        async with self._out:
            wanted = [item for item in group if not item[1].done()]  # the others were given up while they waited here
            if wanted:
                await self._call_lane(wanted)

    async def _call_lane(self, group: Sequence[tuple[ModelCall, asyncio.Future[ModelReply]]]) -> None:
        calls = [wire.write_call(call) for call, _ in group]
        outcomes: Sequence[ModelReply | ModelError]
        try:
            answers = await self._coordinator.infer(self._task_id, self._fence, self._lanes, calls, self._seconds)
            outcomes = [wire.read_outcome(answer) for answer in answers]
        except Exception as error:  # noqa: BLE001 - RPC raises what it likes; whether the lane worked is unknown
            self._log("lane_lost", task=self._task_id, calls=len(calls), error=type(error).__name__)
            outcomes = [ModelConnectionLost("the lane that made the call was lost")] * len(calls)
        for (_, future), outcome in zip(group, outcomes, strict=True):
            if future.cancelled():
                continue
            if isinstance(outcome, ModelReply):
                future.set_result(outcome)
            else:
                future.set_exception(outcome)


def crew(worker: Worker, coordinators: Coordinators, claim: Claim) -> Crew | None:
    """Staff a long task with lanes; None for a task that needs none.

    Each lane is an invocation with up to `AI_CONCURRENCY` calls of its own. Who sets 1 wants one call at a time, of a
    long task too: there the task's own object makes the calls.
    """
    lanes = lanes_for(len(claim.cuts))
    group = min(limits.LANE_CALLS, worker.settings.concurrency)
    if lanes == 1 or group == 1:
        return None
    laned = LanedProvider(
        worker.provider,
        coordinators.getByName(claim.task_key),
        claim,
        lanes=lanes,
        group=group,
        seconds=worker.settings.timeout_seconds,
        log=worker.log,
    )
    slack = limits.LANE_SLACK_SECONDS
    return Crew(laned, lanes * group, group=group, slack_seconds=slack, starting=laned.expect)
