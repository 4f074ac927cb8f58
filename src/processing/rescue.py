"""Helps a task without a host during a poll: sends the task off again, or works on it before the poll is answered.

Queue, cron, alarms and RPC may fail before any code of ours runs, for hours, while HTTP works. While no trigger comes,
a poll moves its task (decision 0017).
"""

import asyncio
from collections.abc import Coroutine, Sequence
from contextlib import suppress
from dataclasses import dataclass

from ..core import limits
from ..core.errors import CallerLost, CallNotStarted, ModelTimeout
from ..core.ids import TaskKey
from ..core.task import Route, Task
from ..inference.protocol import ModelCall, Provider
from . import clock
from .caller import CallOutcome, LocalCaller
from .deliveries import WaitUntil
from .dispatch import Dispatcher
from .worker import Host, Worker


class BriefCaller(LocalCaller):
    """Makes calls that are cut off at a given time of the run's clock, since the invocation ends soon after that.

    A call that was cut off is in doubt: the provider may have done the work.
    """

    def __init__(self, provider: Provider, concurrency: int, cut_at: float) -> None:
        super().__init__(provider, concurrency)
        self._cut_at = cut_at

    async def call(self, calls: Sequence[ModelCall], seconds: float, starts_by: float) -> Sequence[CallOutcome]:
        """See `ModelCaller.call`."""
        left = self._cut_at - clock.now()
        if left <= 0:
            return [CallNotStarted("too late to start the call")]
        (outcome,) = await super().call(calls, min(seconds, left), starts_by)
        if left < seconds and isinstance(outcome, ModelTimeout):
            return [CallerLost(f"the poll that made the call had only {left:.0f} s left for it")]
        return [outcome]


@dataclass(frozen=True, slots=True)
class Rescue:
    """Helps a task that is late."""

    worker: Worker
    routes: Dispatcher | None  # The deployment's routes but the direct one; None if there are none.
    # `routes` and the direct route, if calls may start after an answer; None: only the sweep runs tasks.
    all_routes: Dispatcher | None
    wait_until: WaitUntil  # keeps work going after the answer is sent, or after its client has left

    async def help(self, task: Task, wait_seconds: float) -> None:
        """Do what the task's state requires; return as soon as the answer need not be delayed any more.

        The first sends go to an object, if objects are bound: the submission already tried the queue. If these sends
        had no effect, or no route takes the task, a poll that waits works on the task. A poll that does not wait
        continues to send the task, once a minute, and leaves a task that no route takes to the sweep. A task that waits
        for its place (MAX_OBJECTS_AT_WORK) continues to wait. Raises StoreError, with nothing sent.
        """
        ends_at, waits = clock.now() + wait_seconds, wait_seconds > 0
        dispatcher = self.routes if waits else self.all_routes
        if dispatcher is None and not waits:
            return  # claiming the task would hide it from the sweep without any use
        if waits and task.unanswered:
            if not await self.worker.may_stand_in(task.task_key):
                return
        else:
            if not (task.late and await self.worker.store.nudge(task.task_key, self.worker.settings.lease_ms)):
                return
            if dispatcher is not None and (
                await dispatcher.dispatch(task.task_key, crowded=True) is not None or dispatcher.no_place
            ):
                return
            if not waits:
                await self.worker.store.unsent(task.task_key)
        if (left := ends_at - clock.now()) > 0:  # a route that refuses may have taken its time
            await hold(self._work(task.task_key, left), left, self.wait_until)

    async def _work(self, task_key: TaskKey, seconds: float) -> None:
        """Work on the task: calls start while the answer is delayed, and are cut off some time after it."""
        worker, cut_at = self.worker, clock.now() + seconds + limits.STAND_IN_SECONDS
        host = Host(
            Route.DIRECT,
            seconds,
            caller_for=lambda claim: BriefCaller(worker.provider, worker.settings.concurrency, cut_at),
            stands_in=True,
        )
        try:
            await worker.run(task_key, host)
        except Exception as error:  # noqa: BLE001 - the poll answers all the same, and the next one sees what there is
            worker.log.failure("run_failed", error, task=task_key)


async def hold(work: Coroutine[None, None, None], seconds: float | None, wait_until: WaitUntil) -> None:
    """Wait for a coroutine, for `seconds` at most.

    The coroutine continues in `wait_until`, whether or not this invocation still answers.
    """
    done = asyncio.Event()

    async def announced() -> None:
        try:
            await work
        finally:
            done.set()

    wait_until(announced())
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await done.wait()
