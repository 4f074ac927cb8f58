"""The backstop, run by the cron trigger, which brings back what no message, alarm or worker does."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from ...core import limits
from ...core.errors import StoreFull
from ...core.ids import TaskKey
from ...store.sweep import Due
from ..dispatch import Sender
from ..worker import Worker
from .early_erasure import EarlyErasure
from .erasure import Erasure
from .expiry import Expiry
from .folding import Folding
from .resending import Resending
from .sweep_allowance import StepCost, SweepAllowance

# The look and the write; and all their statements, with a retention more than there usually are.
_FOLD = StepCost(2, 11)


@dataclass(slots=True, kw_only=True)
class SweepCounts:
    """The result of a sweep, in numbers of tasks."""

    dispatched: int = 0
    worked: int = 0  # tasks that the sweep worked on itself, because no host took them
    expired: int = 0
    failed: int = 0
    erased: int = 0


class Sweep:
    """One run of the sweep: it finds due tasks, lets each of its duties do its share, and divides the allowance.

    `senders` are all routes of the deployment except the direct one. Calls start for `seconds`, and none start if that
    is 0; by default as long as a cron trigger may start them. With `stands_in` the run itself works on tasks that were
    sent off in vain before, after it has sent the others. `folds` is False if a task may run in the same invocation,
    whose checks need the allowance of a fold.

    A full database may refuse the writes before the erasures. On a full database the run still erases, because erasures
    free space.
    """

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
        self._settings = worker.settings
        # Without routes tasks run here, one after the other, and a run may reach only the first one.
        self._turns = limits.SWEEP_TURNS if senders else 1
        self._stands_in = stands_in
        self._folds = folds
        self._counts = SweepCounts()
        self._allowance = SweepAllowance(worker.settings, worker.meter, seconds)
        self._resending = Resending(worker, self._allowance, senders, stands_in=stands_in)
        self._expiry = Expiry(worker)
        self._erasure = Erasure(worker)
        self._early_erasure = EarlyErasure(worker, self._allowance)
        # Early erasure gets its share first, because many due tasks could use up the allowance.
        self._allowance.keep_back(self._early_erasure.cost)

    async def run(self) -> SweepCounts:
        """Check the due tasks; tasks that are left over are still due at the next run. Raises StoreError."""
        self._allowance.begin()
        try:
            await self._look_at_pages(await self._resending.fill_places())
            await self._stand_in()
        except StoreFull as error:  # the other tasks are still due; the duties that free space continue
            self._worker.log.failure("sweep_found_no_room", error)
            await self._erase(None)
        await self._erase_early()
        if self._folds:
            await self._fold()
        self._worker.begin_deliveries()
        return self._counts

    def can_afford_run(self) -> bool:
        """Whether enough is left of the invocation's allowance for a run of a task to be worth starting."""
        return self._worker.can_afford_run

    async def _look_at_pages(self, placed: list[TaskKey]) -> None:
        """Check one page of tasks after the other.

        `placed` are tasks that got a place just now, and that are sent before the first page.
        """
        due, more, erase_most = Due(), True, limits.ERASE_TASKS_MOST[self._settings.plan]
        while self._resending.may_go_on():
            if due.empty:
                if not more or not self._resending.affords_page():
                    return
                page = await self._page(erase_most)
                due = self._resending.put_aside(page)
                # If the run puts the whole page aside, the next page would be the same.
                more, erase_most = page.looked_at == limits.SWEEP_PAGE_TASKS and not due.empty, 0
                due, placed = due.behind(placed), []
            part, due = self._resending.split(due)
            if not await self._do_duties(part):
                return
            while self._resending.runs:
                await self._erase_early()  # a run uses the rest of the allowance
                await self._resending.runs.pop()()

    async def _page(self, erase_most: int) -> Due:
        """Read a page of due tasks. Its deliveries are begun."""
        settings, storage = self._settings, self._worker.storage
        page = await self._worker.store.due(
            limits.SWEEP_PAGE_TASKS,
            served=self._turns,
            erase_most=erase_most,
            delay_ms=settings.lease_ms,
            stands_in=self._stands_in,
            plan=settings.plan,
        )
        self._worker.begin_deliveries(page.deliveries)
        if page.past_retention and storage.is_tight(settings.storage_bytes_most):
            await self._erase(page)  # erasure comes before anything else, since the other duties may need the space
            page = replace(page, past_retention=[])
        return page

    async def _do_duties(self, part: Due) -> bool:
        """Have each duty do its share of a part of a page.

        Returns False if the routes refuse, so that the run sends no more.

        The erasures come last, and a failure of theirs is logged: they cost no task its dispatch.
        """
        if part.empty:
            return True
        expired = await self._expiry.fail_overdue(part)
        self._counts.failed += await self._expiry.give_up(part)
        sent, refused = await self._resending.send(part)
        erased = await self._erase(part) if part.past_retention else 0
        self._counts.dispatched += sent
        self._counts.expired += expired
        self._worker.log("swept", dispatched=sent, erased=erased, expired=expired, live=len(part.live))
        return not refused

    async def _stand_in(self) -> None:
        """Work on tasks in place of hosts that do not come."""
        while self._resending.unanswered and self._allowance.in_time() and self.can_afford_run():
            await self._erase_early()  # a run uses the rest of the allowance
            self._counts.worked += await self._resending.stand_in()

    async def _erase(self, found: Due | None) -> int:
        erased = await self._erasure.run(found)
        self._counts.erased += erased
        return erased

    async def _erase_early(self) -> None:
        self._counts.erased += await self._early_erasure.run()

    async def _fold(self) -> None:
        """Add ended tasks to the sums, as far as the allowance permits.

        The next sweep, or a scrape, adds the others.
        """
        folding = Folding(self._worker.store, self._settings, self._worker.log)
        for _ in range(limits.FOLD_PAGES_MOST[self._settings.plan]):
            if not self._allowance.affords(_FOLD) or not await folding.run():
                return
