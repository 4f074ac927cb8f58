"""Retries a batch that has ended: copies its lines without an answer to a new file, for which it starts a batch."""

import asyncio
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from ....kernel.domain import limits
from ....kernel.domain.errors import BlobMissing, StoreError
from ....kernel.domain.ids import FileKey, TaskKey, batch_id, split_task_key
from ....kernel.store.admission import LimitReached, Mismatched
from ....kernel.work.submission import Submission
from ...files.file import File, Purpose
from ...files.store import FilesFull, FileStore, TooManyFiles
from ..store.batch_files import BatchFileStore
from ..store.batches import Batch, BatchStore, InputMissing
from .growth import PartWriter
from .line_inputs import LineIndex
from .submission import BatchRequest, SubmittedBatch, earlier_batch, submit_batch

type Retried = SubmittedBatch | InputMissing | FilesFull | TooManyFiles | LimitReached | Mismatched


@dataclass(frozen=True, slots=True)
class BatchRetry:
    """Retries batches."""

    base: Submission
    files: FileStore

    async def run(self, old: Batch, max_calls: int | None, max_cost: int | None = None) -> Retried:
        """Start a new batch with those lines of an old batch that have no answer.

        For a day, a repeated request gets the same new batch again. `max_calls` and `max_cost` are the new batch's
        budgets; None without one. Returns InputMissing if the input file is gone. Raises StoreError and
        `BlobUnavailable`. If the new batch was not accepted, the copied lines are erased.
        """
        tenant, old_id = split_task_key(old.task.task_key)
        # The idempotency key begins with a space, so it differs from every key of a client.
        key = f" lines of {old_id}"
        found = await earlier_batch(self.base, tenant, key, old_id, None)
        if isinstance(found, SubmittedBatch):
            return found
        lines = await self._copied(old, tenant)
        if not isinstance(lines, File):
            return lines
        request = BatchRequest(
            endpoint=old.endpoint,
            input_file=lines,
            window_ms=old.window_ms,
            metadata=old.task.options.metadata,
            max_calls=max_calls,
            max_cost=max_cost,
            output_ms=old.output_ms,
            retry_of=old.task.task_key,
        )
        made = None
        try:
            made = await submit_batch(self.base, tenant, request, key, old_id)
            return made
        finally:
            if not (isinstance(made, SubmittedBatch) and made.batch.input_file == lines.key):
                await self._erase(lines.key)

    async def _erase(self, copied: FileKey) -> None:
        """Erase the copied lines, unless a batch uses them that was accepted although its answer was lost."""
        try:
            async with asyncio.timeout(limits.BLOB_SECONDS):
                await self.files.delete(copied)
        except (StoreError, TimeoutError) as error:
            self.base.log("retry_not_erased", file=copied, error=type(error).__name__)

    async def _copied(self, old: Batch, tenant: str) -> File | FilesFull | TooManyFiles | InputMissing:
        """Write the lines without an answer to a new file. A failure leaves nothing."""
        files, base = self.files, self.base
        source = await files.file(old.input_file)
        if source is None:
            return InputMissing()
        key = FileKey(base.task_key(tenant))
        try:
            full = await files.begin(key, base.now_ms(), base.settings.files_most, base.settings.storage_bytes_most)
            if full is not None:
                return full
            writer = PartWriter(files.bucket, key, "r")
            await self._copy(old.task.task_key, files, source, writer)
            made = await files.ready(
                key,
                purpose=Purpose.BATCH,
                filename=f"{batch_id(old.task.id)}_retry.jsonl",
                parts=await writer.finish(),
                keeps_ms=limits.FILE_EXPIRY_SECONDS[1] * 1000,
                use_most=base.settings.files_bytes,
            )
        except BlobMissing:  # the batch or its input file was erased after its row was read
            await files.abort(key)
            return InputMissing()
        except BaseException:  # a cancellation too
            await files.abort(key)
            raise
        if not isinstance(made, File):
            await files.abort(key)
        return made or InputMissing()

    async def _copy(self, task_key: TaskKey, files: FileStore, source: File, writer: PartWriter) -> None:
        rows = self.base.store.beside(BatchStore)
        found = await rows.work(task_key)
        if found is None:
            raise BlobMissing("the batch was erased just now")
        index = LineIndex(found[1])
        missing = await rows.beside(BatchFileStore).unanswered(task_key)
        ranges = [index.range_of(position) for one in missing for position in one]
        for group in _groups(ranges):
            start = group[0][0]
            raw = await files.read(source, start, group[-1][1])
            await writer.write(b"".join(raw[first - start : behind - start] + b"\n" for first, behind in group))


def _groups(ranges: Sequence[tuple[int, int]]) -> Iterator[Sequence[tuple[int, int]]]:
    """Divide the ranges of lines, in order, into groups; one read of the file gives all lines of a group."""
    first = 0
    for number, (_, behind) in enumerate(ranges):
        if number > first and behind - ranges[first][0] > limits.RETRY_READ_BYTES_MOST:
            yield ranges[first:number]
            first = number
    if first < len(ranges):
        yield ranges[first:]
