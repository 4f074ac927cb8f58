"""Lets the output file of a batch grow: its finished segments become objects while the batch goes on."""

from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from typing import NamedTuple

from ....kernel.domain import limits
from ....kernel.domain.ids import FileKey, TaskKey
from ....kernel.store.claims import NOTHING_ELSE, Also, Claim, Output
from ....kernel.store.d1 import Row
from ...files.blobs import Bucket
from ...files.file import FilePart
from ...files.store import FileStore
from ..store import batches as records
from ..store.batch_files import GROW, SEGMENTS, BatchFileStore, moving
from ..store.batches import OutputFile, SegmentSize


class StoredLines(NamedTuple):
    """Segments whose lines are stored as parts of a file, which no row names yet. `chars` are those of the lines."""

    segments: range
    added: Sequence[FilePart]
    chars: int


class PartWriter:
    """Stores bytes as parts of a file. `name` begins their names, and no other content may ever have it."""

    def __init__(self, bucket: Bucket, file: FileKey, name: str) -> None:
        self._bucket = bucket
        self._file = file
        self._name = name
        self._buffer = bucket.buffer()
        self.added: list[FilePart] = []

    async def write(self, chunk: bytes) -> None:
        """Add bytes, and store each part that is full."""
        view = memoryview(chunk)
        while view:
            room = self._bucket.part_bytes - len(self._buffer)
            self._buffer.append(bytes(view[:room]))
            view = view[room:]
            if len(self._buffer) == self._bucket.part_bytes:
                await self._put()

    async def finish(self) -> list[FilePart]:
        """Store the last part, and return all."""
        if len(self._buffer):
            await self._put()
        self._buffer.free()
        return self.added

    async def _put(self) -> None:
        part = FilePart(f"{self._name}-{len(self.added)}", len(self._buffer))
        await self._bucket.put(self._file, part.name, self._buffer)
        self._buffer.clear()
        self.added.append(part)


async def store_segments(
    store: BatchFileStore, bucket: Bucket, task_key: TaskKey, file: FileKey, fence: str, chosen: Sequence[SegmentSize]
) -> StoredLines:
    """Store the lines of segments that follow one another as parts of the output file.

    The segments are read in groups, so that memory has only a part of their lines at a time. Segments that take no more
    outputs have the same lines for ever, so the names of the parts, which have the `fence` of the writer and the
    numbers of the segments, are used for one content.
    """
    segments = range(chosen[0].part, chosen[-1].part + 1)
    writer = PartWriter(bucket, file, f"{fence}-{segments.start}-{segments.stop - 1}")
    for group in _groups(chosen):
        for lines in await store.bodies(task_key, group):
            await writer.write("".join(f"{line}\n" for line in lines).encode("ascii"))
    return StoredLines(segments, await writer.finish(), sum(one.chars for one in chosen))


def object_of(waiting: Sequence[SegmentSize], bytes_most: int) -> Sequence[SegmentSize]:
    """Choose the first segments that together have at most `bytes_most` characters; at least one."""
    return waiting[: together((one.chars for one in waiting), bytes_most)]


def _groups(chosen: Sequence[SegmentSize]) -> Iterator[range]:
    """Divide segments into groups that are read at once."""
    while chosen:
        count = together((one.chars for one in chosen), limits.BATCH_PORTION_BYTES)
        yield range(chosen[0].part, chosen[count - 1].part + 1)
        chosen = chosen[count:]


def together(sizes: Iterable[int], most: int) -> int:
    """Return how many of the first sizes have at most `most` together; at least one, if there is one."""
    total = count = 0
    for size in sizes:
        total += size
        if count and total > most:
            break
        count += 1
    return count


class Growth:
    """Makes an object of a batch's segments once their lines suffice for a part. One for each run.

    All parts of the output file are stored where the first one is, whichever bucket the deployment has now.
    """

    def __init__(self, claim: Claim, store: BatchFileStore, files: FileStore) -> None:
        self._task_key = claim.task_key
        # After a restore of the database another claim may get the same fence, but not the same holder.
        self._name = f"c{claim.fence}-{claim.holder[:8]}"
        self._store = store
        self._files = files
        self._waiting: int | None = None  # The characters of lines that are not in an object; None until read.
        self._wanted = files.bucket.part_bytes
        self._asks = False  # whether the step in progress reads how many lines wait

    def asking(self, outputs: Sequence[Output]) -> Also:
        """Return what a step with these outputs must ask: the first one of a run reads how many lines wait."""
        self._asks = bool(outputs) and self._waiting is None
        return Also(asks=SEGMENTS.bind(task_key=self._task_key), hears=self._heard) if self._asks else NOTHING_ELSE

    def recorded(self, outputs: Sequence[Output]) -> None:
        """Note that a step with outputs has landed."""
        if self._waiting is not None and not self._asks:
            self._waiting += sum(len(output.text) for output in outputs)
        self._asks = False

    @property
    def is_due(self) -> bool:
        """Whether the lines that wait suffice for a part."""
        return self._waiting is not None and self._waiting >= self._wanted

    def postpone(self) -> None:
        """Try again when more lines wait, because the bucket did not answer."""
        self._wanted = (self._waiting or 0) + limits.BATCH_PORTION_BYTES

    async def store(self, output_file: Callable[[], OutputFile]) -> StoredLines | None:
        """Store full segments as an object; None without. Raises BlobUnavailable, StoreError, ClaimLost."""
        waiting = await self._store.waiting(self._task_key)
        self._waiting = sum(one.chars for one in waiting)
        self._wanted = self._waiting + limits.BATCH_PORTION_BYTES
        # The last segment may still take outputs. The others are full, and those that suffice for a part are moved.
        full = waiting[:-1]
        if not full:
            return None
        file = output_file()
        bucket = self._files.bucket_of(file.shelf)
        chosen = object_of(full, bucket.part_bytes)
        return await store_segments(self._store, bucket, self._task_key, file.key, self._name, chosen)

    async def name(self, stored: StoredLines, file: FileKey, record: Callable[[Also], Awaitable[None]]) -> None:
        """Name a stored object in the output `file` by a step of the claim. Raises StoreError and ClaimLost."""
        await record(Also(lambda under: moving(GROW, self._task_key, file, stored.segments, stored.added, under)))
        assert self._waiting is not None
        self._waiting -= stored.chars
        self._wanted = self._files.bucket.part_bytes

    def _heard(self, rows: Sequence[Row]) -> None:
        self._waiting = sum(one.chars for one in records.segment_sizes(rows))
