"""Sends tasks off again: this duty of the sweep is for tasks without a notified host, or whose host is gone.

A sweep that may start model calls also works on tasks itself, in place of a host that does not come.
"""

from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from typing import NamedTuple

from ...core import limits
from ...core.ids import TaskKey, split_task_key
from ...core.task import Route
from ...store.sweep import Due
from ..direct import DirectSender
from ..dispatch import Dispatcher, Sender
from ..worker import Host, Worker
from .sweep_allowance import SweepAllowance

# The calls for a part of a page, besides the sends: fail stalled tasks, take the others on, give back unsent ones.
_PART_SUBREQUESTS = 3
# The calls for a page: those of a part, the read that finds the page, and the failing of tasks past their deadline.
_PAGE_SUBREQUESTS = 5
_PAGE_STATEMENTS = 8
# What the question for a place on objects takes at most, besides the send, and all the statements: a place may go to
# another task, and then the dispatch starts that task's object.
_PLACE_SUBREQUESTS = 3
_PLACE_STATEMENTS = 5


class Resent(NamedTuple):
    """The result of sending off a part of a page of tasks."""

    tasks: int  # Tasks that were sent off.
    refused: bool = False  # True if the routes took no more, so that the rest is due again.


class Resending:
    """Sends tasks off. `senders` are all routes of the deployment except the direct one.

    One task goes first. If a route accepts the first task, the others follow together. If the task falls to the direct
    route, the task runs in this invocation, and then the next one: never two at once.
    """

    def __init__(
        self, worker: Worker, allowance: SweepAllowance, senders: Sequence[Sender], *, stands_in: bool
    ) -> None:
        self._worker = worker
        self._store = worker.store
        self._settings = worker.settings
        self._allowance = allowance
        self._senders = senders
        self._stands_in = stands_in
        self._has_places = worker.settings.objects_at_work_most is not None
        self._taken: Counter[str] = Counter()  # The number of taken tasks of each tenant.
        self._sends_a_task = 0  # The sends that the first task needed; 0 as long as no route has taken one.
        # Runs of the tasks that fell to the direct route, to be started now.
        self.runs: list[Callable[[], Awaitable[None]]] = []
        self.unanswered: list[TaskKey] = []  # Tasks that were sent off in vain before, to be worked on at the end.

    async def fill_places(self) -> list[TaskKey]:
        """Give free places on objects to tasks that wait for one, and return these tasks: they are sent first."""
        most = self._settings.objects_at_work_most
        if most is None:
            return []
        return await self._store.fill_places(most, limits.PLACES_GIVEN_MOST[self._settings.plan])

    def may_go_on(self) -> bool:
        """Whether another part of a page may be sent."""
        if not self._allowance.in_time() or self._allowance.too_late_to_send():
            return False
        if self._sends_a_task:
            return self._sendable(_PART_SUBREQUESTS) > 0 and self._allowance.statements_left() >= _PAGE_STATEMENTS
        return self._worker.can_afford_run

    def affords_page(self) -> bool:
        """Whether the allowance suffices for another page."""
        return not self._sends_a_task or self._sendable(_PAGE_SUBREQUESTS) > 0

    def put_aside(self, due: Due) -> Due:
        """Put the unanswered tasks aside.

        These tasks stay due, so that they are not lost if this sweep has no time for them.
        """
        if not self._stands_in:
            return due
        self.unanswered += [key for key in due.idle if key in due.unanswered and key not in self.unanswered]
        return due.without(self.unanswered)

    def split(self, due: Due) -> tuple[Due, Due]:
        """Take a part of the due tasks that can be sent, and return the rest."""
        spent = _PART_SUBREQUESTS + bool(due.overdue)
        return due.split(self._sendable(spent) if self._sends_a_task else 1)

    async def send(self, due: Due) -> Resent:
        """Take tasks on and dispatch them. A task that all routes refuse is due again, and so are the tasks after it.

        After SWEEP_QUEUE_SHARE tasks of one tenant, its next tasks go to objects first, so that they do not delay
        others in the queue.
        """
        task_keys = await self._store.take_due(due, self._settings.lease_ms) if due.live or due.idle else []
        dispatcher, sent = self._dispatcher(), 0
        for place, task_key in enumerate(task_keys):
            tenant, _ = split_task_key(task_key)
            self._taken[tenant] += 1
            crowded = self._taken[tenant] > limits.SWEEP_QUEUE_SHARE
            sendable = self._can_send()
            before = self._worker.meter.subrequests
            route = await dispatcher.dispatch(task_key, crowded=crowded) if sendable else None
            # The task waits until the next check, or until an object slot is free.
            waits = sendable and route is None and dispatcher.no_place
            if route is None and not waits:
                await self._store.make_due(task_keys[place:])
                self._worker.log("made_due", tasks=len(task_keys) - place)
                return Resent(sent, refused=True)
            sent += not waits
            if route is not Route.DIRECT and not self._sends_a_task:
                # If a route before this one refuses, each task costs one more send.
                self._sends_a_task = self._worker.meter.subrequests - before
        return Resent(sent)

    async def stand_in(self) -> bool:
        """Work on the first unanswered task in place of its host.

        Returns False if this is not allowed, or if the allowance is spent.
        """
        task_key, worked = self.unanswered.pop(0), False
        try:
            if await self._worker.may_stand_in(task_key) and self._worker.can_afford_run:
                worked = True
                host = Host(Route.DIRECT, self._allowance.seconds_left(), stands_in=True)
                await self._worker.run(task_key, host)
        except Exception as error:  # noqa: BLE001 - one task's trouble is not the others'
            self._worker.log.failure("run_failed", error, task=task_key)
        return worked

    def _dispatcher(self) -> Dispatcher:
        """Return the routes of a part: as long as none of them took a task, the direct one too, if calls may start."""
        senders = list(self._senders)
        if not self._sends_a_task and self._allowance.seconds > 0:
            senders.append(DirectSender(self._worker, self._allowance.seconds_left, self.runs.append))
        return Dispatcher(senders, self._worker.meter, self._worker.log)

    def _sendable(self, spent: int) -> int:
        """Return how many tasks can be sent if this many subrequests are needed for the rest."""
        return max(0, (self._allowance.subrequests_left() - spent) // self._sends_a_task)

    def _can_send(self) -> bool:
        if self._allowance.too_late_to_send():
            return False
        if self._has_places and self._allowance.statements_left() <= _PLACE_STATEMENTS:
            return False
        return self._allowance.subrequests_left() > len(self._senders) + self._has_places * _PLACE_SUBREQUESTS
