"""How tasks come in: new ones under an idempotency key and within their tenant's limits, and old ones put back."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, NamedTuple

from ..core import limits
from ..core.errors import StoreUnavailable
from ..core.ids import TaskKey, split_task_key
from ..core.states import Status
from ..core.task import NewTask
from . import columns, options
from .database import Row
from .sql import admission as sql
from .sql.statement import BoundStatement, Value, as_json
from .standing import TOMBSTONE_MS, StandingStore

if TYPE_CHECKING:
    from .joining import Joining  # imported with the first request of /v1, and not at the isolate's start


class Limit(StrEnum):
    """A limit of a tenant, by the name under which a refusal tells it."""

    TASKS_IN_FLIGHT = "tasks_in_flight"
    CHARACTERS_PER_DAY = "characters_per_day"


class Conditions(NamedTuple):
    """On what a task is accepted. None: no such condition, and no cost.

    `idempotency_key` is the client's, `digest` of what it asked for. `joining` tells repetitions where there is no key.
    `queue_share` is how many tasks of a tenant that have not ended may stand in the queue.
    """

    idempotency_key: str | None = None
    digest: str = ""
    tasks_in_flight_most: int | None = None
    characters_a_day_most: int | None = None
    queue_share: int | None = None
    joining: "Joining | None" = None

    @property
    def may_be_replayed(self) -> bool:
        """Whether the request may have been accepted before."""
        return self.idempotency_key is not None or (self.joining is not None and self.joining.sendings > 0)

    def submission(self, task_key: TaskKey) -> str | None:
        """Name the row of `submissions` that the task needs, if it needs one."""
        if self.joining is not None:
            return self.joining.submission(task_key)
        return None if self.idempotency_key is None else f"{split_task_key(task_key)[0]}:{self.idempotency_key}"


UNCONDITIONAL = Conditions()


class Accepted(NamedTuple):
    """The task is durable. `crowded`: its tenant has more than its share of the queue."""

    crowded: bool = False


class Replayed(NamedTuple):
    """The request was accepted before, as the task of this key."""

    task_key: TaskKey


@dataclass(frozen=True, slots=True)
class Mismatched:
    """The idempotency key is taken by another request."""


class Refused(NamedTuple):
    """A limit of the tenant is reached; nothing was written."""

    limit: Limit


Outcome = Accepted | Replayed | Mismatched | Refused


class AdmissionStore(StandingStore):
    """Tasks that come in, are put back, or are taken back at once; each method is one transaction in D1."""

    async def insert(self, new: NewTask, unclaimed_ms: int, on: Conditions = UNCONDITIONAL) -> Outcome:
        """Write a new pending task, if the conditions are met; the sweep looks for it after `unclaimed_ms`.

        It may be sent again: if it landed unseen and a client deleted the task, a tombstone keeps it from coming back.
        What was sent again and then not accepted is withdrawn: the sending before may land later, when it would be.
        """
        outcome = _outcome(new, on, await self._database.run(*_submission(new, unclaimed_ms, on)))
        if not isinstance(outcome, Accepted) and self._database.sends > 1:
            try:
                await self.withdraw(new, on)
            except StoreUnavailable as error:
                error.withdrawing = True
                raise
        return outcome

    async def key_holder(self, task_key: TaskKey, on: Conditions) -> Replayed | Mismatched | None:
        """Say what the idempotency key stands for of a request that would make this task, or which task it joins; None:
        nothing.

        It needs no room, and tells the size. Without a key it is the smallest of reads. With one, it notes a replay:
        the task that is found stays.
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

    async def withdraw(self, new: NewTask, on: Conditions = UNCONDITIONAL) -> None:
        """Take a task back of which nobody knows whether it was written, or will be.

        One that a replay was answered with stays.
        """
        task_key = new.task_key
        buried = sql.BURY_WITHDRAWN.bind(task_key=task_key, tombstone_ms=TOMBSTONE_MS)
        parts = (part.bind(task_key=task_key) for part in (sql.WITHDRAW_COUNT, sql.WITHDRAW, *sql.WITHDRAW_PARTS))
        batch = [buried, *parts]
        if on.characters_a_day_most is not None:
            tenant, _ = split_task_key(task_key)
            batch.insert(0, sql.UNCOUNT_CHARACTERS.bind(task_key=task_key, tenant=tenant, characters=len(new.text)))
        await self._database.run(*batch)

    async def retry(
        self, task_key: TaskKey, unclaimed_ms: int, on: Conditions = UNCONDITIONAL, max_calls: int | None = None
    ) -> Accepted | None:
        """Put a failed or cancelled task back, within its tenant's limit, maybe with a new budget of `max_calls`.

        None: it is neither, that limit is reached, its budget ran out and does not grow, or the new one is too small.
        If an answer was lost on the way, a pending task counts as put back: it may have been.
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
    """Return the statements of the transaction, the last of which `_outcome` reads. A plain task takes two."""
    task_key = new.task_key
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
    batch.append(_task_row(new, unclaimed_ms, on, submission))
    if on.characters_a_day_most is not None:
        batch.append(sql.COUNT_CHARACTERS.bind(task_key=task_key, tenant=tenant, characters=len(new.text)))
    batch.append(_text_row(new, submission))
    if submission is not None:
        batch.append(sql.GIVE_KEY_BACK.bind(submission=submission, task_key=task_key))
        holder = sql.KEY_HOLDER.bind(submission=submission) if on.joining is None else on.joining.joined(task_key)
        batch.append(holder)
    if _is_conditional(on):
        counted_most = max(on.tasks_in_flight_most or 0, 1 + (on.queue_share or 0))
        batch.append(sql.OUTCOME.bind(task_key=task_key, tenant=tenant, counted_most=counted_most))
    return batch


def _task_row(new: NewTask, unclaimed_ms: int, on: Conditions, submission: str | None) -> BoundStatement:
    return sql.INSERT_TASK.bind(
        task_key=new.task_key,
        tenant=split_task_key(new.task_key)[0],
        submission=submission,
        route=new.route,
        total=len(new.cuts),
        merge_chars=new.merge_chars,
        calls_minimum=new.minimum_calls,
        created_at=new.created_at,
        unclaimed_ms=unclaimed_ms,
        characters=len(new.text),
        characters_most=on.characters_a_day_most,
        tasks_most=on.tasks_in_flight_most,
        **options.written(new.options),
    )


def _text_row(new: NewTask, submission: str | None) -> BoundStatement:
    return sql.INSERT_TEXT.bind(
        task_key=new.task_key,
        input=new.text,
        instructions=new.instructions,
        cuts=as_json(new.cuts),
        overlap=new.overlap,
        submission=submission,
    )


def _is_conditional(on: Conditions) -> bool:
    conditions = (on.idempotency_key, on.joining, on.tasks_in_flight_most, on.characters_a_day_most, on.queue_share)
    return any(condition is not None for condition in conditions)


def _outcome(new: NewTask, on: Conditions, results: Sequence[Sequence[Row]]) -> Outcome:
    """Say from the transaction's rows what became of the task."""
    if not _is_conditional(on):
        return Accepted()
    ((facts,), holders) = results[-1], results[-2] if on.submission(new.task_key) is not None else ()
    if facts["accepted"]:
        return _accepted(facts, on)
    held = _held(holders, on.digest) if on.joining is None else _joined(holders, new.task_key)
    if held is not None:
        return held
    full = on.tasks_in_flight_most is not None and columns.whole(facts, "unended") >= on.tasks_in_flight_most
    return Refused(Limit.TASKS_IN_FLIGHT if full else Limit.CHARACTERS_PER_DAY)


def _held(holders: Sequence[Row], digest: str) -> Replayed | Mismatched | None:
    """Read the rows of KEY_HOLDER, or VALID_KEY_HOLDER."""
    if not holders:
        return None
    same = columns.text(holders[0], "digest") == digest
    return Replayed(columns.task_key(holders[0], "task_id")) if same else Mismatched()


def _joined(found: Sequence[Row], own: TaskKey) -> Replayed | None:
    """Read the rows of JOINED: the task of another sending, if that was joined."""
    others = [task_key for row in found if (task_key := columns.task_key(row, "task_id")) != own]
    return Replayed(others[0]) if others else None


def _accepted(facts: Row, on: Conditions) -> Accepted:
    """Read an OUTCOME row of a task that is there."""
    return Accepted(crowded=on.queue_share is not None and columns.whole(facts, "unended") > on.queue_share)
