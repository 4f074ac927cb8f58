"""The direct route: a task runs in the same invocation that dispatches it, after the invocation has answered."""

from collections.abc import Awaitable, Callable
from functools import partial

from ..core.ids import TaskKey
from ..core.task import Route
from .worker import Host, Worker


class DirectSender:
    """Runs tasks through `begin`. When a run begins, `seconds_left` returns for how long the run may start calls.

    `begin` gets a function that makes the run's coroutine, so that a run that never begins leaves no coroutine that is
    not awaited.

    `delivers` is False if the caller sends the webhook deliveries of the ended tasks itself.

    If no time is left when a run would begin, the task is made due at once, and the next sweep, which has more time,
    runs it. The sweep also continues a task whose run was cut off by the platform, and a task that had to wait.
    """

    route = Route.DIRECT

    def __init__(
        self,
        worker: Worker,
        seconds_left: Callable[[], float],
        begin: Callable[[Callable[[], Awaitable[None]]], None],
        *,
        delivers: bool = True,
    ) -> None:
        self._worker = worker
        self._seconds_left = seconds_left
        self._begin = begin
        self._delivers = delivers

    async def send(self, task_key: TaskKey, delay_seconds: float) -> None:
        """Start a run of the task at once.

        A task with a delay is left to the sweep, which finds the task when it is due.
        """
        if delay_seconds <= 0:
            self._begin(partial(self._run, task_key))

    async def _run(self, task_key: TaskKey) -> None:
        seconds = self._seconds_left()
        try:
            if seconds > 0:
                await self._worker.run(task_key, Host(Route.DIRECT, seconds, delivers=self._delivers))
            else:
                await self._worker.store.make_due([task_key])
                self._worker.log("made_due", tasks=1, task=task_key)
        except Exception as error:  # noqa: BLE001 - nothing awaits this run; the sweep continues the task later
            self._worker.log.failure("run_failed", error, task=task_key)
