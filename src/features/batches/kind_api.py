"""What the calls of `/api/tasks` do for a batch: a retry is a new batch, and the outputs are in a file."""

from collections.abc import Mapping

from ...kernel.api.base.exchange import Exchange
from ...kernel.api.base.messages import Reply
from ...kernel.api.base.problems import FILES_FULL, NOT_RETRYABLE, FieldError, Refusal, field_refusal, no_task
from ...kernel.api.follow import wait
from ...kernel.api.tasks.submission import accepted_reply, admitted, limit_reached
from ...kernel.domain import limits
from ...kernel.domain.ids import TaskKey, file_id
from ...kernel.domain.task import Kind, Task
from ...kernel.store.admission import LimitReached
from ..files.api.content import INCOMPLETE, LAST_LINE, LinesApi, WantedLines, begun
from ..files.store import FilesFull, TooManyFiles, file_store
from .status import ENDED
from .store.batches import Batch, BatchStore

_NO_INPUT = "The input file of the batch is gone. Upload the lines again, and start a new batch."


class BatchesApi(LinesApi):
    """Retries batches, and shows where their outputs are."""

    async def retry(self, exchange: Exchange, task: Task, max_calls: int | None, max_cost: int | None) -> Reply | None:
        """Start a new batch over an ended batch's lines without an answer, or find the one of an earlier request."""
        if task.kind is not Kind.BATCH:
            return None
        from .work.retries import BatchRetry  # noqa: PLC0415 - only a retry needs both
        from .work.submission import SubmittedBatch  # noqa: PLC0415

        api = exchange.api
        batch = await api.store.beside(BatchStore).batch(task.task_key)
        if batch is None:
            raise no_task()
        if (reason := _unretryable(batch)) is not None:
            raise Refusal(NOT_RETRYABLE, reason)
        if max_calls is not None and max_calls < batch.error_lines:
            message = f"must be at least {batch.error_lines}, one call for each line without an answer"
            raise field_refusal([FieldError("maxModelCalls", message)])
        with admitted(api):
            made = await BatchRetry(api.submission, file_store(api.invocation)).run(batch, max_calls, max_cost)
        match made:
            case SubmittedBatch(new, replayed):
                task = await wait.found(api.store, new.task.task_key)
                return await accepted_reply(exchange, task, {"Idempotency-Replayed": "true"} if replayed else None)
            case LimitReached(limit):
                raise limit_reached(limit, api)
            case FilesFull(used, most):
                detail = f"The tenant's files have {used} of at most {most} bytes together (MAX_FILES_BYTES)."
                raise Refusal(FILES_FULL, f"{detail} Delete files first.")
            case TooManyFiles(most):
                raise Refusal(FILES_FULL, f"The tenant has {most} files or more (MAX_FILES). Delete files first.")
            case _:
                raise Refusal(NOT_RETRYABLE, _NO_INPUT)

    async def shown(self, exchange: Exchange) -> Mapping[str, object]:
        """Show which file has the outputs."""
        batch = await exchange.api.store.beside(BatchStore).batch(exchange.task_key)
        if batch is None:
            return {}
        return {"outputFile": file_id(batch.output_file) if batch.has_output_file else None}

    async def lines(
        self, exchange: Exchange, owner: TaskKey, file: str, asked: WantedLines, headers: Mapping[str, str]
    ) -> Reply | None:
        """Send as many lines of the output file as fit, but at least one, also while it grows.

        `X-Last-Line` is the number of the last line of the answer, which is the `offset` of the next request, and
        `X-Incomplete` says whether lines may follow. Raises BlobUnavailable.
        """
        from .store.batch_files import BatchFileStore  # noqa: PLC0415 - only such files need both
        from .work.early_lines import read_lines  # noqa: PLC0415

        api = exchange.api
        batch = await api.store.beside(BatchStore).batch(owner)
        if batch is None or batch.output_file != file:
            return None
        files, store = file_store(api.invocation), api.store.beside(BatchFileStore)
        most = limits.EARLY_BYTES_MOST[api.settings.plan]
        found = await read_lines(files, store, batch, asked.offset, asked.limit, most)
        told = {
            **headers,
            "Content-Length": str(found.size),
            INCOMPLETE: "false" if batch.status in ENDED and found.reaches_end else "true",
            LAST_LINE: str(found.behind),
        }
        if exchange.request.method == "HEAD" or not found.size:
            return Reply(200, headers=told)
        # The first lines are read before the answer begins, so that a bucket that does not answer refuses the request.
        return Reply(200, headers=told, content=begun(await anext(found.chunks), found.chunks))


def _unretryable(batch: Batch) -> str | None:
    """Say why a batch cannot be retried, None if it can."""
    if batch.ended_at is None:
        return f"The batch is {batch.status}. It can be retried when its files are complete."
    if batch.valid_at is None:
        return "A line of the batch was not valid, or none was checked. Correct the file, and start a new batch."
    if not batch.error_lines:
        return "Each line of the batch has an answer."
    return None
