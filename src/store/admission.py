"""Writes new tasks to D1, if their idempotency key and their tenant's limits allow it, and retries ended tasks."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, NamedTuple

from ..core import limits
from ..core.errors import StoreUnavailable
from ..core.ids import TaskKey, split_task_key
from ..core.states import Status
from ..core.task import NewTask
from .d1 import columns
from .d1.database import Row
from .d1.statement import BoundStatement, Value, as_json
from .records import options
from .sql import admission as sql
from .standing import TOMBSTONE_MS, StandingStore

if TYPE_CHECKING:
    from .joining import Joining  # The module is imported only when the first request to /v1 comes.


class Limit(StrEnum):
    """A limit of a tenant that can cause the refusal of a task. The refusal of a task shows the name of the limit."""

    TASKS_IN_FLIGHT = "tasks_in_flight"
    CHARACTERS_PER_DAY = "characters_per_day"


class Conditions(NamedTuple):
    """The conditions under which a new or retried task is accepted.

    A condition of a submission that is None is not checked. `idempotency_key` is the client's key, and `digest`
    identifies the content of the request. `joining` detects a repeated request that has no idempotency key.
    `queue_share` is how many unfinished tasks a tenant may have before its tasks count as crowded.
    """

    idempotency_key: str | None = None
    digest: str = ""
    tasks_in_flight_most: int | None = None
    characters_a_day_most: int | None = None
    queue_share: int | None = None
    joining: "Joining | None" = None

    @property
    def may_be_replayed(self) -> bool:
        """Whether the request may be a repetition of a request that was accepted before."""
        return self.idempotency_key is not None or (self.joining is not None and self.joining.sendings > 0)

    def submission(self, task_key: TaskKey) -> str | None:
        """Return the id of the row in `submissions` that a new task needs, or None if it needs none."""
        if self.joining is not None:
            return self.joining.submission(task_key)
        return None if self.idempotency_key is None else f"{split_task_key(task_key)[0]}:{self.idempotency_key}"


UNCONDITIONAL = Conditions()


class Accepted(NamedTuple):
    """The task is stored.

    `crowded` says that the task's tenant has more unfinished tasks than its share of the queue.
    """

    crowded: bool = False


class Replayed(NamedTuple):
    """The outcome of a submission that repeats one that was accepted before.

    `task_key` names the task that the earlier request made.
    """

    task_key: TaskKey


@dataclass(frozen=True, slots=True)
class Mismatched:
    """Another request, with other content, has already used the idempotency key."""


class LimitReached(NamedTuple):
    """A task is refused because a limit of its tenant is reached. Nothing was written."""

    limit: Limit


Outcome = Accepted | Replayed | Mismatched | LimitReached


class AdmissionStore(StandingStore):
    """Accepts new tasks, withdraws them, and retries ended ones.

    Each method of `AdmissionStore` writes in one transaction of D1.
    """

    async def insert(self, new: NewTask, unclaimed_ms: int, on: Conditions = UNCONDITIONAL) -> Outcome:
        """Write a new pending task to D1 if the conditions `on` are met.

        If no worker claims the task within `unclaimed_ms`, the sweep dispatches it.

        The write of a task is safe to send again. Suppose the first send succeeded without an answer, and a client has
        deleted the task since: then a tombstone keeps the second send from writing the task again. If a resend is
        refused, the task is withdrawn, because the first send may still succeed.
        """
        outcome = outcome_of(new.task_key, on, await self._database.run(*_submission(new, unclaimed_ms, on)))
        if not isinstance(outcome, Accepted) and self._database.sends > 1:
            try:
                await self.withdraw(new, on)
            except StoreUnavailable as error:
                error.withdrawing = True
                raise
        return outcome

    async def key_holder(self, task_key: TaskKey, on: Conditions) -> Replayed | Mismatched | None:
        """Return the task of an earlier request with the same idempotency key, or the task that this request joins.

        Returns None if the request has no earlier task. `key_holder` also works on a full database; D1's reply then
        reports the database's size. Without an idempotency key, `key_holder` is the smallest possible read. With an
        idempotency key, `key_holder` also records that the key's task is about to be returned, so that the task is not
        withdrawn.
        """
        if on.joining is not None:
            joins = on.joining
            return _joined((await self._database.run(joins.join(task_key), joins.joined(task_key)))[-1], task_key)
        tenant, _ = split_task_key(task_key)
        submission = f"{tenant}:{on.idempotency_key or ''}"
        batch = [sql.VALID_KEY_HOLDER.bind(submission=submission)]
        if on.idempotency_key is not None:
            batch.insert(0, sql.NOTE_REPLAY.bind(submission=submission, task_key=task_key, digest=on.digest))
        return _held((await self._database.run(*batch))[-1], on.digest)

    async def withdraw(self, new: NewTask, on: Conditions = UNCONDITIONAL, *, characters: int | None = None) -> None:
        """Withdraw a new task whose write may have succeeded, or may still succeed.

        `characters` is how many characters count against the tenant's limit; by default those of the text.

        If a repeated request was already answered with the task, the task is not withdrawn.
        """
        task_key = new.task_key
        buried = sql.BURY_WITHDRAWN.bind(task_key=task_key, tombstone_ms=TOMBSTONE_MS)
        parts = (part.bind(task_key=task_key) for part in (*sql.WITHDRAW_COUNT, sql.WITHDRAW, *sql.WITHDRAW_PARTS))
        batch = [buried, *parts]
        if on.characters_a_day_most is not None:
            tenant, _ = split_task_key(task_key)
            counted = new.characters if characters is None else characters
            batch.insert(0, sql.UNCOUNT_CHARACTERS.bind(task_key=task_key, tenant=tenant, characters=counted))
        await self._database.run(*batch)

    async def retry(
        self, task_key: TaskKey, unclaimed_ms: int, on: Conditions = UNCONDITIONAL, max_calls: int | None = None
    ) -> Accepted | None:
        """Retry a failed or cancelled task if its tenant's limit allows one more.

        `max_calls` is the retried task's new budget, or None. Returns None if the task is neither failed nor cancelled,
        if the tenant's limit of tasks in flight is reached, if the task's budget ran out and does not grow, or if the
        new budget is too small. If the write had to be sent again, a task that is now pending counts as retried,
        because the first send may have retried it.
        """
        now = await self._standing(task_key)
        if now is None:
            return None
        tenant, _ = split_task_key(task_key)
        which: dict[str, Value] = {
            "task_key": task_key,
            "generation": now.generation,
            "tenant": tenant,
            "tasks_most": on.tasks_in_flight_most,
            "max_calls": max_calls,
        }
        _, _, changed, (facts,) = await self._database.run(
            sql.RETRY_COUNT.bind(**which),
            sql.RETRY_FAILURES.bind(**which),
            sql.RETRY.bind(**which, unclaimed_ms=unclaimed_ms),
            sql.OUTCOME.bind(task_key=task_key, tenant=tenant, counted_most=1 + (on.queue_share or 0)),
        )
        resent = self._database.sends > 1 and facts["status"] == Status.PENDING
        return _accepted(facts, on) if changed or resent else None


def _submission(new: NewTask, unclaimed_ms: int, on: Conditions) -> list[BoundStatement]:
    """Return the SQL statements of the transaction that writes a new task.

    `outcome_of` reads the rows that the transaction's last statements return. The transaction of a plain task without
    conditions has two statements.
    """
    task_key = new.task_key
    submission = on.submission(task_key)
    writes = [_task_row(new, unclaimed_ms, on, submission)]
    if on.characters_a_day_most is not None:
        tenant, _ = split_task_key(task_key)
        writes.append(sql.COUNT_CHARACTERS.bind(task_key=task_key, tenant=tenant, characters=new.characters))
    writes.append(text_row(new, submission))
    return holding(task_key, on, writes)


def holding(task_key: TaskKey, on: Conditions, writes: Sequence[BoundStatement]) -> list[BoundStatement]:
    """Wrap a new task's writes in the statements that take its idempotency key and read what became of the new task."""
    tenant, _ = split_task_key(task_key)
    submission = on.submission(task_key)
    batch: list[BoundStatement] = []
    if on.joining is not None:
        batch += [on.joining.join(task_key), on.joining.take_row(task_key)]
    elif submission is not None:
        valid_ms = limits.IDEMPOTENCY_SECONDS * 1000
        batch += [
            sql.TAKE_KEY.bind(submission=submission, task_key=task_key, digest=on.digest, valid_ms=valid_ms),
            sql.NOTE_REPLAY.bind(submission=submission, task_key=task_key, digest=on.digest),
        ]
    batch += writes
    if submission is not None:
        batch.append(sql.GIVE_KEY_BACK.bind(submission=submission, task_key=task_key))
        holder = sql.KEY_HOLDER.bind(submission=submission) if on.joining is None else on.joining.joined(task_key)
        batch.append(holder)
    if _is_conditional(on):
        counted_most = max(on.tasks_in_flight_most or 0, 1 + (on.queue_share or 0))
        batch.append(sql.OUTCOME.bind(task_key=task_key, tenant=tenant, counted_most=counted_most))
    return batch


def _task_row(new: NewTask, unclaimed_ms: int, on: Conditions, submission: str | None) -> BoundStatement:
    return sql.INSERT_TASK.bind(**task_values(new, unclaimed_ms, on, submission))


def task_values(new: NewTask, unclaimed_ms: int, on: Conditions, submission: str | None) -> dict[str, Value]:
    """Return the parameters of the statement that writes a new task."""
    return {
        "task_key": new.task_key,
        "tenant": split_task_key(new.task_key)[0],
        "submission": submission,
        "route": new.route,
        "total": len(new.cuts),
        "merge_chars": new.merge_chars,
        "calls_minimum": new.minimum_calls,
        "created_at": new.created_at,
        "unclaimed_ms": unclaimed_ms,
        "first_line": new.first_line,
        "characters": new.characters,
        "characters_most": on.characters_a_day_most,
        "tasks_most": on.tasks_in_flight_most,
        **options.written(new.options),
    }


def text_row(new: NewTask, submission: str | None) -> BoundStatement:
    """Make the statement that writes the text of a new task."""
    values: dict[str, Value] = {
        "task_key": new.task_key,
        "input": new.text,
        "instructions": new.instructions,
        "cuts": as_json(new.cuts),
        "overlap": new.overlap,
        "submission": submission,
    }
    if new.options.structure is None:
        return sql.INSERT_TEXT.bind(**values)
    rules = as_json(dict(new.join_rules)) if new.join_rules else None
    return sql.INSERT_STRUCTURED_TEXT.bind(**values, output_schema=new.output_schema, join_rules=rules)


def _is_conditional(on: Conditions) -> bool:
    conditions = (on.idempotency_key, on.joining, on.tasks_in_flight_most, on.characters_a_day_most, on.queue_share)
    return any(condition is not None for condition in conditions)


def outcome_of(task_key: TaskKey, on: Conditions, results: Sequence[Sequence[Row]]) -> Outcome:
    """Read from the rows of a submission's transaction whether the new task was accepted, and if not, why."""
    if not _is_conditional(on):
        return Accepted()
    ((facts,), holders) = results[-1], results[-2] if on.submission(task_key) is not None else ()
    if facts["accepted"]:
        return _accepted(facts, on)
    held = _held(holders, on.digest) if on.joining is None else _joined(holders, task_key)
    if held is not None:
        return held
    full = on.tasks_in_flight_most is not None and columns.whole(facts, "unended") >= on.tasks_in_flight_most
    return LimitReached(Limit.TASKS_IN_FLIGHT if full else Limit.CHARACTERS_PER_DAY)


def _held(holders: Sequence[Row], digest: str) -> Replayed | Mismatched | None:
    """Read which task has an idempotency key, from the rows of KEY_HOLDER or VALID_KEY_HOLDER."""
    if not holders:
        return None
    same = columns.text(holders[0], "digest") == digest
    return Replayed(columns.task_key(holders[0], "task_id")) if same else Mismatched()


def _joined(found: Sequence[Row], own: TaskKey) -> Replayed | None:
    """Read from the rows of JOINED the task of an earlier send of the request, if the present send joined that task."""
    others = [task_key for row in found if (task_key := columns.task_key(row, "task_id")) != own]
    return Replayed(others[0]) if others else None


def _accepted(facts: Row, on: Conditions) -> Accepted:
    """Read from the OUTCOME row of an accepted task whether its tenant has more than its share of the queue."""
    return Accepted(crowded=on.queue_share is not None and columns.whole(facts, "unended") > on.queue_share)
