"""The value that joins large outputs: made in portions that leave other requests their turns, in bounded memory."""

import json
from collections.abc import AsyncGenerator, Sequence

from ...calls.clock import LongWork
from ...domain import limits
from ...domain.errors import NotJoinable
from ...domain.structure import Quote
from ...domain.task import FinishedChunk, Task
from ...store.rows import ChunkIndex, OutputJoiner, Unheld, add
from ...store.tasks import TaskStore

_PART_BYTES = 100_000  # of a part that is sent: arrays are in small pieces


class JoinedValue:
    """A joined value as compact JSON, which may be written several times.

    Up to JOINED_CHARS_HELD characters of outputs are joined in one read, and the value is held. Of more, only the
    fields outside arrays are held, and which items of unions are new; the arrays are read anew each time that they are
    written. The items of a union are compared in as many reads as its set needs to stay small.
    """

    def __init__(self, store: TaskStore, task: Task, index: ChunkIndex) -> None:
        self._store = store
        self._task = task
        self._index = index
        self._joiner: OutputJoiner | None = None
        self._pieces: Sequence[bytes | Unheld] | None = None  # None: not joined yet. Empty: a sum is no double.

    @property
    def pages(self) -> int:
        """How many reads the value may take at most, as far as is known."""
        once = sum(1 for _ in self._index.pages())
        if self._pieces is None:
            return once * self._parts
        return once * sum(not isinstance(piece, bytes) for piece in self._pieces)

    @property
    def _parts(self) -> int:
        return -(-sum(self._index.sizes.values()) // limits.UNION_CHARS_AT_ONCE)

    async def join(self) -> bool:
        """Join the outputs, unless that is done. Returns False if a sum is no double, so that there is no value."""
        if self._pieces is None:
            joiner_of = self._store.hooks.joiner_of
            assert self._task.source is not None
            assert joiner_of is not None
            self._joiner = joiner = joiner_of(self._task.source)
            work = LongWork()
            is_large = sum(self._index.sizes.values()) > limits.JOINED_CHARS_HELD
            for _ in range(joiner.let_go(self._parts) if is_large else 1):
                async for output in self._outputs():
                    await add(joiner, output, work)
                joiner.again()
            try:
                self._pieces = joiner.written()
            except NotJoinable:
                self._pieces = []
        return bool(self._pieces)

    async def parts(self) -> AsyncGenerator[str]:
        """Write the joined value, in parts that are worth sending."""
        held: list[bytes] = []
        size = 0
        async for piece in self._written():
            held.append(piece)
            size += len(piece)
            if size >= _PART_BYTES:
                yield b"".join(held).decode()
                held, size = [], 0
        yield b"".join(held).decode()

    async def as_text(self) -> AsyncGenerator[str]:
        """Write the joined value as a JSON string."""
        yield '"'
        async for part in self.parts():
            yield json.dumps(part, ensure_ascii=False)[1:-1]
        yield '"'

    async def _written(self) -> AsyncGenerator[bytes]:
        work = LongWork()
        for piece in self._pieces or ():
            if isinstance(piece, bytes):
                yield piece
                continue
            before, number = b"", 0
            async for output in self._outputs():
                items = piece.piece(number, json.loads(output))
                number += 1
                if items:
                    yield before + items
                    before = b","
                await work.did(len(output))

    async def quotes(self) -> AsyncGenerator[Sequence[Quote]]:
        """Yield the quotes in the joined value, those of one output after the other. It must be joined."""
        assert self._joiner is not None
        number = 0
        async for chunk in self._chunks():
            yield list(self._joiner.placed(number, chunk.quotes))
            number += 1

    async def _outputs(self) -> AsyncGenerator[str]:
        async for chunk in self._chunks():
            assert chunk.output is not None
            yield chunk.output

    async def _chunks(self) -> AsyncGenerator[FinishedChunk]:
        for places in self._index.pages():
            for chunk in await self._store.some_chunks(self._index, places):
                if chunk.output is not None:
                    yield chunk
