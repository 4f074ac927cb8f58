"""Sends a task by the first bound route that takes it; the direct one runs it here, after the answer."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Protocol

from ..domain import limits
from ..domain.errors import is_used_up
from ..domain.ids import TaskKey
from ..domain.meter import Meter
from ..domain.task import Route
from ..run.log import Log
from .worker import Host, Worker


class DirectSender:
    """Runs tasks through `begin`. When a run begins, `seconds_left` returns for how long the run may start calls.

    `begin` gets a function that makes the coroutine, because a run may never begin. `delivers` is False if the caller
    sends the webhook deliveries of the ended tasks itself.

    Without time left when a run would begin, the task is made due at once for the next sweep. The sweep also continues
    a task whose run was cut off by the platform, and a task that had to wait.
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
        """Start a run at once. A task with a delay is left to the sweep, until it is due."""
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


class Sender(Protocol):
    """Sends a task to a host by one route."""

    route: Route

    async def send(self, task_key: TaskKey, delay_seconds: float) -> None:
        """Ask a host to run the task after the given delay. Raises any error that the route's binding raises."""
        ...


class NoSlot(Exception):
    """All of MAX_OBJECTS_AT_WORK run: the task waits for a slot, and the direct route does not run it."""


class Dispatcher:
    """Sends a task to a host by the first route that accepts the task; the routes are tried in the deployment's order.

    If all routes fail, the task stays pending, and the sweep dispatches it again. `no_slot` says that the last task
    was not accepted because it must wait for an object slot.
    """

    def __init__(self, senders: Sequence[Sender], meter: Meter, log: Log) -> None:
        assert senders
        self._senders = senders
        self._meter = meter
        self._log = log
        self.no_slot = False

    @property
    def first_route(self) -> Route:
        """The route that the deployment tries first for every task."""
        return self._senders[0].route

    def has(self, route: Route) -> bool:
        """Whether the deployment has the given route."""
        return any(sender.route is route for sender in self._senders)

    def only(self, route: Route) -> "Dispatcher":
        """Return a dispatcher that tries no route but the given one."""
        return Dispatcher([sender for sender in self._senders if sender.route is route], self._meter, self._log)

    def first_choice(self, *, crowded: bool) -> Route:
        """The route that is tried first for a task, which depends on whether its tenant is `crowded` in the queue."""
        return self._in_order(crowded)[0].route

    def _in_order(self, crowded: bool) -> list[Sender]:
        # If `crowded`, the object route comes first, as False sorts before True, and the others keep their order.
        return sorted(self._senders, key=lambda sender: crowded and sender.route is not Route.DURABLE_OBJECT)

    async def dispatch(self, task_key: TaskKey, delay_seconds: float = 0, *, crowded: bool = False) -> Route | None:
        """Send a task to a host. Return the route that accepted the task, or None if no route accepted it.

        A route may have accepted a task although the send failed. Of two hosts that get the task, only the one with the
        claim works on it. A task whose tenant has many tasks in the queue (`crowded`) goes to an object first, if any.
        """
        self.no_slot = False
        for sender in self._in_order(crowded):
            if self.no_slot and sender.route is Route.DIRECT:
                break
            self._meter.spend()
            try:
                async with asyncio.timeout(limits.SEND_SECONDS):
                    await sender.send(task_key, delay_seconds)
            except NoSlot:
                self.no_slot = True
                continue
            except Exception as error:  # noqa: BLE001 - a binding may raise anything; the next route is tried
                text = f"{type(error).__name__}: {error}"
                reason = "quota" if is_used_up(text) else "outage"
                self._log("send_failed", task=task_key, route=sender.route, reason=reason, error=text)
                continue
            self._log("dispatched", task=task_key, route=sender.route, delay_seconds=delay_seconds or None)
            return sender.route
        self._log("undispatched", task=task_key, no_place=self.no_slot or None)
        return None
