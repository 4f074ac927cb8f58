"""Completes the files of a batch whose task has ended, so that each of its lines is in one of them.

The worker that ends the task begins, and the sweep goes on. A writer may die anywhere: the next one takes the batch
with a higher fence, and goes on behind the last part that a row names.
"""

import json
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from ....kernel.calls import clock
from ....kernel.domain import limits
from ....kernel.domain.errors import BlobMissing, MemoryShort, OnceoverError
from ....kernel.domain.ids import TaskKey
from ....kernel.domain.task import Status
from ....kernel.run.invocation import Invocation
from ....kernel.run.log import Log
from ...files.blobs import Bucket
from ...files.file import File, Shelf, touches
from ...files.store import file_store
from ..lines.answers import refused_line, unanswered_line
from ..lines.line_json import custom_id_of
from ..store.batch_files import BatchFileStore, places_without
from ..store.batches import BatchStore, Writing
from .growth import PartWriter, object_of, store_segments
from .line_inputs import LineIndex

# What a step of a writer takes at most, in subrequests and statements: to store an object of segments, or to read lines
# and to name the part that is full with them.
_MOVE = (14, 14)
_ERRORS = (6, 9)
_SEARCH = (limits.FILE_BYTES_MOST // limits.FILE_PART_BYTES + 1, 4)  # To look for each part of the input file.
_CODES = {Status.CANCELLED: "batch_cancelled", Status.FAILED: "batch_failed", Status.COMPLETED: "batch_failed"}
_MESSAGES = {
    "batch_expired": "The completion window of the batch was over before this request was answered.",
    "batch_cancelled": "The batch was cancelled before this request was answered.",
    "batch_failed": "The batch failed before this request was answered.",
}
_LOST = "Request {} of the input file cannot be read: a part of the file is gone."


class _Lost(Exception):
    """Another writer has the batch."""


class _Spent(Exception):
    """The invocation may not spend more, so that another one goes on."""


class _Input(NamedTuple):
    """A batch's input, for `custom_id`s of its lines; None as `file` if gone. `lost`: bytes that are."""

    file: File | None
    lines: LineIndex
    lost: Sequence[range] = ()

    def lacks(self, position: int) -> bool:
        """Whether a line cannot be read any more."""
        return self.file is None or touches(self.lost, *self.lines.range_of(position))


class BatchWriter:
    """Completes files of batches in one invocation."""

    def __init__(self, invocation: Invocation) -> None:
        self._invocation = invocation
        self._store = invocation.store.beside(BatchFileStore)

    async def run(self, task_key: TaskKey) -> bool:
        """Complete a batch's files as far as the invocation may, and log errors. Returns whether it ended."""
        invocation, log = self._invocation, self._invocation.log.bind(task=task_key)
        try:
            if not _affords(invocation, *_ERRORS):
                return False
            of = await self._store.take(task_key, invocation.nonce(), invocation.settings.longest_claim_ms)
            return of is not None and await self._write(of, log)
        except OnceoverError as error:
            log.failure("batch_write_failed", error)
            return False

    async def _write(self, of: Writing, log: Log) -> bool:
        work = _Work(self._invocation, self._store, of)
        try:
            await work.run()
        except _Lost:
            log("batch_lost", fence=of.fence)
            return False
        except _Spent:
            await self._store.give_back(of)
            log("batch_unfinished", fence=of.fence, written=work.written)
            return False
        log("batch_ended", fence=of.fence, status=of.status, lines=of.total)
        return True


def _affords(invocation: Invocation, subrequests: int, statements: int) -> bool:
    settings, meter = invocation.settings, invocation.meter
    return (
        settings.subrequests - meter.subrequests_taken >= subrequests
        and settings.statements - meter.statements_taken >= statements
    )


class _Work:
    """The work of a writer on the batch `of` that it has taken."""

    def __init__(self, invocation: Invocation, store: BatchFileStore, of: Writing) -> None:
        self._invocation = invocation
        self._store = store
        self._of = of
        self._files = file_store(invocation)
        self._ends_at = clock.now() + limits.WRITER_SLICE_SECONDS
        self._name = f"w{of.fence}-{of.writer[:8]}"
        self._portions_left = limits.BATCH_PORTIONS_A_WRITER[invocation.settings.plan]
        self._error_place = of.error_place
        self.written = of.written_places

    def _may_go_on(self, cost: tuple[int, int]) -> bool:
        """Whether time and allowance suffice for another step."""
        return clock.now() < self._ends_at and _affords(self._invocation, *cost)

    async def run(self) -> None:
        """Write what the files lack, and end the batch. Raises _Spent and _Lost."""
        if self._of.is_valid:
            size = self._files.bucket.part_bytes + limits.MEMORY_WRITER_BYTES
            try:
                share = await self._invocation.isolate.memory.share("run", size, limits.MEMORY_RUN_WAIT_SECONDS)
            except MemoryShort:
                raise _Spent from None
            try:
                await self._finish_output()
                await self._write_errors()
            finally:
                share.close()
        if not await self._store.complete(self._of):
            raise _Lost

    async def _finish_output(self) -> None:
        """Make objects of the segments that are left."""
        of, store = self._of, self._store
        waiting = await store.waiting(of.task_key)
        while waiting:
            if not self._may_go_on(_MOVE):
                raise _Spent
            bucket = self._bucket(of.output_place)
            chosen = object_of(waiting, bucket.part_bytes)
            stored = await store_segments(store, bucket, of.task_key, of.output_file, self._name, chosen)
            if not await store.move(of, stored.segments, stored.added):
                raise _Lost
            waiting = waiting[len(chosen) :]

    async def _write_errors(self) -> None:
        """Write a line for each position without an answer, from where the last writer stopped."""
        missing = places_without(self._of.answered, self._of.total)
        positions = [position for one in missing for position in one if position >= self.written]
        if positions:
            await self._write_lines(positions, await self._input())
        if self.written < self._of.total:
            await self._add(None, self._of.total, 0)

    async def _write_lines(self, positions: Sequence[int], source: _Input) -> None:
        writer, lines, done = self._part(), 0, 0
        while done < len(positions):
            if not (self._portions_left and self._may_go_on(_ERRORS)):
                await self._add(writer, positions[done - 1] + 1 if done else self.written, lines)
                raise _Spent
            self._portions_left -= 1
            try:
                made = await self._lines(_together(positions, done, source), source)
            except BlobMissing:
                source = await self._without_lost(source)
                continue
            await writer.write("".join(f"{line}\n" for line in made).encode("ascii"))
            done += len(made)
            lines += len(made)
            if writer.added:  # a part is full, and a crash would lose no more than that
                await self._add(writer, positions[done - 1] + 1, lines)
                writer, lines = self._part(), 0
        await self._add(writer, self._of.total, lines)

    def _bucket(self, shelf: Shelf | None) -> Bucket:
        """Return the bucket of a file: the one that has its first parts, or the deployment's if it has not begun."""
        return self._files.bucket if shelf is None else self._files.bucket_of(shelf)

    def _part(self) -> PartWriter:
        return PartWriter(self._bucket(self._error_place), self._of.error_file, f"{self._name}-e{self.written}")

    async def _add(self, writer: PartWriter | None, behind: int, lines: int) -> None:
        """Name what was written in the error file, which then has the lines of all positions before `behind`."""
        if behind == self.written:
            return
        added = [] if writer is None else await writer.finish()
        positions = range(self.written, behind)
        shelf = self._error_place or self._files.bucket.shelf
        if not await self._store.add_errors(self._of, positions, added, lines=lines, shelf=shelf):
            raise _Lost
        self.written = behind

    async def _lines(self, positions: Sequence[int], source: _Input) -> list[str]:
        """Make the lines of the error file for the first of positions that lie near one another, or for all of them."""
        failures, left_out = await self._store.refusals(self._of.task_key, range(positions[0], positions[-1] + 1))
        positions = [position for position in positions if position < left_out]
        if source.file is None or source.lacks(positions[0]):
            return [self._line(position, None, failures) for position in positions]
        start, end = source.lines.range_of(positions[0])[0], source.lines.range_of(positions[-1])[1]
        raw = await self._files.read(source.file, start, end)
        made = []
        for position in positions:
            first, behind = source.lines.range_of(position)
            made.append(self._line(position, custom_id_of(raw[first - start : behind - start]), failures))
        return made

    async def _without_lost(self, source: _Input) -> _Input:
        """Find the parts of the input file that are gone, so that their lines are written without their `custom_id`."""
        assert source.file is not None
        if not self._may_go_on(_SEARCH):
            raise _Spent
        lost = await self._files.lost(source.file)
        if lost == source.lost:
            raise BlobMissing("a part of the input file of a batch is gone, and there again")
        return source._replace(lost=lost)

    def _line(self, position: int, custom_id: str | None, failures: Mapping[int, tuple[str, str | None]]) -> str:
        """Make one line. `custom_id` is None if the line of the input file cannot be read any more."""
        task_key = self._of.task_key
        if custom_id is None and (position not in failures or failures[position][1] is None):
            return unanswered_line(task_key, position, None, "batch_failed", _LOST.format(position + 1))
        if position in failures:
            message, refusal = failures[position]
            if refusal is None:
                return unanswered_line(task_key, position, custom_id, "batch_failed", message)
            found = json.loads(refusal)
            return refused_line(task_key, position, custom_id, found["status"], found["body"])
        code = "batch_expired" if self._of.expired else _CODES[self._of.status]
        return unanswered_line(task_key, position, custom_id, code, _MESSAGES[code])

    async def _input(self) -> _Input:
        found = await self._invocation.store.beside(BatchStore).work(self._of.task_key)
        file = await self._files.file(self._of.input_file)
        if found is None:
            raise _Lost
        if file is None and self._of.waited_ms < limits.LOST_PART_SECONDS * 1000:
            raise BlobMissing("the input file of a batch is gone before its end")
        return _Input(file, LineIndex(found[1]))


def _together(positions: Sequence[int], first: int, source: _Input) -> Sequence[int]:
    """Return the next positions whose lines one read gives: at least one, and either all or none can be read."""
    index, is_lost = source.lines, source.lacks(positions[first])
    start = index.range_of(positions[first])[0]
    behind = first + 1
    while behind < len(positions) and index.range_of(positions[behind])[1] - start <= limits.BATCH_PORTION_BYTES:
        if source.lacks(positions[behind]) is not is_lost:
            break
        behind += 1
    return positions[first:behind]
