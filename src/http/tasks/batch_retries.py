"""The retry of a batch, and its refusals."""

import asyncio

from ...processing.batch_retries import BatchRetry, Retried
from ...processing.batch_submission import SubmittedBatch
from ...store.admission import LimitReached
from ...store.batches import BatchStore
from ...store.files import FilesFull
from ...store.records.batches import Batch
from ..base.exchange import Exchange
from ..base.messages import Reply
from ..base.problems import FILES_FULL, NOT_RETRYABLE, Refusal, no_task, overload_refusal
from ..follow import wait
from .acceptance import accepted_reply
from .conditions import limit_reached

_GONE = "The input file of the batch is gone. Upload the lines again, and start a new batch."


async def retry_batch(exchange: Exchange, max_calls: int | None) -> Reply:
    """Start a new batch over the lines of an ended batch that have no answer, or find the one of an earlier request."""
    api = exchange.api
    batch = await api.store.beside(BatchStore).batch(exchange.task_key)
    if batch is None:
        raise no_task()
    if (reason := _unretryable(batch)) is not None:
        raise Refusal(NOT_RETRYABLE, reason)
    made = await _retried(exchange, batch, max_calls)
    match made:
        case SubmittedBatch(new, replayed):
            task = await wait.found(api.store, new.task.task_key)
            return await accepted_reply(exchange, task, {"Idempotency-Replayed": "true"} if replayed else {})
        case LimitReached(limit):
            raise limit_reached(limit, api)
        case FilesFull(used, most):
            detail = f"The tenant's files have {used} of at most {most} bytes together (MAX_FILES_BYTES)."
            raise Refusal(FILES_FULL, f"{detail} Delete files first.")
        case _:
            raise Refusal(NOT_RETRYABLE, _GONE)


async def _retried(exchange: Exchange, batch: Batch, max_calls: int | None) -> Retried:
    api, load, clock = exchange.api, exchange.api.isolate.load, asyncio.get_running_loop().time
    try:
        if not load.admits(clock()):
            raise overload_refusal()
        return await BatchRetry(api.submission, api.open_files).run(batch, max_calls)
    finally:
        load.unprobed(clock())


def _unretryable(batch: Batch) -> str | None:
    """Say why a batch cannot be retried, None if it can."""
    if batch.ended_at is None:
        return f"The batch is {batch.status}. It can be retried when its files are complete."
    if batch.valid_at is None:
        return "A line of the batch was not valid, or none was checked. Correct the file, and start a new batch."
    if not batch.error_lines:
        return "Each line of the batch has an answer."
    return None
