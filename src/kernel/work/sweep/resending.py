"""Dispatches tasks again that no host has. A sweep that may make calls works on unanswered ones itself."""

from collections import Counter
from collections.abc import Awaitable, Callable, Sequence

from ...domain import limits
from ...domain.ids import TaskKey, split_task_key
from ...domain.task import Route
from ...store.sweep import Due
from ..dispatch import DirectSender, Dispatcher, Sender
from ..worker import Host, Worker
from .duty import SweepAllowance

# The D1 calls for a part of a page, besides the sends: to fail stalled tasks, to take the others, to make some due.
_PART_SUBREQUESTS = 3
# The D1 calls for a page: those for one part, the read of the page, and the write that fails overdue tasks.
_PAGE_SUBREQUESTS = 5
_PAGE_STATEMENTS = 8
# The most subrequests (without the send) and statements of a dispatch that asks for an object slot. If another waiting
# task gets the slot, the dispatch starts its object.
_SLOT_SUBREQUESTS = 3
_SLOT_STATEMENTS = 5


class Resending:
    """Dispatches due tasks. `senders` are all routes of the deployment except the direct route.

    The first due task of a sweep is dispatched alone. If one of `senders` accepts it, the other tasks are dispatched in
    larger parts. If only the direct route does, this invocation runs this task and then the next one.
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
        self._has_slots = worker.settings.objects_at_work_most is not None
        self._taken: Counter[str] = Counter()  # How many tasks of each tenant this sweep has dispatched.
        # How many sends the first accepted task took; 0 as long as no route of `senders` has accepted a task.
        self._sends_a_task = 0
        # The runs of tasks that the direct route accepted, which the sweep starts next.
        self.runs: list[Callable[[], Awaitable[None]]] = []
        # Tasks whose earlier dispatches no host answered, which the sweep itself works on at its end.
        self.unanswered: list[TaskKey] = []

    async def fill_slots(self) -> list[TaskKey]:
        """Give free object slots to waiting tasks, and return the tasks that got one, to be dispatched first."""
        most = self._settings.objects_at_work_most
        if most is None:
            return []
        return await self._store.fill_slots(most, limits.SLOTS_GIVEN_MOST[self._settings.plan])

    def may_go_on(self) -> bool:
        """Whether time and allowance suffice to dispatch another part of a page."""
        if not self._allowance.in_time() or self._allowance.too_late_to_send():
            return False
        if self._sends_a_task:
            return self._sendable(_PART_SUBREQUESTS) > 0 and self._allowance.statements_left() >= _PAGE_STATEMENTS
        return self._worker.can_afford_run

    def affords_page(self) -> bool:
        """Whether the allowance suffices to read another page of due tasks and to dispatch them."""
        return not self._sends_a_task or self._sendable(_PAGE_SUBREQUESTS) > 0

    def put_aside(self, due: Due) -> Due:
        """Move the tasks that no host answered from `due` to `unanswered`. In the database they stay due."""
        if not self._stands_in:
            return due
        self.unanswered += [key for key in due.idle if key in due.unanswered and key not in self.unanswered]
        return due.without(self.unanswered)

    def split(self, due: Due) -> tuple[Due, Due]:
        """Split the due tasks into those that can be dispatched now and the rest."""
        spent = _PART_SUBREQUESTS + bool(due.overdue)
        return due.split(self._sendable(spent) if self._sends_a_task else 1)

    async def send(self, due: Due) -> tuple[int, bool]:
        """Dispatch due tasks, and return how many were dispatched, and whether all routes refused one.

        That task and all after it are made due again. If a sweep has dispatched SWEEP_QUEUE_SHARE tasks of one tenant,
        the next ones go to objects first, so that they do not delay other tenants' tasks in the queue.
        """
        task_keys = await self._store.take_due(due, self._settings.lease_ms) if due.live or due.idle else []
        dispatcher, sent = self._dispatcher(), 0
        for position, task_key in enumerate(task_keys):
            tenant, _ = split_task_key(task_key)
            self._taken[tenant] += 1
            crowded = self._taken[tenant] > limits.SWEEP_QUEUE_SHARE
            sendable = self._can_send()
            before = self._worker.meter.subrequests
            route = await dispatcher.dispatch(task_key, crowded=crowded) if sendable else None
            # A task that waits for an object slot is left waiting until a slot is free or until the next check.
            waits = sendable and route is None and dispatcher.no_slot
            if route is None and not waits:
                await self._store.make_due(task_keys[position:])
                self._worker.log("made_due", tasks=len(task_keys) - position)
                return sent, True
            sent += not waits
            if route is not Route.DIRECT and not self._sends_a_task:
                # A task costs one send to the route that accepts it, and one send to each route that refuses it before.
                self._sends_a_task = self._worker.meter.subrequests - before
        return sent, False

    async def stand_in(self) -> bool:
        """Work on the first of `unanswered`. False: it waits for a slot, or the allowance is used up."""
        task_key, worked = self.unanswered.pop(0), False
        try:
            if await self._worker.may_stand_in(task_key) and self._worker.can_afford_run:
                worked = True
                host = Host(Route.DIRECT, self._allowance.seconds_left(), stands_in=True, delivers=False)
                await self._worker.run(task_key, host)
        except Exception as error:  # noqa: BLE001 - an error of one task's run must not stop the sweep
            self._worker.log.failure("run_failed", error, task=task_key)
        return worked

    def _dispatcher(self) -> Dispatcher:
        """Return a dispatcher, which has the direct route only while no other route has accepted a task."""
        senders = list(self._senders)
        if not self._sends_a_task and self._allowance.seconds > 0:
            seconds_left = self._allowance.seconds_left
            senders.append(DirectSender(self._worker, seconds_left, self.runs.append, delivers=False))
        return Dispatcher(senders, self._worker.meter, self._worker.log)

    def _sendable(self, spent: int) -> int:
        """Return how many tasks can be dispatched if `spent` subrequests are needed for other steps."""
        return max(0, (self._allowance.subrequests_left() - spent) // self._sends_a_task)

    def _can_send(self) -> bool:
        if self._allowance.too_late_to_send():
            return False
        if self._has_slots and self._allowance.statements_left() <= _SLOT_STATEMENTS:
            return False
        return self._allowance.subrequests_left() > len(self._senders) + self._has_slots * _SLOT_SUBREQUESTS
