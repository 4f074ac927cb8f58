"""Calls that lanes make: how a long task gets beyond six calls at a time.

Each group of calls is one RPC to the task's `BatchCoordinator`, which has a lane make them (`objects.lane`).
"""

import asyncio
from collections.abc import Sequence

from ..core import limits
from ..core.errors import CallerLost
from ..inference import wire
from ..inference.protocol import ModelCall
from ..processing import clock
from ..processing.caller import CallOutcome, Silence
from ..processing.log import Log
from ..processing.worker import Worker
from ..store.claims import Claim
from .stubs import Coordinators, CoordinatorStub


class LanedCaller:
    """Implements `Caller` over up to `lanes` lanes, each with up to `group_size` calls at a time."""

    def __init__(self, coordinator: CoordinatorStub, claim: Claim, *, lanes: int, group_size: int, log: Log) -> None:
        self.groups_most = lanes
        self.group_size = group_size
        self.slack_seconds = limits.LANE_SLACK_SECONDS
        self._coordinator = coordinator
        self._claim = claim
        self._log = log
        self._asked: set[asyncio.Task[Sequence[CallOutcome]]] = set()

    async def call(self, calls: Sequence[ModelCall], seconds: float, starts_by: float) -> Sequence[CallOutcome]:
        """See `Caller.call`. The lane itself asks the database by when the calls may start.

        An RPC cannot be taken back. One whose time is up is left to its end; `abort` ends those whose calls nobody
        wants any more. A start window that is longer than the usual one, since the database is slow, comes on top of
        the calls' time.
        """
        seconds += (
            min(max(limits.START_SECONDS, starts_by - clock.now()), limits.START_SECONDS_MOST) - limits.START_SECONDS
        )
        asked = asyncio.create_task(self._ask(calls, seconds))
        self._asked.add(asked)  # the loop itself keeps only a weak reference
        asked.add_done_callback(self._asked.discard)
        answered, _ = await asyncio.wait([asked], timeout=seconds + self.slack_seconds)
        if not answered:  # the lane reports its calls' timeouts itself: its silence says nothing of them
            return [Silence("whoever was to make the call gave no answer")] * len(calls)
        return asked.result()

    async def abort(self) -> None:
        """See `Caller.abort`: the coordinator tells the lanes."""
        claim = self._claim
        try:
            async with asyncio.timeout(limits.TELL_SECONDS + limits.LANE_SLACK_SECONDS):
                await self._coordinator.abort(claim.task_key, claim.fence)
        except Exception as error:  # noqa: BLE001 - RPC raises what it likes; the lanes then go on to their calls' end
            self._log("abort_failed", task=claim.task_key, error=type(error).__name__)

    async def _ask(self, calls: Sequence[ModelCall], seconds: float) -> Sequence[CallOutcome]:
        claim, sent = self._claim, [wire.write_call(call) for call in calls]
        try:
            answers = await self._coordinator.infer(claim.task_key, claim.fence, self.groups_most, sent, seconds)
            outcomes = [wire.read_outcome(answer) for answer in answers]
            assert len(outcomes) == len(calls)
        except Exception as error:  # noqa: BLE001 - RPC raises what it likes; whether the lane worked is unknown
            self._log("lane_lost", task=claim.task_key, calls=len(calls), error=type(error).__name__)
            return [CallerLost("the lane that made the call was lost")] * len(calls)
        return outcomes


def lanes_for(chunks: int) -> int:
    """Return how many lanes a task of this many chunks gets; 1 means that its own object makes the calls."""
    return max(1, min(limits.LANES_MOST, chunks // limits.LANE_CHUNKS))


def laned_caller(worker: Worker, coordinators: Coordinators, claim: Claim) -> LanedCaller | None:
    """Give a long task its lanes; None for a task that needs none, or whose worker has just died.

    Each lane is an invocation with up to `AI_CONCURRENCY` calls of its own. Who sets 1 wants one call at a time, of a
    long task too: there the task's own object makes the calls.
    """
    lanes = lanes_for(claim.total)
    group_size = min(limits.LANE_CALLS, worker.settings.concurrency)
    if lanes == 1 or group_size == 1 or claim.stalls:
        return None
    coordinator = coordinators.getByName(claim.task_key)
    return LanedCaller(coordinator, claim, lanes=lanes, group_size=group_size, log=worker.log)
