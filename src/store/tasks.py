"""The transitions of a task, each one call to D1. All SQL stands in `statements`."""

import json
from collections.abc import Sequence

from ..core import limits
from ..core.states import Status
from ..core.task import ChunkView, Failure, NewTask, Route, Task
from . import rows
from . import statements as sql
from .claims import Claim, Continue, Due, Fail, Finish, Output, Progress, Release, Step, Unclaimed
from .database import Database
from .statements import Statement


def _json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


class TaskStore:
    """The state machine's home. Every method may raise StoreError; every write may be sent again."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def insert(self, new: NewTask, unclaimed_ms: int) -> None:
        """Write a new pending task; the sweep looks for it after `unclaimed_ms`."""
        await self._database.run(
            Statement(
                sql.INSERT_TASK,
                (
                    new.id,
                    new.route,
                    new.reduce,
                    new.model,
                    _json(dict(new.metadata)),
                    len(new.cuts),
                    new.merge_chars,
                    new.minimum_calls,
                    new.created_at,
                    unclaimed_ms,
                ),
            ),
            Statement(sql.INSERT_TEXT, (new.id, new.text, new.instructions, _json(new.cuts), new.overlap)),
        )

    async def claim(
        self, task_id: str, *, holder: str, host: str, route: Route, lease_ms: int, announce: int = 0
    ) -> Claim | Unclaimed:
        """Take the task, or say why not. `holder` names this claim; `host` a host that replaces itself, or ''.

        If this is the task's first claim, its first `announce` calls are announced with it.
        """
        early_ms = round(limits.EARLY_SECONDS_ALLOWED * 1000)
        held = (task_id, holder)
        first = _json(list(range(announce)))
        granted, _, source, outputs, failures, standing = await self._database.run(
            Statement(sql.CLAIM, (task_id, holder, host, route, lease_ms, early_ms, first)),
            Statement(sql.CLAIM_WAKE, held),
            Statement(sql.CLAIM_TEXT, held),
            Statement(sql.CLAIM_OUTPUTS, held),
            Statement(sql.CLAIM_FAILURES, held),
            Statement(sql.STANDING, (task_id,)),
        )
        if not granted:
            return rows.unclaimed(standing)
        return rows.claim(task_id, granted[0], source[0], outputs, failures)

    async def step(self, claim: Claim, progress: Progress, step: Step) -> bool:
        """Record progress and continue or end the claim, in one transaction. False: the claim is lost."""
        mine = (claim.task_id, claim.fence)
        batch = self._records(mine, progress)
        batch.append(_ending(mine + progress.totals(), step))
        return bool((await self._database.run(*batch))[-1])

    async def settle_cancelled(self, claim: Claim, progress: Progress) -> None:
        """Settle the bill of a claim that a cancellation ended; for any other lost claim it changes nothing."""
        mine = (claim.task_id, claim.fence)
        batch = self._records(mine, progress)
        batch.append(Statement(sql.SETTLE_CANCELLED, mine + progress.totals()))
        await self._database.run(*batch)

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

    async def level_outputs(self, task_id: str, level: int) -> dict[int, str]:
        """Read the outputs of one level, by index."""
        (found,) = await self._database.run(Statement(sql.LEVEL_OUTPUTS, (task_id, level)))
        return {rows.whole(row, "idx"): rows.text(row, "output") for row in found}

    async def dead_letter(self, task_id: str, failure: Failure, retention_ms: int) -> bool:
        """Fail a task that nobody works on. False: somebody does, it waits for its time, or it has ended."""
        values = (task_id, failure.code, failure.message, retention_ms)
        (changed,) = await self._database.run(Statement(sql.DEAD_LETTER, values))
        return bool(changed)

    async def cancel(self, task_id: str, retention_ms: int) -> bool:
        """Cancel a task that has not ended. False: it has, or there is none."""
        (changed,) = await self._database.run(Statement(sql.CANCEL, (task_id, retention_ms)))
        return bool(changed)

    async def retry(self, task_id: str, unclaimed_ms: int) -> bool:
        """Put a failed or cancelled task back. False: it is neither, or there is none."""
        _, changed = await self._database.run(
            Statement(sql.RETRY_FAILURES, (task_id,)), Statement(sql.RETRY, (task_id, unclaimed_ms))
        )
        return bool(changed)

    async def erase(self, task_id: str) -> bool:
        """Erase everything of a task. False: there was nothing."""
        *_, gone = await self._database.run(*(Statement(text, (task_id,)) for text in sql.ERASE))
        return bool(gone)

    async def due(self, most: int) -> Due:
        """Find the tasks that the sweep must look at, longest overdue first."""
        (found,) = await self._database.run(Statement(sql.DUE, (most,)))
        due = Due(now_ms=rows.whole(found[0], "now") if found else 0)
        for row in found:
            due.add(
                rows.text(row, "id"), Status(rows.text(row, "status")), bool(row["live"]), rows.whole(row, "stalls")
            )
        return due

    async def give_up(self, task_ids: Sequence[str], stalls: int, failure: Failure, retention_ms: int) -> list[str]:
        """Fail those of the tasks that nobody holds and on which at least `stalls` workers in a row died."""
        values = (_json(list(task_ids)), stalls, failure.code, failure.message, retention_ms)
        (ended,) = await self._database.run(Statement(sql.GIVE_UP, values))
        return [rows.text(row, "id") for row in ended]

    async def settle_due(self, due: Due, delay_ms: int) -> tuple[list[str], int]:
        """Postpone live tasks, take on idle ones, erase expired ones.

        Returns the ids to dispatch now (another sweep may have taken some) and how many tasks were erased.
        """
        over = (_json(due.over), due.now_ms)
        results = await self._database.run(
            Statement(sql.POSTPONE, (_json(due.live),)),
            Statement(sql.REDISPATCH, (_json(due.idle), delay_ms, limits.SWEEP_BACKOFF_DOUBLINGS_MOST)),
            *(Statement(text, over) for text in sql.ERASE_EXPIRED),
        )
        return [rows.text(row, "id") for row in results[1]], len(results[-1])

    async def task(self, task_id: str) -> Task | None:
        """Read one task, with its result once it is completed."""
        found, result = await self._database.run(Statement(sql.TASK, (task_id,)), Statement(sql.RESULT, (task_id,)))
        return rows.task(found[0], result) if found else None

    async def status(self, task_id: str) -> Status | None:
        """Read one task's status."""
        (found,) = await self._database.run(Statement(sql.STATUS, (task_id,)))
        return Status(rows.text(found[0], "status")) if found else None

    async def chunks(self, task_id: str) -> list[ChunkView] | None:
        """Read the finished chunks, in order; None when there is no such task."""
        places, done, failed = await self._database.run(
            Statement(sql.PLACES, (task_id,)),
            Statement(sql.CHUNKS, (task_id,)),
            Statement(sql.FAILED_CHUNKS, (task_id,)),
        )
        return rows.chunk_views(places[0], done, failed) if places else None

    async def list(self, *, before: str | None, status: Status | None, most: int) -> Sequence[Task]:
        """Read a page of tasks, newest first, without results; `before` is the last id of the page before."""
        after_all = before if before is not None else "~"
        if status is None:
            page = Statement(sql.LIST, (after_all, most))
        else:
            page = Statement(sql.LIST_STATUS, (after_all, most, status))
        (found,) = await self._database.run(page)
        return [rows.task(row) for row in found]

    async def ready(self) -> None:
        """Return if D1 answers and the schema is there; raise StoreError otherwise."""
        await self._database.run(Statement(sql.READY))


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
