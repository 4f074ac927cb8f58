"""Retries or cancels many tasks of a tenant in one request, within the allowance of one invocation."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Final, NamedTuple

from ...kernel.calls import clock
from ...kernel.domain import limits
from ...kernel.domain.codes import TaskCode
from ...kernel.domain.ids import TaskKey
from ...kernel.domain.task import Route, Status
from ...kernel.store.admission import Limit, LimitReached
from ...kernel.store.rows import Span
from ...kernel.work.submission import Submission
from .store import BulkStore

# The most subrequests for the dispatch of one task: to the queue, for an object slot, and to the object.
# `_SEND_STATEMENTS` is the number of statements that ask for an object slot.
_SEND_CALLS: Final = 3
_SEND_STATEMENTS: Final = 2
# Subrequests and statements reserved for the write that makes the undispatched tasks due, and for its repetitions.
_RESERVE: Final = limits.STORE_SENDS


class BulkResult(NamedTuple):
    """The result of one request that retries or cancels many tasks."""

    tasks: int  # How many tasks the request changed.
    more: bool  # True if further tasks match the request and were not changed.
    starting_ms: int = 0  # For how many ms announced calls of the cancelled tasks may still start.
    # The fences of the cancelled tasks that run on objects: see `store.Cancelled`.
    objects: Mapping[TaskKey, int] = {}


@dataclass(frozen=True, slots=True)
class BulkChange:
    """Retries failed tasks and cancels unfinished tasks; one request changes at most BULK_TASKS_MOST tasks.

    A request dispatches as many of the retried tasks as the invocation's allowance and BULK_SEND_SECONDS permit. The
    others become due at once, so that the next sweep, or a request that reads such a task, dispatches them.
    """

    submission: Submission

    async def retry(self, tenant: str, span: Span, code: TaskCode | None) -> BulkResult | LimitReached:
        """Retry failed tasks of the span, oldest first, as many as the tenant's limit allows.

        Returns LimitReached if the tenant's limit allows no retry. If it raises StoreError, tasks that were retried
        before the failure stay pending, and the sweep finds them.
        """
        on, most = self.submission.conditions(), limits.BULK_TASKS_MOST
        store = self.submission.store.beside(BulkStore)
        found = await store.failed(tenant, span, code, most + 1, on)
        free = most if on.tasks_in_flight_most is None else on.tasks_in_flight_most - found.unended
        wanted = dict(islice(found.generations.items(), max(0, min(most, free))))
        lease_ms = self.submission.settings.lease_ms
        done = await store.retry_all(tenant, wanted, lease_ms, on) if wanted else []
        if found.generations and free <= 0:
            return LimitReached(Limit.TASKS_IN_FLIGHT)
        # Other requests may have changed some of the tasks, or have used up the tenant's limit, in the meantime.
        more = len(found.generations) > len(done)
        self._log_each("retried", done)
        self.submission.log("retried_in_bulk", tenant=tenant, code=code, tasks=len(done), more=more)
        share = on.queue_share
        await self._send({key: share is not None and found.unended + n > share for n, key in enumerate(done, start=1)})
        return BulkResult(len(done), more)

    async def cancel(self, tenant: str, span: Span, status: Status | None) -> BulkResult:
        """Cancel unfinished tasks of the span; if `status` is given, only those with this status. Raises StoreError."""
        store, most = self.submission.store.beside(BulkStore), limits.BULK_TASKS_MOST
        found = await store.going_on_in(tenant, span, status, most + 1)
        if not found:
            return BulkResult(0, more=False)
        wanted = dict(islice(found.items(), most))
        cancelled = await store.cancel_all(wanted, status, self.submission.settings.retention_ms)
        more = len(found) > most
        self._log_each("cancelled", cancelled.task_keys)
        self.submission.log("cancelled_in_bulk", tenant=tenant, tasks=len(cancelled.task_keys), more=more)
        return BulkResult(len(cancelled.task_keys), more, cancelled.starting_ms, cancelled.objects)

    def _log_each(self, event: str, task_keys: Sequence[TaskKey]) -> None:
        for task_key in task_keys:
            self.submission.log(event, task=task_key, bulk=True)

    async def _send(self, crowded: Mapping[TaskKey, bool]) -> None:
        """Dispatch tasks, at most one of them as a direct run, and make the other tasks due for the sweep."""
        ends_at, task_keys = clock.now() + limits.BULK_SEND_SECONDS, list(crowded)
        for position, task_key in enumerate(task_keys):
            taken = None
            if clock.now() < ends_at and self._can_send():
                taken = await self.submission.dispatcher.dispatch(task_key, crowded=crowded[task_key])
            rest = task_keys[position + (taken is not None) :]
            if rest and taken in {None, Route.DIRECT}:
                await self.submission.store.make_due(rest)
                self.submission.log("made_due", tasks=len(rest))
                return

    def _can_send(self) -> bool:
        settings, meter = self.submission.settings, self.submission.meter
        return (
            settings.subrequests - meter.subrequests_taken >= _SEND_CALLS + _RESERVE
            and settings.statements - meter.statements_taken >= _SEND_STATEMENTS + _RESERVE
        )
