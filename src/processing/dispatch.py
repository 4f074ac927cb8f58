"""Sends a task to a host by the first route that accepts the task.

The bindings of the deployment determine which routes exist.
"""

import asyncio
from collections.abc import Sequence
from typing import Protocol

from ..core import limits
from ..core.ids import TaskKey
from ..core.meter import Meter
from ..core.quota import is_used_up
from ..core.task import Route
from .log import Log


class Sender(Protocol):
    """Sends a task to a host by one route."""

    route: Route

    async def send(self, task_key: TaskKey, delay_seconds: float) -> None:
        """Ask a host to run the task after the given delay. Raises any error that the route's binding raises."""
        ...


class NoPlace(Exception):
    """Raised by a route on which as many tasks already run as are allowed (MAX_OBJECTS_AT_WORK).

    A task that is refused with NoPlace waits for an object slot, and the direct route does not run it instead.
    """


class Dispatcher:
    """Sends a task to a host by the first route that accepts the task; the routes are tried in the deployment's order.

    If all routes fail, the task stays pending, and the sweep dispatches it again. `no_place` says that the last task
    was not accepted because it must wait for an object slot.
    """

    def __init__(self, senders: Sequence[Sender], meter: Meter, log: Log) -> None:
        assert senders
        self._senders = senders
        self._meter = meter
        self._log = log
        self.no_place = False

    @property
    def first_route(self) -> Route:
        """The route that the deployment tries first for every task."""
        return self._senders[0].route

    def has(self, route: Route) -> bool:
        """Whether the deployment has the given route."""
        return any(sender.route is route for sender in self._senders)

    def first_choice(self, *, crowded: bool) -> Route:
        """The route that is tried first for a task, which depends on whether its tenant is `crowded` in the queue."""
        return self._in_order(crowded)[0].route

    def _in_order(self, crowded: bool) -> list[Sender]:
        # If `crowded`, the object route is sorted first, because False sorts before True. The sort keeps the order of
        # the other routes.
        return sorted(self._senders, key=lambda sender: crowded and sender.route is not Route.DURABLE_OBJECT)

    async def dispatch(self, task_key: TaskKey, delay_seconds: float = 0, *, crowded: bool = False) -> Route | None:
        """Send a task to a host. Return the route that accepted the task, or None if no route accepted it.

        A route may have accepted a task although the send failed, so two hosts may get a message for the task. Because
        of the claim, only one of the two hosts can work on the task. A task whose tenant has many tasks in the queue
        (`crowded`) goes to an object first, if there are objects.
        """
        self.no_place = False
        for sender in self._in_order(crowded):
            if self.no_place and sender.route is Route.DIRECT:
                break
            self._meter.spend()
            try:
                async with asyncio.timeout(limits.SEND_SECONDS):
                    await sender.send(task_key, delay_seconds)
            except NoPlace:
                self.no_place = True
                continue
            except Exception as error:  # noqa: BLE001 - a binding may raise anything; the next route is tried
                text = f"{type(error).__name__}: {error}"
                reason = "quota" if is_used_up(text) else "outage"
                self._log("send_failed", task=task_key, route=sender.route, reason=reason, error=text)
                continue
            self._log("dispatched", task=task_key, route=sender.route, delay_seconds=delay_seconds or None)
            return sender.route
        self._log("undispatched", task=task_key, no_place=self.no_place or None)
        return None
