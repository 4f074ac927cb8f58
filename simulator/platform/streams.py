"""A stand-in for JavaScript's `IdentityTransformStream`, through which an answer reaches its client in parts.

A write returns when the reader has taken its piece, as in workerd. A write after the reader has left raises `JsError`.
"""

import asyncio
from collections.abc import AsyncGenerator

from simulator.platform.binding_port import CONNECTION_LOST, JsError


class IdentityTransformStream:
    """A stream, its two ends, and their reader and writer, all in one object."""

    def __init__(self) -> None:
        self.readable = self
        self.writable = self
        self._piece: bytes | None = None
        self._taken: asyncio.Future[None] | None = None
        self._news: asyncio.Future[None] | None = None
        self._ended = False
        self._broken = False
        self._left = False

    @classmethod
    def new(cls) -> "IdentityTransformStream":
        """Make a stream, as `new` does in JavaScript."""
        return cls()

    def getWriter(self) -> "IdentityTransformStream":  # noqa: N802 - the platform's name
        """Return the writer of the stream."""
        return self

    async def write(self, piece: bytes) -> None:
        """Pass a piece on, and wait until the reader has taken the piece."""
        if self._left:
            raise JsError(CONNECTION_LOST)
        self._piece = piece
        self._taken = asyncio.get_running_loop().create_future()
        self._tell()
        await self._taken

    async def close(self) -> None:
        """End the stream."""
        self._ended = True
        self._tell()

    def releaseLock(self) -> None:  # noqa: N802 - the platform's name
        """Let another writer write."""

    async def abort(self, _reason: str) -> None:
        """Break the stream off."""
        self._broken = True
        self._tell()

    def _tell(self) -> None:
        if self._news is not None and not self._news.done():
            self._news.set_result(None)

    async def pieces(self, silent_seconds: float) -> AsyncGenerator[bytes]:
        """Yield the pieces of the stream.

        Raises JsError if the stream is broken off, or if no piece comes for `silent_seconds`, as when its isolate has
        died.
        """
        while True:
            if self._piece is not None:
                piece, self._piece = self._piece, None
                assert self._taken is not None
                self._taken.set_result(None)
                yield piece
            elif self._broken:
                raise JsError(CONNECTION_LOST)
            elif self._ended:
                return
            else:
                self._news = asyncio.get_running_loop().create_future()
                done, _ = await asyncio.wait({self._news}, timeout=silent_seconds)
                if not done:
                    raise JsError(CONNECTION_LOST)

    def leave(self) -> None:
        """Stop reading the stream, so that a write that waits raises `JsError`."""
        self._left = True
        if self._taken is not None and not self._taken.done():
            self._taken.set_exception(JsError(CONNECTION_LOST))


class FixedLengthStream(IdentityTransformStream):
    """A stand-in for JavaScript's `FixedLengthStream`: a stream that refuses to end before or behind its length."""

    def __init__(self, length: int) -> None:
        super().__init__()
        self._length = length

    @classmethod
    def new(cls, length: int = 0) -> "FixedLengthStream":
        """Make a stream of a length, as `new` does in JavaScript."""
        return cls(length)

    async def write(self, piece: bytes) -> None:
        """Pass a piece on. Fails if the stream would be longer than it may be."""
        self._length -= len(piece)
        assert self._length >= 0, "an answer is longer than its Content-Length"
        await super().write(piece)

    async def close(self) -> None:
        """End the stream. Fails if it is shorter than it must be."""
        assert self._length == 0, "an answer is shorter than its Content-Length"
        await super().close()
