"""Reads the lines that the output file of a batch has so far, each once, in the order that it keeps for ever.

Lines lie in objects first, and then in segments. While they are read, segments may become objects. A line keeps its
number and its place in bytes, so the reader goes on behind the last line that it gave.
"""

from collections.abc import AsyncIterator, Sequence
from typing import NamedTuple

from ....kernel.domain import limits
from ....kernel.domain.errors import BlobMissing
from ...files.file import File
from ...files.store import FileStore
from ..store.batch_files import BatchFileStore
from ..store.batches import Batch, SegmentLines
from .growth import together

_REPLANS_MOST = 20


class EarlyLines(NamedTuple):
    """Lines of an output file from the asked offset up to line `behind`, counted from 0, of `size` bytes together.

    `reaches_end` says that they are the last that the file has now. `chunks` gives their bytes, whole lines each.
    """

    behind: int
    size: int
    reaches_end: bool
    chunks: AsyncIterator[bytes]


async def read_lines(
    files: FileStore, store: BatchFileStore, batch: Batch, offset: int, limit: int | None, bytes_most: int
) -> EarlyLines:
    """Choose lines from `offset` on: up to `limit` lines with at most `bytes_most` bytes, but at least one if there is.

    Raises StoreError, and `BlobMissing` if the batch was erased since its row was read. The bytes are read when
    `chunks` is iterated, which may also raise `BlobUnavailable`, and `BlobMissing` if the batch is erased in between.
    """
    segments = await store.lines(batch.task.task_key)
    # Without this check a reader of an erased batch would be sent back to the first line.
    if offset and not segments and await files.file(batch.output_file) is None:
        raise BlobMissing("the output of a batch is gone")
    sizes = [size + 1 for one in segments for size in one.sizes]
    first = min(offset, len(sizes))
    behind = first + together(sizes[first : None if limit is None else first + limit], bytes_most)
    chunks = _Reader(files, store, batch, segments).chunks(first, behind)
    return EarlyLines(behind, sum(sizes[first:behind]), behind == len(sizes), chunks)


class _Reader:
    """Reads lines by their numbers."""

    def __init__(self, files: FileStore, store: BatchFileStore, batch: Batch, segments: Sequence[SegmentLines]) -> None:
        self._files = files
        self._store = store
        self._batch = batch
        self._segments = segments
        self._file: File | None = None
        self._replans_left = _REPLANS_MOST

    async def chunks(self, first: int, behind: int) -> AsyncIterator[bytes]:
        """Give the bytes of the lines from `first` up to `behind`."""
        at = first
        while at < behind:
            number, start, line = self._segment_of(at)
            segment = self._segments[number]
            lines = min(behind - at, len(segment.sizes) - line)
            if segment.in_file:
                start += sum(segment.sizes[:line]) + line
                sizes = [size + 1 for size in segment.sizes[line : line + lines]]
                taken = together(sizes, limits.BATCH_PORTION_BYTES)
                chunk = await self._in_file(start, start + sum(sizes[:taken]))
            else:
                taken, chunk = await self._in_segments(number, line, behind - at)
            if not chunk:  # the segment has become an object since the plan
                await self._plan_again()
                continue
            at += taken
            yield chunk

    async def _in_segments(self, number: int, line: int, most: int) -> tuple[int, bytes]:
        """Read lines from segment `number` on, from its line `line` on, up to `most` lines of several segments at once.

        Returns how many lines were read, with their bytes: none if a segment has become an object since the plan.
        """
        group = range(number, number + 1)
        chars, lines = sum(self._segments[number].sizes), len(self._segments[number].sizes) - line
        for one in self._segments[number + 1 :]:
            chars += sum(one.sizes)
            if one.in_file or lines >= most or chars > limits.BATCH_PORTION_BYTES:
                break
            group = range(number, group.stop + 1)
            lines += len(one.sizes)
        parts = range(self._segments[number].part, self._segments[group.stop - 1].part + 1)
        found = await self._store.bodies(self._batch.task.task_key, parts)
        if len(found) < len(group):
            return 0, b""
        # A segment may have got outputs since the plan, which are behind those that the plan has.
        planned = [
            text
            for position, texts in zip(group, found, strict=True)
            for text in texts[: len(self._segments[position].sizes)]
        ]
        texts = planned[line : line + most]
        return len(texts), "".join(f"{text}\n" for text in texts).encode("ascii")

    async def _in_file(self, start: int, end: int) -> bytes:
        if self._file is None or self._file.bytes < end:
            self._file = await self._files.file(self._batch.output_file)
        if self._file is None or self._file.bytes < end:
            raise BlobMissing("the output file of a batch is gone")
        return await self._files.read(self._file, start, end)

    async def _plan_again(self) -> None:
        self._replans_left -= 1
        self._segments = await self._store.lines(self._batch.task.task_key)
        if not self._segments or not self._replans_left:
            raise BlobMissing("the output of a batch is gone")

    def _segment_of(self, line: int) -> tuple[int, int, int]:
        """Return the segment of a line, at which byte of the output file it begins, and the line's number in it."""
        start = 0
        for number, one in enumerate(self._segments):
            if line < len(one.sizes):
                return number, start, line
            line -= len(one.sizes)
            start += sum(one.sizes) + len(one.sizes)
        raise BlobMissing("the output of a batch is gone")
