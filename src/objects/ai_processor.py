"""The task actor's Durable Object. It has one task, and works from its alarm in slices of bounded length.

The object is alone under its name, so it excludes other workers within the Durable Object route. Against other routes,
and against a predecessor that is still finishing, D1's fence decides.
"""

import asyncio
import math
from collections.abc import Callable
from typing import Protocol

from ..core import limits
from ..core.errors import ConfigurationError
from ..core.ids import TaskKey
from ..core.marks import LAST_STEP
from ..core.task import Mark, Route
from ..processing.hint import Hint
from ..processing.log import Log
from ..processing.outcomes import Released, RunOutcome
from ..processing.worker import Worker
from ..store.records.claims import ClaimRefusal, Unclaimed
from .audience import Audience
from .laned_host import Lanes
from .naming import task_name
from .stubs import Coordinators, ObjectStorage

TASK = "task"
FAILURES = "failures"


class TaskStorage(ObjectStorage, Protocol):
    """The storage of a task's object: the task's key, and how often it failed."""

    async def get(self, key: str) -> object:
        """Return the value, None if there is none."""
        ...

    async def put(self, key: str, value: object) -> None:
        """Set a value."""
        ...


class Processor:
    """One task's object. Each slice makes a worker with its own meter, because the settings may fail to load.

    `audience` are the callers that wait here for the task.
    """

    def __init__(
        self,
        storage: TaskStorage,
        worker: Callable[[], Worker],
        coordinators: Coordinators | None,
        now_ms: Callable[[], int],
        log: Log,
    ) -> None:
        self._storage = storage
        self._worker = worker
        self._lanes = Lanes(coordinators, log)
        self._now_ms = now_ms
        self._log = log
        self._running = False
        self._asked = False
        self._hint = Hint()
        self._asked_at = -math.inf
        self.audience = Audience(self._is_at_work)

    async def start(self, task_key: TaskKey, delay_seconds: float) -> None:
        """Accept the task and come back for it after the delay. Repeating it does no harm."""
        self._asked, self._asked_at = True, asyncio.get_running_loop().time()
        self._hint.give()  # A slice may still work under a claim from before a retry.
        # The alarm goes first. If only one of the two lasts, an alarm without a task cleans up after itself.
        armed = self._storage.setAlarm(self._at_ms(delay_seconds))
        await self._storage.put(TASK, task_key)
        await armed

    async def ended(self, fence: int) -> None:
        """Abandon the task, whose claims up to this fence are over. A later claim, after a retry, continues.

        The notice may arrive late or twice. If no slice is at work, the notice has no effect.
        """
        self._hint.give(fence)
        self.audience.tell(Mark(fence, LAST_STEP), ended=True)

    async def alarm(self) -> None:
        """Work one slice. Before the work the alarm is set again, in case the slice dies.

        This alarm replaces the platform's own repetition. The alarm is set for a few seconds later, because the object
        need not wait for the lease of its predecessor. The platform delays the alarm while the slice works.
        """
        if self._running:  # the alarm was repeated while its slice works in this instance
            await self._arm(limits.OBJECT_RETURN_SECONDS)
            return
        self._running = True
        try:
            self._asked = False
            task_key = await self._storage.get(TASK)
            if not isinstance(task_key, str):
                if not self._asked:
                    await self._forget()
                return
            await self._arm(limits.OBJECT_RETURN_SECONDS)
            await self._slice(TaskKey(task_key))
        finally:
            self._running = False
            self.audience.look_up()

    def _is_at_work(self) -> bool:
        """Whether a slice works, or was requested a moment ago and is about to."""
        waited = asyncio.get_running_loop().time() - self._asked_at
        return self._running or (self._asked and waited < limits.OBJECT_START_SECONDS)

    async def _slice(self, task_key: TaskKey) -> None:
        self._hint = Hint()
        try:
            worker = self._worker()
            host = self._lanes.host(
                worker, Route.DURABLE_OBJECT, limits.OBJECT_SLICE_SECONDS, limits.OBJECT_WALL_SECONDS
            )
            host = host._replace(name=task_name(task_key), hint=self._hint, wrote=self.audience.tell)
            outcome = await worker.run(task_key, host)
        except ConfigurationError as error:
            self._log.misconfigured(error, task=task_key)
            await self._back_off()
            return
        except Exception as error:  # noqa: BLE001 - the platform would repeat the alarm six times and drop it
            self._log.failure("slice_failed", error, task=task_key)
            await self._back_off()
            return
        delay = _delay_seconds(outcome)
        if delay is None and not self._asked:
            await self._lanes.close(task_key, worker.meter)  # other requests may arrive during this await, too
            if not self._asked:
                await self._forget()
                return
        # A start overrides the delay that the slice asked for.
        await self._arm(0 if self._asked or delay is None else delay)

    async def _back_off(self) -> None:
        """Come back later. After some failures in its life, the object leaves the task to the sweep and its spacing."""
        failures = await self._storage.get(FAILURES)
        count = (failures if isinstance(failures, int) else 0) + 1
        if count > limits.OBJECT_FAILURES_MOST and not self._asked:
            await self._forget()
            return
        await self._storage.put(FAILURES, count)
        await self._arm(limits.BACKOFF_SECONDS_FIRST * 2.0**count)

    async def _arm(self, delay_seconds: float) -> None:
        await self._storage.setAlarm(self._at_ms(delay_seconds))

    def _at_ms(self, delay_seconds: float) -> int:
        return self._now_ms() + round(delay_seconds * 1000)

    async def _forget(self) -> None:
        """Delete the task and its alarm at once.

        Call the method only without an await since `_asked` was False. A start writes to the same storage, and the
        platform delays other events only while a storage call is under way.
        """
        await self._storage.deleteAll()


def _delay_seconds(outcome: RunOutcome) -> float | None:
    """Say when the object must come back, or None if it is done with the task."""
    match outcome:
        case Released(delay_seconds):
            return delay_seconds
        case Unclaimed(ClaimRefusal.EARLY, left_ms):
            return left_ms / 1000
        case _:  # the task ended, was lost, or belongs to another route's worker: the sweep notices if that worker dies
            return None
