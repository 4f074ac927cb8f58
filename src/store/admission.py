"""Accepting a task in one transaction: under an idempotency key, within a tenant's limits, or neither."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from ..core import limits
from ..core.ids import TaskKey, split_task_key
from ..core.task import NewTask
from . import rows
from . import submission_statements as submit
from .database import Row
from .statement import Statement


class Limit(StrEnum):
    """A limit of a tenant, by the name under which a refusal tells it."""

    TASKS_IN_FLIGHT = "tasks_in_flight"
    CHARACTERS_PER_DAY = "characters_per_day"


@dataclass(frozen=True, slots=True, kw_only=True)
class Conditions:
    """On what a task is accepted. None: no such condition, and no cost.

    `idempotency_key` is the client's, `digest` of what it asked for.
    `queue_share` is how many tasks of a tenant that have not ended may stand in the queue.
    """

    idempotency_key: str | None = None
    digest: str = ""
    tasks_in_flight_most: int | None = None
    characters_a_day_most: int | None = None
    queue_share: int | None = None


UNCONDITIONAL = Conditions()


@dataclass(frozen=True, slots=True)
class Accepted:
    """The task is durable. `crowded`: its tenant has more than its share of the queue."""

    crowded: bool = False


@dataclass(frozen=True, slots=True)
class Replayed:
    """The request was accepted before, as the task of this key."""

    task_key: TaskKey


@dataclass(frozen=True, slots=True)
class Mismatched:
    """The idempotency key is taken by another request."""


@dataclass(frozen=True, slots=True)
class Refused:
    """A limit of the tenant is reached; nothing was written."""

    limit: Limit


Outcome = Accepted | Replayed | Mismatched | Refused


def admit(new: NewTask, unclaimed_ms: int, on: Conditions) -> list[Statement]:
    """Return the statements of the transaction, the last of which `outcome` reads. A plain task takes two."""
    tenant = split_task_key(new.task_key)[0]
    submission = None if on.idempotency_key is None else f"{tenant}:{on.idempotency_key}"
    batch: list[Statement] = []
    if submission is not None:
        batch += [
            Statement(submit.TAKE_KEY, (submission, new.task_key, on.digest, limits.IDEMPOTENCY_SECONDS * 1000)),
            Statement(submit.NOTE_REPLAY, (submission, new.task_key, on.digest)),
        ]
    batch.append(Statement(submit.INSERT_TASK, _values(new, unclaimed_ms, on, submission, tenant)))
    if on.characters_a_day_most is not None:
        batch.append(Statement(submit.COUNT_CHARACTERS, (new.task_key, tenant, len(new.text))))
    text = (new.task_key, new.text, new.instructions, _json(new.cuts), new.overlap, submission)
    batch.append(Statement(submit.INSERT_TEXT, text))
    if submission is not None:
        batch.append(Statement(submit.GIVE_KEY_BACK, (submission, new.task_key)))
        batch.append(Statement(submit.KEY_HOLDER, (submission,)))
    if _is_conditional(on):
        counted = max(on.tasks_in_flight_most or 0, 1 + (on.queue_share or 0))
        batch.append(Statement(submit.OUTCOME, (new.task_key, tenant, counted)))
    return batch


def _is_conditional(on: Conditions) -> bool:
    bounds = (on.idempotency_key, on.tasks_in_flight_most, on.characters_a_day_most, on.queue_share)
    return any(bound is not None for bound in bounds)


def _values(
    new: NewTask, unclaimed_ms: int, on: Conditions, submission: str | None, tenant: str
) -> tuple[str | int | None, ...]:
    return (
        *(new.task_key, new.route, new.reduce, new.model, _json(dict(new.metadata)), len(new.cuts), new.merge_chars),
        *(new.minimum_calls, new.created_at, unclaimed_ms, new.deadline_ms, new.max_calls),
        *(submission, len(new.text), tenant, on.tasks_in_flight_most, on.characters_a_day_most),
    )


def outcome(new: NewTask, on: Conditions, results: Sequence[Sequence[Row]]) -> Outcome:
    """Say from the transaction's rows what became of the task."""
    if not _is_conditional(on):
        return Accepted()
    ((facts,), holders) = results[-1], results[-2] if on.idempotency_key is not None else ()
    if facts["accepted"]:
        return accepted(facts, on)
    if holders:
        same = rows.text(holders[0], "digest") == on.digest
        return Replayed(rows.task_key(holders[0], "task_id")) if same else Mismatched()
    full = on.tasks_in_flight_most is not None and rows.whole(facts, "unended") >= on.tasks_in_flight_most
    return Refused(Limit.TASKS_IN_FLIGHT if full else Limit.CHARACTERS_PER_DAY)


def accepted(facts: Row, on: Conditions) -> Accepted:
    """Read an OUTCOME row of a task that is there."""
    return Accepted(crowded=on.queue_share is not None and rows.whole(facts, "unended") > on.queue_share)


def withdraw(new: NewTask, on: Conditions) -> list[Statement]:
    """Return the transaction that takes a task back whose client is told that nothing was accepted."""
    batch = [
        Statement(submit.WITHDRAW, (new.task_key,)),
        *(Statement(text, (new.task_key,)) for text in submit.WITHDRAW_PARTS),
    ]
    if on.characters_a_day_most is None:
        return batch
    return [
        Statement(submit.UNCOUNT_CHARACTERS, (new.task_key, split_task_key(new.task_key)[0], len(new.text))),
        *batch,
    ]


def _json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
