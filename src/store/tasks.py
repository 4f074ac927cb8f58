"""The transitions of a task, each one call to D1. All SQL stands in the modules named `…statements`."""

import json
from collections.abc import Sequence

from ..core import limits
from ..core.ids import TaskKey, split_task_key
from ..core.states import Status
from ..core.task import DEADLINE_EXCEEDED, ChunkView, Failure, NewTask, Route, Task
from . import admission, rows
from . import statements as sql
from . import submission_statements as submit
from . import sweep_statements as sweeping
from . import view_statements as view
from .claims import Claim, Continue, Due, Fail, Finish, Output, Progress, Release, Step, Unclaimed
from .database import Database, Row
from .pages import Page, Span
from .statement import Statement


def _json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


class TaskStore:
    """The state machine's home. Every method may raise StoreError; every write may be sent again."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def insert(
        self, new: NewTask, unclaimed_ms: int, on: admission.Conditions = admission.UNCONDITIONAL
    ) -> admission.Outcome:
        """Write a new pending task, if the conditions are met; the sweep looks for it after `unclaimed_ms`.

        It is sent once: had it landed unseen, and a client deleted the task, sending it again would bring it back.
        """
        return admission.outcome(new, on, await self._database.run_once(*admission.admit(new, unclaimed_ms, on)))

    async def is_there(self, task_key: TaskKey) -> bool:
        """Whether there is such a task."""
        (found,) = await self._database.run(Statement(view.STATUS, (task_key,)))
        return bool(found)

    async def withdraw(self, new: NewTask, on: admission.Conditions = admission.UNCONDITIONAL) -> None:
        """Take a task back of which nobody knows whether it was written; one that a replay was answered with stays."""
        await self._database.run(*admission.withdraw(new, on))

    async def claim(
        self, task_key: TaskKey, *, holder: str, host: str, route: Route, lease_ms: int, announce: int = 0
    ) -> Claim | Unclaimed:
        """Take the task, or say why not. `holder` names this claim; `host` a host that replaces itself, or ''.

        If this is the task's first claim, its first `announce` calls are announced with it.
        """
        early_ms = round(limits.EARLY_SECONDS_ALLOWED * 1000)
        held = (task_key, holder)
        first = _json(list(range(announce)))
        granted, _, source, outputs, failures, standing = await self._database.run(
            Statement(sql.CLAIM, (task_key, holder, host, route, lease_ms, early_ms, first)),
            Statement(sql.CLAIM_WAKE, held),
            Statement(sql.CLAIM_TEXT, held),
            Statement(sql.CLAIM_OUTPUTS, held),
            Statement(sql.CLAIM_FAILURES, held),
            Statement(sql.STANDING, (task_key,)),
        )
        if not granted:
            return rows.unclaimed(standing)
        return rows.claim(task_key, granted[0], source[0], outputs, failures)

    async def step(self, claim: Claim, progress: Progress, step: Step) -> bool:
        """Record progress and continue or end the claim, in one transaction. False: the claim is lost."""
        mine = (claim.task_key, claim.fence)
        batch = self._records(mine, progress)
        batch.append(_ending(mine + progress.totals(), step))
        return bool((await self._database.run(*batch))[-1])

    async def settle(self, claim: Claim, progress: Progress, overdue: Failure, retention_ms: int) -> Status | None:
        """Settle the bill of a claim that a cancellation or its deadline has ended, and return the task's status.

        A task whose deadline has passed is failed with `overdue` here, if nobody did so yet. None: the claim is still
        good, and has its outputs recorded, or it was lost otherwise, and nothing has changed.
        """
        mine = (claim.task_key, claim.fence)
        batch = [_expiry([claim.task_key], overdue, retention_ms)] if claim.deadline_left_ms is not None else []
        batch += self._records(mine, progress)
        batch.append(Statement(sql.SETTLE, mine + progress.totals()))
        settled = (await self._database.run(*batch))[-1]
        return Status(rows.text(settled[0], "status")) if settled else None

    async def may_start(self, task_key: TaskKey, fence: int) -> float | None:
        """Return how many milliseconds are left to start calls under a claim; None when it is over."""
        (found,) = await self._database.run(Statement(sql.MAY_START, (task_key, fence)))
        if not found:
            return None
        left = rows.maybe_whole(found[0], "deadline_left")
        return float("inf") if left is None else left

    async def expire(self, task_keys: Sequence[TaskKey], overdue: Failure, retention_ms: int) -> list[TaskKey]:
        """Fail those of the tasks whose deadline has passed."""
        (ended,) = await self._database.run(_expiry(task_keys, overdue, retention_ms))
        return [rows.task_key(row) for row in ended]

    @staticmethod
    def _records(mine: tuple[str, int], progress: Progress) -> list[Statement]:
        batch = []
        if progress.outputs:
            batch += [Statement(sql.CHECKPOINT, (*mine, part)) for part in _parts(progress.outputs)]
        if progress.failures:
            failed = [
                [
                    *item.key,
                    item.tried.attempts,
                    item.tried.calls,
                    int(item.final),
                    item.failure.code,
                    item.failure.message,
                    int(item.failure.retryable),
                ]
                for item in progress.failures
            ]
            batch.append(Statement(sql.RECORD_FAILURES, (*mine, _json(failed))))
        return batch

    async def level_outputs(self, task_key: TaskKey, level: int) -> dict[int, str]:
        """Read the outputs of one level, by index."""
        (found,) = await self._database.run(Statement(sql.LEVEL_OUTPUTS, (task_key, level)))
        return {rows.whole(row, "idx"): rows.text(row, "output") for row in found}

    async def dead_letter(self, task_key: TaskKey, failure: Failure, retention_ms: int) -> bool:
        """Fail a task that nobody works on. False: somebody does, it waits for its time, or it has ended."""
        values = (task_key, failure.code, failure.message, retention_ms)
        (changed,) = await self._database.run(Statement(sql.DEAD_LETTER, values))
        return bool(changed)

    async def cancel(self, task_key: TaskKey, retention_ms: int) -> tuple[bool, int]:
        """Cancel a task that has not ended. False: it has, or there is none.

        Calls that were announced may still start for so many milliseconds (0: none), but no others.
        """
        changed, starting = await self._database.run(
            Statement(sql.CANCEL, (task_key, retention_ms)), Statement(sql.START_WINDOW, (task_key, *_START_WINDOW))
        )
        return bool(changed), _left_ms(starting)

    async def retry(
        self, task_key: TaskKey, unclaimed_ms: int, on: admission.Conditions = admission.UNCONDITIONAL
    ) -> admission.Accepted | None:
        """Put a failed or cancelled task back, within its tenant's limit. None: it is neither, or that is reached.

        If an answer was lost on the way, a pending task counts as put back: it may have been.
        """
        tenant = split_task_key(task_key)[0]
        values = (task_key, unclaimed_ms, tenant, on.tasks_in_flight_most)
        counting = (task_key, tenant, 1 + (on.queue_share or 0))
        _, changed, (facts,) = await self._database.run(
            Statement(sql.RETRY_FAILURES, values), Statement(sql.RETRY, values), Statement(submit.OUTCOME, counting)
        )
        resent = self._database.sends > 1 and facts["status"] == Status.PENDING
        return admission.accepted(facts, on) if changed or resent else None

    async def erase(self, task_key: TaskKey) -> tuple[bool, int]:
        """Erase everything of a task. False: there was nothing. The milliseconds are those of `cancel`.

        If an answer was lost on the way, the task, which the caller has seen, counts as erased, and as one that had
        just announced calls.
        """
        starting, *_, gone = await self._database.run(
            Statement(sql.START_WINDOW, (task_key, *_START_WINDOW)),
            *(Statement(text, (task_key,)) for text in sql.ERASE),
        )
        if not gone and self._database.sends > 1:
            return True, _START_WINDOW[0]
        return bool(gone), _left_ms(starting)

    async def due(self, most: int, served: int | None = None) -> Due:
        """Find the tasks that the sweep must look at, each tenant's longest overdue first, the tenants taking turns.

        `served` is how many of them the caller is sure to get to, all unless it says so.
        """
        values = (most, most if served is None else served, limits.ERASE_OUTPUTS_MOST)
        (found,) = await self._database.run(Statement(sweeping.DUE, values))
        due = Due(now_ms=rows.whole(found[0], "now") if found else 0)
        for row in found:
            due.add(
                rows.task_key(row),
                Status(rows.text(row, "status")),
                live=bool(row["live"]),
                overdue=bool(row["overdue"]),
                stalls=rows.whole(row, "stalls"),
            )
        return due

    async def give_up(
        self, task_keys: Sequence[TaskKey], stalls: int, failure: Failure, retention_ms: int
    ) -> list[TaskKey]:
        """Fail those of the tasks that nobody holds and on which at least `stalls` workers in a row died."""
        values = (_json(list(task_keys)), stalls, failure.code, failure.message, retention_ms)
        (ended,) = await self._database.run(Statement(sweeping.GIVE_UP, values))
        return [rows.task_key(row) for row in ended]

    async def take_due(self, due: Due, delay_ms: int) -> list[TaskKey]:
        """Postpone live tasks, take on idle ones, and return those to dispatch: another sweep may have taken some."""
        _, taken = await self._database.run(
            Statement(sweeping.POSTPONE, (_json(due.live),)),
            Statement(sweeping.REDISPATCH, (_json(due.idle), delay_ms, limits.SWEEP_BACKOFF_DOUBLINGS_MOST)),
        )
        return [rows.task_key(row) for row in taken]

    async def erase_expired(self, due: Due) -> int:
        """Erase the tasks whose retention is over, and return how many were."""
        over = (_json(due.past_retention), due.now_ms)
        *_, gone = await self._database.run(*(Statement(text, over) for text in sweeping.ERASE_EXPIRED))
        return len(gone)

    async def make_due(self, task_keys: Sequence[TaskKey]) -> None:
        """Make tasks that nobody works on due at once: whoever was to run them could not."""
        await self._database.run(Statement(sweeping.MAKE_DUE, (_json(list(task_keys)),)))

    async def task(self, task_key: TaskKey) -> Task | None:
        """Read one task, with its result once it is completed."""
        found, result = await self._database.run(Statement(view.TASK, (task_key,)), Statement(view.RESULT, (task_key,)))
        return rows.task(found[0], result) if found else None

    async def tasks(self, task_keys: Sequence[TaskKey]) -> Sequence[Task]:
        """Read tasks, those that are there, in no order and without results."""
        (found,) = await self._database.run(Statement(view.TASKS, (_json(list(task_keys)),)))
        return [rows.task(row) for row in found]

    async def going_on(self, task_key: TaskKey) -> bool:
        """Whether the task has neither ended nor passed its deadline."""
        (found,) = await self._database.run(Statement(view.STATUS, (task_key,)))
        return bool(found) and not Status(rows.text(found[0], "status")).terminal and not found[0]["overdue"]

    async def chunks(self, task_key: TaskKey) -> list[ChunkView] | None:
        """Read the finished chunks, in order; None when there is no such task."""
        places, done, failed = await self._database.run(
            Statement(view.PLACES, (task_key,)),
            Statement(view.CHUNKS, (task_key,)),
            Statement(view.FAILED_CHUNKS, (task_key,)),
        )
        return rows.chunk_views(places[0], done, failed) if places else None

    async def list(self, span: Span, *, status: Status | None, most: int) -> Page:
        """Read a page of tasks, newest first, without results."""
        # One more than is shown: whether it is there says whether there is a next page.
        bounds = (span.first, span.behind, most + 1)
        if status is None:
            page = Statement(view.LIST, bounds)
        else:
            page = Statement(view.LIST_STATUS, (*bounds, status, limits.LIST_WALK_MOST))
        (found,) = await self._database.run(page)
        return rows.page(found, status, most)

    async def ready(self) -> None:
        """Return if D1 answers and the schema is there; raise StoreError otherwise."""
        await self._database.run(Statement(view.READY))


# What STARTING is told, and what it says.
_START_WINDOW = (round(limits.START_SECONDS * 1000), 2 * limits.LANE_CHUNKS)


def _left_ms(found: Sequence[Row]) -> int:
    return max(0, rows.whole(found[0], "left_ms")) if found else 0


def _expiry(task_keys: Sequence[TaskKey], overdue: Failure, retention_ms: int) -> Statement:
    assert overdue.code == DEADLINE_EXCEEDED
    return Statement(sql.EXPIRE, (_json(list(task_keys)), overdue.message, retention_ms))


def _parts(outputs: Sequence[Output]) -> list[str]:
    """Write outputs as JSON lists, each small enough for one bound parameter."""
    parts: list[list[str]] = [[]]
    size = 0
    for output in outputs:
        text = _json([*output.key, output.text, output.calls])
        length = len(text.encode())
        if parts[-1] and size + length > limits.CHECKPOINT_BYTES_MOST:
            parts.append([])
            size = 0
        parts[-1].append(text)
        size += length
    return [f"[{','.join(part)}]" for part in parts]


def _ending(values: tuple[str | int, ...], step: Step) -> Statement:
    match step:
        case Continue(lease_ms):
            return Statement(sql.PROGRESS, (*values, lease_ms))
        case Release(delay_ms, sweep_ms):
            return Statement(sql.RELEASE, (*values, delay_ms, sweep_ms))
        case Finish(retention_ms, top_level):
            return Statement(sql.FINISH, (*values, retention_ms, top_level))
        case Fail(retention_ms, failure):
            return Statement(sql.FAIL, (*values, retention_ms, failure.code, failure.message, int(failure.retryable)))
