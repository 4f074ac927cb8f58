"""The Durable Object that hosts the task actor; each task has one such object.

A task's object works when its alarm fires, in slices, and only one slice at a time. The fence in D1 protects the task
against workers of other routes, and against an earlier instance of the object that is still finishing.
"""

import asyncio
import math
from collections.abc import Callable
from typing import Protocol

from ..kernel.domain import limits
from ..kernel.domain.errors import ConfigurationError
from ..kernel.domain.ids import TaskKey
from ..kernel.domain.marks import LAST_STEP
from ..kernel.domain.task import Mark, Route
from ..kernel.run.context import Hint, Released, RunOutcome
from ..kernel.run.log import Log
from ..kernel.store.claims import ClaimRefusal, Unclaimed
from ..kernel.work.worker import Worker
from .audience import Audience
from .laned_caller import Lanes
from .sender import slots_of
from .stubs import Coordinators, ObjectStorage, Processors, task_name

TASK = "task"
FAILURES = "failures"


class TaskStorage(ObjectStorage, Protocol):
    """What the storage of a task's object contains: the task's key, and the number of failed slices."""

    async def get(self, key: str) -> object:
        """Return the stored value of a key, None if there is none."""
        ...

    async def put(self, key: str, value: object) -> None:
        """Store a value under a key."""
        ...


class Processor:
    """A task's Durable Object; each slice makes a worker. `audience` has the calls that wait for the task."""

    def __init__(
        self,
        storage: TaskStorage,
        worker: Callable[[], Worker],
        coordinators: Coordinators | None,
        now_ms: Callable[[], int],
        log: Log,
        processors: Processors | None = None,
    ) -> None:
        self._storage = storage
        self._worker = worker
        self._processors = processors
        self._lanes = Lanes(coordinators, log)
        self._now_ms = now_ms
        self._log = log
        self._running = False
        self._asked = False
        self._hint = Hint()
        self._asked_at = -math.inf
        self.audience = Audience(self._is_at_work)

    async def start(self, task_key: TaskKey, delay_seconds: float) -> None:
        """Store the task, and set the alarm to work on it after the delay. A repeated call of `start` does no harm."""
        self._asked, self._asked_at = True, asyncio.get_running_loop().time()
        self._hint.give()  # A slice may still work under a claim that is older than the client's retry of the task.
        # The alarm is set before the task is stored: if the object dies between, it finds none and cleans up.
        armed = self._storage.setAlarm(self._at_ms(delay_seconds))
        await self._storage.put(TASK, task_key)
        await armed

    async def ended(self, fence: int) -> None:
        """Note that the task has ended for all claims up to `fence`, whose slice stops. It may come late or twice.

        A later claim, granted after a client's retry of the task, goes on. Without a slice, only waiting calls wake.
        """
        self._hint.give(fence)
        self.audience.tell(Mark(fence, LAST_STEP), ended=True)

    async def alarm(self) -> None:
        """Work on the task for one slice. The object's alarm is set again before each slice of work.

        If the slice dies, this alarm replaces the platform's own repetition of a failed alarm. It comes after only a
        few seconds, because a new instance of the object may take over the former one's claim before the lease ends.
        The platform delays an object's alarm while the slice works.
        """
        if self._running:  # the alarm fired again while a slice is at work in this instance of the object
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
        """Whether a slice is at work, or was requested a moment ago and will start soon."""
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
            slots = None if self._processors is None else slots_of(worker, self._processors)
            has_slot = slots is None or await slots.take(task_key)
            outcome = await worker.run(task_key, host) if has_slot else None
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
            await self._lanes.close(task_key, worker.meter)
        # A start of the task may arrive while `close` is awaited, and overrides the delay that the slice asked for.
        if delay is None and not self._asked:
            await self._forget()
        else:
            await self._arm(0 if self._asked or delay is None else delay)
        # A task that has ended or waits for a pause to end has no slot any more.
        if slots is not None and has_slot and delay != 0 and not self._asked:
            await slots.pass_on()

    async def _back_off(self) -> None:
        """Set the alarm for later. After OBJECT_FAILURES_MOST failures the sweep has the task."""
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
        """Delete the object's storage: the task, the failures and the alarm.

        There must be no await between the check that `_asked` is False and this call: a start of the task during it
        would write to the same storage, because the platform delays other events only during a storage call.
        """
        await self._storage.deleteAll()


def _delay_seconds(outcome: RunOutcome | None) -> float | None:
    """Return after how many seconds the object works again; None if it has finished, or waits for the task's slot."""
    match outcome:
        case Released(delay_seconds):
            return delay_seconds
        case Unclaimed(ClaimRefusal.EARLY, left_ms) if left_ms < 1000 * limits.HOST_WAIT_SECONDS_MOST:
            return left_ms / 1000
        # the task has ended, is gone, or is another route's; the sweep notices if that route's worker dies
        case _:
            return None
