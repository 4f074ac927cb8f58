"""Accepts a batch: writes the batch and its task to D1, so that they are durable, and then sends the task to a host."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from ....kernel.domain.errors import StoreUnavailable
from ....kernel.domain.ids import FileKey, TaskKey
from ....kernel.domain.task import Kind, NewTask, Reduce, Route, Source, TaskOptions
from ....kernel.store.admission import Accepted, LimitReached, Mismatched, Outcome, Replayed
from ....kernel.text.merge import merge_chars
from ....kernel.work.submission import REPLAYS_MOST, Submission, fresh_task
from ...files.file import File
from ..lines.lines import BatchEndpoint
from ..store.batches import Batch, BatchStore, InputMissing, NewBatch

if TYPE_CHECKING:
    from ....kernel.store.resend import Resend


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchRequest:
    """A checked request for a batch; see `NewBatch`. `window_ms` is the completion window."""

    endpoint: BatchEndpoint
    input_file: File
    window_ms: int
    metadata: Mapping[str, object]
    max_calls: int | None = None
    max_cost: int | None = None
    output_ms: int | None = None
    retry_of: TaskKey | None = None


class SubmittedBatch(NamedTuple):
    """An accepted batch. `replayed` says that an earlier request, or send of an SDK, made it."""

    batch: Batch
    replayed: bool = False


async def submit_batch(
    base: Submission,
    tenant: str,
    request: BatchRequest,
    idempotency_key: str | None = None,
    digest: str = "",
    resend: "Resend | None" = None,
) -> SubmittedBatch | InputMissing | Mismatched | LimitReached:
    """Write a new batch, or say why not; see `Submission.submit`. A StoreError: nothing was accepted."""
    store = base.store.beside(BatchStore)
    for _ in range(REPLAYS_MOST):
        conditions = base.conditions(idempotency_key, digest, resend)
        new = _new(base, tenant, request)
        task_key, size = new.task.task_key, new.input_bytes
        outcome: Outcome | InputMissing | None = await base.refused_by_storage(task_key, conditions)
        if outcome is None:
            insert = partial(store.submit, new, base.settings.lease_ms, conditions)
            outcome = await base.written(new.task, conditions, insert, characters=size)
        if isinstance(outcome, Accepted):
            base.after_answer(base.send(new.task, crowded=outcome.crowded))
            return SubmittedBatch(_fresh(new, base.dispatcher.first_choice(crowded=outcome.crowded)))
        if not isinstance(outcome, Replayed):
            return outcome
        if (found := await store.batch(outcome.task_key)) is not None:
            base.log("replayed", task=outcome.task_key)
            return SubmittedBatch(found, replayed=True)
        # The batch of the idempotency key was just erased, together with the key: submit again.
    raise StoreUnavailable("the batch of the idempotency key is erased again and again")


async def earlier_batch(
    base: Submission, tenant: str, idempotency_key: str | None, digest: str, resend: "Resend | None"
) -> SubmittedBatch | Mismatched | None:
    """Find the batch of an earlier equal request, also if its input is gone. Raises StoreError."""
    on = base.conditions(idempotency_key, digest, resend)
    if not on.may_be_replayed:
        return None
    found = await base.store.key_holder(base.task_key(tenant), on)
    if not isinstance(found, Replayed):
        return found
    batch = await base.store.beside(BatchStore).batch(found.task_key)
    if batch is None:
        return None
    base.log("replayed", task=found.task_key)
    return SubmittedBatch(batch, replayed=True)


def _new(base: Submission, tenant: str, request: BatchRequest) -> NewBatch:
    task = NewTask(
        task_key=base.task_key(tenant),
        route=base.dispatcher.first_route,
        text="",
        instructions="",
        cuts=(),
        overlap=0,
        merge_chars=merge_chars(base.settings.chunk_chars),
        created_at=base.now_ms(),
        first_most=1,  # its lines have prices of their own
        kind=Kind.BATCH,
        options=TaskOptions(
            reduce=Reduce.NONE,
            metadata=request.metadata,
            deadline_ms=request.window_ms,
            max_calls=request.max_calls,
            max_cost=request.max_cost,
        ),
    )
    return NewBatch(
        task=task,
        endpoint=request.endpoint,
        input_file=request.input_file.key,
        # The keys of files are made in the same way as those of tasks.
        output_file=FileKey(base.task_key(tenant)),
        error_file=FileKey(base.task_key(tenant)),
        input_bytes=request.input_file.bytes,
        output_ms=request.output_ms,
        retry_of=request.retry_of,
    )


def _fresh(new: NewBatch, route: Route) -> Batch:
    """Return a batch in the state in which the submission has just written it, without a read of D1."""
    deadline_ms = new.task.options.deadline_ms
    assert deadline_ms is not None
    return Batch(
        task=fresh_task(new.task, Source("", 0, 0), route),
        endpoint=new.endpoint,
        window_ms=deadline_ms,
        input_file=new.input_file,
        output_file=new.output_file,
        error_file=new.error_file,
        output_ms=new.output_ms,
    )
