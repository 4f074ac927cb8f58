"""Helps a task without a host during a poll: sends the task off again, or works on it before the poll is answered.

Queue, cron, alarms and RPC may fail before any code of ours runs, for hours, while HTTP works. In that time a poll
moves its task (decision 0017).
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
    """Makes calls that are cut at a time, on the run's clock, since the invocation ends soon after it.

    A call that was cut is in doubt: the provider may have done the work.
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
    routes: Dispatcher | None  # the deployment's routes but the direct one; None if there are none
    # `routes` and the direct route, if calls may start after an answer; None: only the sweep runs tasks.
    all_routes: Dispatcher | None
    wait_until: WaitUntil  # keeps work going when the answer is out, or its client is gone

    async def help(self, task: Task, wait_seconds: float) -> None:
        """Do for the task what its state asks for; return as soon as nothing is left to hold the answer for.

        The first sends go to an object, where there are objects: the queue had its turn with the submission. Where they
        had no effect, or no route takes the task, a poll that waits works on it. A poll that does not wait goes on
        sending, once a minute, and leaves a task that no route takes to the sweep. A task that waits for its place
        (MAX_OBJECTS_AT_WORK) goes on waiting. Raises StoreError, with nothing sent.
        """
        ends_at, waits = clock.now() + wait_seconds, wait_seconds > 0
        dispatcher = self.routes if waits else self.all_routes
        if dispatcher is None and not waits:
            return  # to take the task on would hide it from the sweep, for nothing
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
        """Work on the task: calls start while the answer is held, and are cut some time after it."""
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
    """Wait for work, for `seconds` at most.

    The work goes on in `wait_until`, whether or not this invocation still answers.
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
