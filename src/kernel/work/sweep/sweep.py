"""The sweep, which cron runs each minute: it continues the tasks that no message, alarm or worker continues."""

from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace

from ...domain import limits
from ...domain.errors import StoreFull
from ...domain.ids import TaskKey
from ...store.sweep import Due
from ..dispatch import Sender
from ..worker import Worker
from .duty import Duty, SweepAllowance, do
from .own_duties import EarlyErasure, Erasure, FoldingDuty, fail_overdue, give_up
from .resending import Resending


@dataclass(slots=True, kw_only=True)
class SweepCounts:
    """What a sweep did, as numbers of tasks."""

    dispatched: int = 0
    worked: int = 0  # tasks on which the sweep itself worked, because no host answered their dispatches
    expired: int = 0
    failed: int = 0
    erased: int = 0


class Sweep:
    """One sweep: it finds due tasks, runs its duties on them, and divides the allowance among the duties.

    `senders` are all routes of the deployment except the direct route. The sweep may start model calls for `seconds`:
    see `SweepAllowance`. With `stands_in` it works at last on tasks whose earlier dispatches no host answered. `duties`
    are those of features. `alone` is False if a task may run in the same invocation after the sweep, because the checks
    of its claim need the allowance that some duties would take.

    If the database is full and refuses a write, the sweep still erases tasks, because an erasure frees space.
    """

    def __init__(
        self,
        worker: Worker,
        senders: Sequence[Sender],
        duties: Sequence[Duty],
        *,
        seconds: float | None = None,
        stands_in: bool = False,
        alone: bool = True,
    ) -> None:
        self._worker = worker
        self._settings = worker.settings
        # Without `senders` tasks run here one after the other, and there may be time only for the first.
        self._shifts = limits.SWEEP_SHIFTS if senders else 1
        self._stands_in = stands_in
        # What a dear duty leaves may suffice for a cheap one.
        kept = [duty for duty in (FoldingDuty(worker), *duties) if alone or not duty.alone]
        self._duties = sorted(kept, key=lambda duty: duty.cost.statements, reverse=True)
        self._counts = SweepCounts()
        self._allowance = SweepAllowance(worker.settings, worker.meter, seconds)
        self._resending = Resending(worker, self._allowance, senders, stands_in=stands_in)
        self._erasure = Erasure(worker)
        self._early_erasure = EarlyErasure(worker, self._allowance)
        self._runs_tasks = not senders
        # The other duties leave early erasure's share: many due tasks could use up the allowance.
        self._allowance.keep_back(self._early_erasure.cost)

    async def run(self) -> SweepCounts:
        """Run the sweep. Due tasks that the sweep has no time for stay due for the next sweep. Raises StoreError."""
        self._allowance.begin()
        try:
            await self._look_at_pages(await self._resending.fill_slots())
            await self._stand_in()
        # the tasks of the page that were not handled stay due; the duties that free space are still done
        except StoreFull as error:
            self._worker.log.failure("sweep_found_no_room", error)
            await self._erase(None)
        await self._erase_early()
        for duty in self._duties:
            await do(duty, self._allowance)
        self._worker.begin_after_ends()
        return self._counts

    def can_afford_run(self) -> bool:
        """Whether the rest of the invocation's allowance suffices for a run of a task."""
        return self._worker.can_afford_run

    async def _look_at_pages(self, placed: list[TaskKey]) -> None:
        """Read pages of due tasks, and do the duties on each, first on `placed`, which just got a slot."""
        due, more, erase_most = Due(), True, limits.ERASE_TASKS_MOST[self._settings.plan]
        while self._resending.may_go_on():
            if due.empty:
                if not more or not self._resending.affords_page():
                    return
                page = await self._page(erase_most)
                # A sweep that runs tasks may spend its time on them, so what is urgent goes first in half of these.
                urgent = [duty for duty in self._duties if duty.is_urgent]
                if self._runs_tasks and urgent and self._worker.chance() < 0.5:
                    for duty in urgent:
                        await do(duty, self._allowance)
                    if not self._resending.may_go_on():
                        return
                due = self._resending.put_aside(page)
                # If every task of a page of due tasks was put aside, another read would find the same page.
                more, erase_most = page.looked_at == limits.SWEEP_PAGE_TASKS and not due.empty, 0
                due, placed = due.behind(placed), []
            part, due = self._resending.split(due)
            if not await self._do_duties(part):
                return
            while self._resending.runs:
                await self._erase_early()  # a run of a task may use up the rest of the allowance
                with self._kept_for_duties():
                    await self._resending.runs.pop()()

    async def _page(self, erase_most: int) -> Due:
        """Read a page of due tasks. The first read looks for the work of all duties too."""
        settings, storage = self._settings, self._worker.isolate.storage
        runs_tasks = self._runs_tasks or self._stands_in
        looks = {duty: look for duty in self._duties if erase_most and (look := duty.look()) is not None}
        shared = list(dict.fromkeys(looks.values()))
        page = await self._worker.store.due(
            limits.SWEEP_PAGE_TASKS,
            served=self._shifts,
            erase_most=erase_most,
            delay_ms=settings.lease_ms,
            stands_in=self._stands_in,
            looks=shared,
        )
        for duty, look in looks.items():
            duty.found(page.looked[shared.index(look)], runs_tasks=runs_tasks)
        if not runs_tasks:
            self._worker.begin_after_ends()
        if page.past_retention and storage.is_tight(settings.storage_bytes_most):
            await self._erase(page)  # tasks are erased first, because the other duties may need the space
            page = replace(page, past_retention=[])
        return page

    async def _do_duties(self, part: Due) -> bool:
        """Run the sweep's duties on a part of a page. False: all routes refused a task, so no more is dispatched.

        Erasures come last, and a failed one is only logged, so that it never prevents a dispatch.
        """
        if part.empty:
            return True
        expired = await fail_overdue(self._worker, part)
        self._counts.failed += await give_up(self._worker, part)
        sent, refused = await self._resending.send(part)
        erased = await self._erase(part) if part.past_retention else 0
        self._counts.dispatched += sent
        self._counts.expired += expired
        self._worker.log("swept", dispatched=sent, erased=erased, expired=expired, live=len(part.live))
        return not refused

    async def _stand_in(self) -> None:
        while self._resending.unanswered and self._allowance.in_time() and self.can_afford_run():
            await self._erase_early()  # a run of a task may use up the rest of the allowance
            with self._kept_for_duties():
                self._counts.worked += await self._resending.stand_in()

    def _kept_for_duties(self) -> AbstractContextManager[None]:
        """Reserve what the duties need at the end of this sweep."""
        kept = [duty.kept() for duty in self._duties]
        return self._worker.meter.reserved(sum(one.subrequests for one in kept), sum(one.statements for one in kept))

    async def _erase(self, found: Due | None) -> int:
        erased = await self._erasure.run(found)
        self._counts.erased += erased
        return erased

    async def _erase_early(self) -> None:
        # A duty may free space at the end of this sweep, such as the bytes of erased files.
        if not any(duty.frees_space for duty in self._duties):
            self._counts.erased += await self._early_erasure.run()
