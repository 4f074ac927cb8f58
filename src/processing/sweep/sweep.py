"""The backstop, run by the cron trigger: what no message, alarm or worker will bring back, this does."""

from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

from ...core import limits
from ...core.errors import StoreError, StoreFull
from ...core.ids import TaskKey, split_task_key
from ...core.task import Route
from ...store.sweep import Due
from .. import clock
from ..allowance import slice_seconds
from ..direct import DirectSender
from ..dispatch import Dispatcher, Sender
from ..outcomes import crashed
from ..terms import OVERDUE
from ..worker import Host, Worker
from .early_erasure import Clearance, Needed
from .folding import Folding

# A part of a page, beyond its sends: stalled tasks are failed, the others taken on, those not sent given back.
_PART_CALLS = 3
# The same with the look for the page, and with those failed whose deadline has passed; and all their statements.
_PAGE_CALLS = 5
_PAGE_STATEMENTS = 8
# Of a fold: the look and the write; and all their statements, with a retention more than there usually are.
_FOLD_CALLS = 2
_FOLD_STATEMENTS = 11
# What the question for a place on objects takes at most, besides the send, and all the statements: a place may go to
# another task, and then the dispatch starts that task's object.
_PLACE_CALLS = 3
_PLACE_STATEMENTS = 5


class Looked(NamedTuple):
    """What came of a look: the route that took the last task, None if there was none; and whether one was refused."""

    route: Route | None
    refused: bool = False


@dataclass(slots=True, kw_only=True)
class Swept:
    """What a run did, in tasks: `worked` are those that it worked on in place of a host that does not come."""

    dispatched: int = 0
    worked: int = 0
    expired: int = 0
    failed: int = 0
    erased: int = 0


class Sweep:
    """One run of the sweep. `senders` are the deployment's routes but the direct one.

    One task goes first. If a route takes it, the others follow together, a page after the other, as long as the
    allowance lasts. If it comes down to the direct route, it runs here, and then the next one: never two at once.

    Calls start for `seconds`, and none where that is 0; by default as long as a cron trigger may. With `stands_in` the
    run works on tasks itself that were sent off in vain before, once it is through with the others. `folds` is False
    where a task may run in the same invocation, whose looks need what a fold would spend.

    A full database may refuse what goes before the erasures. It does not keep the run from these, which make room.
    """

    _ends_at: float  # when no call starts any more
    _sends_until: float  # when no send starts any more: one cut off with its run would have taken tasks on for nothing

    def __init__(
        self,
        worker: Worker,
        senders: Sequence[Sender],
        *,
        seconds: float | None = None,
        stands_in: bool = False,
        folds: bool = True,
    ) -> None:
        self._worker = worker
        self._store = worker.store
        self._settings = worker.settings
        self._meter = worker.meter
        self._senders = senders
        self._taken: Counter[str] = Counter()  # tasks of each tenant
        self._runs: list[Callable[[], Awaitable[None]]] = []
        self._places = worker.settings.objects_at_work_most is not None
        self._sends = 0  # that a task costs, as the first one showed; 0 as long as no route has taken one
        self._seconds = slice_seconds(self._settings, limits.SWEEP_SLICE_SECONDS, limits.SWEEP_WALL_SECONDS)
        if seconds is not None:
            self._seconds = seconds
        self._send_seconds = (limits.SWEEP_SLICE_SECONDS if seconds is None else seconds) or limits.DIRECT_SLICE_SECONDS
        self._stands_in = stands_in
        self._folds = folds
        self._unanswered: list[TaskKey] = []
        self._swept = Swept()
        self._clearance = Clearance(worker.store, worker.storage, worker.settings, worker.meter, worker.log)
        self._has_erased = self._has_cleared = False

    async def run(self) -> Swept:
        """Look at tasks that are due; what is left over is still due at the next run. Raises StoreError."""
        self._ends_at = clock.now() + self._seconds
        self._sends_until = clock.now() + self._send_seconds
        try:
            await self._send_off()
        except StoreFull as error:  # the others are still due; what makes room goes on
            self._worker.log.failure("sweep_found_no_room", error)
            await self._erase(None)
        await self._clear()
        if self._folds:
            await self._fold()
        self._worker.begin_deliveries()
        return self._swept

    async def _send_off(self) -> None:
        most, give_most = self._settings.objects_at_work_most, limits.PLACES_GIVEN_MOST[self._settings.plan]
        placed = [] if most is None else await self._store.fill_places(most, give_most)
        await self._look_at_pages(placed)
        while self._unanswered and self._in_time() and self.has_room():
            await self._clear()  # a run takes what is left of the allowance
            await self._work(self._unanswered.pop(0))

    async def _clear(self) -> None:
        """Make room early, once in a run."""
        if not self._has_cleared:
            self._has_cleared = True
            self._swept.erased += await self._clearance.run()

    async def _fold(self) -> None:
        """Add up what has ended, with what is left of the allowance: the next sweep, or a scrape, does the rest."""
        folding = Folding(self._store, self._settings, self._worker.log)
        for _ in range(limits.FOLD_PAGES_MOST[self._settings.plan]):
            if self._subrequests_left() < _FOLD_CALLS or self._statements_left() < _FOLD_STATEMENTS:
                return
            if not await folding.run():
                return

    async def _work(self, task_key: TaskKey) -> None:
        try:
            if not await self._worker.may_stand_in(task_key) or not self.has_room():
                return
            self._swept.worked += 1
            await self._worker.run(task_key, Host(Route.DIRECT, self._seconds_left(), stands_in=True))
        except Exception as error:  # noqa: BLE001 - one task's trouble is not the others'
            self._worker.log.failure("run_failed", error, task=task_key)

    async def _look_at_pages(self, placed: list[TaskKey]) -> None:
        """Look at one page after the other. `placed` have got a place just now, and go before the first one."""
        direct = [DirectSender(self._worker, self._seconds_left, self._runs.append)] if self._seconds > 0 else []
        alone = self._dispatcher([*self._senders, *direct])
        # Should the routes refuse, a run may get no further than to whoever comes first.
        turns = limits.SWEEP_TURNS if self._senders else 1
        due, more, erase_most = Due(), True, limits.ERASE_TASKS_MOST[self._settings.plan]
        while self._may_go_on():
            if due.empty:
                if not more or (self._sends and not self._sendable(_PAGE_CALLS)):
                    return
                page = await self._store.due(
                    limits.SWEEP_PAGE_TASKS,
                    served=turns,
                    erase_most=erase_most,
                    delay_ms=self._settings.lease_ms,
                    stands_in=self._stands_in,
                    plan=self._settings.plan,
                )
                self._worker.begin_deliveries(page.deliveries)
                if page.past_retention and self._worker.storage.is_tight(self._settings.storage_bytes_most):
                    await self._erase(page)  # first of all: the rest may need the room
                    page = replace(page, past_retention=[])
                due = self._answered(page)
                # A page of which all are put aside would come again.
                more, erase_most = page.looked_at == limits.SWEEP_PAGE_TASKS and not due.empty, 0
                due, placed = due.behind(placed), []
            spent = _PART_CALLS + bool(due.overdue)
            part, due = due.split(self._sendable(spent) if self._sends else 1)
            looked = await self._look(part, self._dispatcher(self._senders) if self._sends else alone)
            if looked.refused:
                return
            while self._runs:
                await self._clear()  # a run takes what is left of the allowance
                await self._runs.pop()()

    def _answered(self, due: Due) -> Due:
        """Put those aside that this run works on itself. They stay due, so whoever does not get to them loses none."""
        if not self._stands_in:
            return due
        self._unanswered += [key for key in due.idle if key in due.unanswered and key not in self._unanswered]
        return due.without(self._unanswered)

    async def _look(self, due: Due, dispatcher: Dispatcher) -> Looked:
        """Look once at tasks.

        Dispatches tasks that nobody was told about or whose lease ran out, fails those whose deadline has passed, and
        erases those past their retention: after the dispatches of this look, and a failure is logged, so that it costs
        nobody a dispatch. Only so many tasks of a tenant go to the queue, in front of everybody's next.
        """
        if due.empty:
            return Looked(None)
        store, settings, log = self._store, self._settings, self._worker.log
        expired = await store.expire(due.overdue, OVERDUE, settings.retention_ms) if due.overdue else []
        # A worker that finds too many stalls fails the task itself; here are those that no worker has claimed since.
        hopeless = [task_key for task_key, stalls in due.stalls.items() if stalls >= settings.max_attempts]
        if hopeless:
            reason = crashed(settings.max_attempts)
            ended = await store.give_up(hopeless, settings.max_attempts, reason, settings.retention_ms)
            log("gave_up", tasks=len(ended))
            self._swept.failed += len(ended)
        ids = await store.take_due(due, settings.lease_ms) if due.live or due.idle else []
        looked, sent = await self._send(ids, dispatcher)
        erased = await self._erase(due) if due.past_retention else 0
        self._swept.dispatched += sent
        self._swept.expired += len(expired)
        log("swept", dispatched=sent, erased=erased, expired=len(expired), live=len(due.live))
        return looked

    async def _send(self, ids: Sequence[TaskKey], dispatcher: Dispatcher) -> tuple[Looked, int]:
        """Dispatch tasks that were taken on, and return how many were; what is refused is due again, with the rest."""
        route, sent = None, 0
        for place, task_key in enumerate(ids):
            tenant, _ = split_task_key(task_key)
            self._taken[tenant] += 1
            crowded = self._taken[tenant] > limits.SWEEP_QUEUE_SHARE
            sendable = self._can_send()
            before = self._meter.subrequests
            route = await dispatcher.dispatch(task_key, crowded=crowded) if sendable else None
            waits = sendable and route is None and dispatcher.no_place  # until the next look, or until there is room
            if route is None and not waits:
                await self._store.make_due(ids[place:])
                self._worker.log("made_due", tasks=len(ids) - place)
                return Looked(None, refused=True), sent
            sent += not waits
            if route is not Route.DIRECT and not self._sends:
                # A route before this one that refuses costs each task a send.
                self._sends = self._meter.subrequests - before
        return Looked(route), sent

    async def _erase(self, found: Due | None) -> int:
        """Erase tasks, a page after the other, within an allowance of its own; return how many were.

        That is done once in a run. None: nobody has looked for the first page.
        """
        plan = self._settings.plan
        erased, pages = 0, 0 if self._has_erased else limits.ERASE_PAGES_MOST[plan]
        self._has_erased = True
        try:
            for _ in range(pages):
                due = found or await self._store.past_retention(limits.ERASE_TASKS_MOST[plan])
                found = None
                if not due.past_retention:
                    break
                erased += await self._store.erase_expired(due)
        except StoreError as error:  # the next run's; the tasks that go on are more urgent
            self._worker.log.failure("erasure_failed", error)
        self._swept.erased += erased
        return erased

    def _dispatcher(self, senders: Sequence[Sender]) -> Dispatcher:
        return Dispatcher(senders, self._meter, self._worker.log)

    def _seconds_left(self) -> float:
        return self._ends_at - clock.now()

    def _subrequests_left(self) -> int:
        return self._settings.subrequests - self._meter.subrequests_taken - self._kept.calls

    @property
    def _kept(self) -> Needed:
        """What the run keeps back, so that many due tasks do not keep it from making room."""
        return Needed() if self._has_cleared else self._clearance.needed

    def _sendable(self, spent: int) -> int:
        """Return how many tasks can be sent if so many subrequests go into the rest."""
        return max(0, (self._subrequests_left() - spent) // self._sends)

    def _statements_left(self) -> int:
        return self._settings.statements - self._meter.statements_taken - self._kept.statements

    def _too_late_to_send(self) -> bool:
        return clock.now() >= self._sends_until

    def _can_send(self) -> bool:
        if self._too_late_to_send():
            return False
        if self._places and self._statements_left() <= _PLACE_STATEMENTS:
            return False
        return self._subrequests_left() > len(self._senders) + self._places * _PLACE_CALLS

    def _in_time(self) -> bool:
        return self._seconds <= 0 or self._seconds_left() > 0

    def has_room(self) -> bool:
        """Whether enough is left of the invocation's allowance for a run to be worth starting."""
        return self._worker.can_afford_run

    def _may_go_on(self) -> bool:
        if not self._in_time() or self._too_late_to_send():
            return False
        if self._sends:
            return self._sendable(_PART_CALLS) > 0 and self._statements_left() >= _PAGE_STATEMENTS
        return self.has_room()
