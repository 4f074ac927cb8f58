"""The backstop, run by the cron trigger: what no message, alarm or worker will bring back, this does."""

from collections import Counter
from collections.abc import Awaitable, Sequence

from ..core import limits
from ..core.errors import StoreError
from ..core.ids import split_task_key
from ..core.task import Route
from ..store.sweep import Due
from . import clock
from .allowance import slice_seconds
from .direct import DirectSender
from .dispatch import Dispatcher, Sender
from .outcomes import crashed
from .terms import OVERDUE
from .worker import Worker

# A look at a batch, beyond its sends: stalled tasks are failed, the others taken on, those not sent given back.
_LOOK_CALLS = 3


class Sweep:
    """One run of the cron trigger. `senders` are the deployment's routes but the direct one.

    One task goes first. If a route takes it, the others follow together. If it comes down to the direct route, it runs
    here, and then the next one: as long as time and allowance last, and never two at once.
    """

    _ends_at: float  # when no call starts any more

    def __init__(self, worker: Worker, senders: Sequence[Sender]) -> None:
        self._worker = worker
        self._store = worker.store
        self._settings = worker.settings
        self._meter = worker.meter
        self._senders = senders
        self._taken: Counter[str] = Counter()  # tasks of each tenant
        self._runs: list[Awaitable[None]] = []

    async def run(self) -> None:
        """Look at tasks that are due; what is left over is still due at the next run. Raises StoreError."""
        self._ends_at = clock.now() + slice_seconds(
            self._settings, limits.SWEEP_SLICE_SECONDS, limits.SWEEP_WALL_SECONDS
        )
        direct = DirectSender(self._worker, self._seconds_left, self._runs.append)
        alone = self._dispatcher([*self._senders, direct])
        due = Due()
        while self._may_run():
            if due.empty:
                # Should the routes refuse, a run may get no further than to whoever comes first.
                turns = limits.SWEEP_TURNS if self._senders else 1
                due = await self._store.due(limits.SWEEP_TASKS_MOST, served=turns)
            if due.empty:
                return
            first, due = due.split(1)
            route = await self._look(first, alone)
            if not first.idle:
                return
            while self._runs:
                await self._runs.pop()
            if route is not None and route is not Route.DIRECT:
                # A route before this one that refuses costs each task a send.
                sends = 1 + [sender.route for sender in self._senders].index(route)
                batch, _ = due.split(max(0, (self._subrequests_left() - _LOOK_CALLS) // sends))
                if not batch.empty:
                    await self._look(batch, self._dispatcher(self._senders))
                return

    async def _look(self, due: Due, dispatcher: Dispatcher) -> Route | None:
        """Look once at tasks, and return the route that took the last one; None if none took it, or there was none.

        Dispatches tasks that nobody was told about or whose lease ran out, fails those whose deadline has passed, and
        erases those past their retention: after the dispatches of this look, and a failure is logged, so that it costs
        nobody a dispatch. Only so many tasks of a tenant go to the queue, in front of everybody's next.
        """
        store, settings, log = self._store, self._settings, self._worker.log
        expired = await store.expire(due.overdue, OVERDUE, settings.retention_ms) if due.overdue else []
        # A worker that finds too many stalls fails the task itself; here are those whose workers die before they can.
        hopeless = [task_key for task_key, stalls in due.stalls.items() if stalls >= settings.max_attempts]
        if hopeless:
            reason = crashed(settings.max_attempts)
            ended = await store.give_up(hopeless, settings.max_attempts, reason, settings.retention_ms)
            log("gave_up", tasks=len(ended))
        ids = await store.take_due(due, settings.lease_ms) if due.live or due.idle else []
        route = None
        for place, task_key in enumerate(ids):
            tenant, _ = split_task_key(task_key)
            self._taken[tenant] += 1
            crowded = self._taken[tenant] > limits.SWEEP_QUEUE_SHARE
            sendable = self._subrequests_left() > len(self._senders)
            route = await dispatcher.dispatch(task_key, crowded=crowded) if sendable else None
            if route is None:
                await store.make_due(ids[place:])
                log("made_due", tasks=len(ids) - place)
                ids = ids[:place]
                break
        erased = await self._erase(due) if due.past_retention else 0
        log("swept", dispatched=len(ids), erased=erased, expired=len(expired), live=len(due.live))
        return route

    async def _erase(self, due: Due) -> int:
        try:
            return await self._store.erase_expired(due)
        except StoreError as error:  # the next run's; the tasks that go on are more urgent
            self._worker.log.failure("erasure_failed", error)
            return 0

    def _dispatcher(self, senders: Sequence[Sender]) -> Dispatcher:
        return Dispatcher(senders, self._meter, self._worker.log)

    def _seconds_left(self) -> float:
        return self._ends_at - clock.now()

    def _subrequests_left(self) -> int:
        return self._settings.subrequests - self._meter.subrequests

    def _may_run(self) -> bool:
        statements = self._settings.statements - self._meter.statements
        return self._seconds_left() > 0 and min(self._subrequests_left(), statements) >= limits.SWEEP_RUN_LEAST
