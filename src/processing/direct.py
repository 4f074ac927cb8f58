"""The direct route: a task runs in the invocation that dispatches it, after the invocation's answer."""

from collections.abc import Awaitable, Callable
from functools import partial

from ..core.ids import TaskKey
from ..core.task import Route
from .worker import Host, Worker


class DirectSender:
    """Runs tasks through `begin`. A run may start calls for as long as `seconds_left` returns when the run begins.

    `begin` gets a function that makes the run, so a run that never begins leaves no coroutine unawaited.

    If no time is left when a run would begin, the task is made due at once, and the next sweep runs it with more time.
    The sweep also continues a task whose run the platform cut off, and a task that had to wait.
    """

    route = Route.DIRECT

    def __init__(
        self,
        worker: Worker,
        seconds_left: Callable[[], float],
        begin: Callable[[Callable[[], Awaitable[None]]], None],
    ) -> None:
        self._worker = worker
        self._seconds_left = seconds_left
        self._begin = begin

    async def send(self, task_key: TaskKey, delay_seconds: float) -> None:
        """Start a run of the task at once. A task with a delay is left to the sweep, which finds it when it is due."""
        if delay_seconds <= 0:
            self._begin(partial(self._run, task_key))

    async def _run(self, task_key: TaskKey) -> None:
        seconds = self._seconds_left()
        try:
            if seconds > 0:
                await self._worker.run(task_key, Host(Route.DIRECT, seconds))
            else:
                await self._worker.store.make_due([task_key])
                self._worker.log("made_due", tasks=1, task=task_key)
        except Exception as error:  # noqa: BLE001 - nothing awaits this run; the sweep continues the task later
            self._worker.log.failure("run_failed", error, task=task_key)
