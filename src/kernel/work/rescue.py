"""Lets a poll help a task on which no host works: the poll dispatches the task again, or works on the task itself.

Queue, cron, alarms and RPC may all fail for hours while HTTP requests still arrive (decision 0017).
"""

import asyncio
from collections.abc import Coroutine, Sequence
from contextlib import suppress
from dataclasses import dataclass

from ..calls import clock
from ..calls.caller import CallOutcome, HeldCall, LocalCaller
from ..calls.protocol import ModelCall, Provider
from ..domain import limits
from ..domain.errors import CallerLost, CallNotStarted, ModelTimeout
from ..domain.ids import TaskKey
from ..domain.task import Kind, Route, Task
from ..run.invocation import WaitUntil
from .dispatch import Dispatcher
from .worker import Host, Worker


class BriefCaller(LocalCaller):
    """Makes calls cut off at `cut_at`, as the invocation ends soon: in doubt, the provider may have worked."""

    def __init__(self, provider: Provider, concurrency: int, cut_at: float) -> None:
        super().__init__(provider, concurrency)
        self._cut_at = cut_at

    async def call(
        self, calls: Sequence[ModelCall | HeldCall], seconds: float, starts_by: float, *, in_parts: bool = False
    ) -> Sequence[CallOutcome]:
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
    """Helps a task that is late, or for which no host answers, during a request that reads the task."""

    worker: Worker
    # Dispatches by all routes except the direct route; None if there is only the direct route.
    routes: Dispatcher | None
    # By `routes` and the direct route; None if no call may start after an answer, so that only the sweep runs tasks.
    all_routes: Dispatcher | None
    wait_until: WaitUntil  # keeps work running after the answer is sent, or after the client has left

    async def help(self, task: Task, wait_seconds: float) -> None:
        """Help a task that has no working host in the way that its state requires.

        Returns as soon as the answer to the poll need no longer wait. A late task is dispatched again, first to an
        object, because the submission has already tried the queue. If that had no effect before, or no route takes the
        task, a poll with `wait` works on it itself. A poll without `wait` dispatches it at most once a minute, and
        leaves a task that no route accepts to the sweep. A task that waits for an object slot is left waiting. After a
        StoreError, nothing was dispatched.
        """
        ends_at, waits = clock.now() + wait_seconds, wait_seconds > 0
        dispatcher = self.routes if waits else self.all_routes
        if dispatcher is None and not waits:
            # without another route, a poll that takes the task's dispatch would only hide the task from the sweep
            return
        if waits and task.unanswered:
            if not await self.worker.may_stand_in(task.task_key):
                return
        else:
            if not (task.late and await self.worker.store.nudge(task.task_key, self.worker.settings.lease_ms)):
                return
            if dispatcher is not None and (
                await dispatcher.dispatch(task.task_key, crowded=True) is not None or dispatcher.no_slot
            ):
                return
            if not waits:
                await self.worker.store.unsent(task.task_key)
        if (left := ends_at - clock.now()) > 0:  # a route that refused the task may have used up the available time
            await hold(self._work(task.task_key, left), left, self.wait_until)

    def after_end(self, task_key: TaskKey, kind: Kind) -> None:
        """If a task of the kind has ended, let what the end began be finished after the answer."""

        async def finish() -> None:
            after_end = self.worker.kind_of(kind).after_end
            if after_end is not None and await after_end(self.worker, task_key):
                self.worker.begin_after_ends()

        self.wait_until(finish())

    async def _work(self, task_key: TaskKey, seconds: float) -> None:
        """Work on the task. Calls start only while the poll waits, and are cut off STAND_IN_SECONDS later."""
        worker, cut_at = self.worker, clock.now() + seconds + limits.STAND_IN_SECONDS
        host = Host(
            Route.DIRECT,
            seconds,
            caller_for=lambda claim: BriefCaller(worker.provider, worker.settings.concurrency, cut_at),
            stands_in=True,
        )
        try:
            await worker.run(task_key, host)
        except Exception as error:  # noqa: BLE001 - the poll answers in spite of the error
            worker.log.failure("run_failed", error, task=task_key)


async def hold[T](work: Coroutine[None, None, T], seconds: float | None, wait_until: WaitUntil) -> T | None:
    """Do work in this invocation, and return its result or raise its error if it ends within `seconds`.

    `wait_until` keeps it going after that, and gets its error.
    """
    done, results, waits = asyncio.Event(), list[T | Exception](), True

    async def held() -> None:
        try:
            results.append(await work)
        except Exception as error:
            if not waits:
                raise
            results.append(error)  # raised below, in the request's own task
        finally:
            done.set()

    wait_until(held())
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await done.wait()
    waits = False
    for result in results:
        if isinstance(result, Exception):
            raise result
        return result
    return None
