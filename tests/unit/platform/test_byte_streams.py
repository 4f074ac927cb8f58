"""Request bodies that come in chunks, and answers that send bytes. JavaScript is a fake."""

import asyncio
import json
from collections.abc import AsyncGenerator
from types import SimpleNamespace

import pytest

from src.kernel.api.base.messages import BodyBroken, PipedBytes
from src.kernel.domain.errors import BlobUnavailable
from src.platform.byte_streams import CHUNK_BYTES, read_chunks, send_content
from tests.support.javascript import JsError, stand_in


@pytest.fixture(autouse=True)
def javascript(monkeypatch: pytest.MonkeyPatch) -> None:
    js = {"Uint8Array": Array, "JSON": SimpleNamespace(parse=json.loads)}
    stand_in(monkeypatch, js, {"JsException": JsError, "to_js": lambda value: value})


class Array:
    """A Uint8Array over a memory, which a stream takes and gives back."""

    made = 0

    def __init__(self, memory: "Memory", content: bytes = b"") -> None:
        self.buffer = memory
        self._content = content

    @staticmethod
    def new(source: "int | Memory") -> "Array":
        if isinstance(source, int):
            Array.made += 1
            source = Memory(source)
        return Array(source)

    def to_bytes(self) -> bytes:
        return self._content


class Memory:
    def __init__(self, size: int) -> None:
        self.size = size


class Result:
    def __init__(self, *, done: bool, value: Array) -> None:
        self.done = done
        self.value = value


class Body:
    """A request's body in JavaScript, which is also its own reader."""

    def __init__(self, content: bytes, *, breaks: bool = False) -> None:
        self._left = content
        self._breaks = breaks
        self.cancelled = False

    def getReader(self, options: dict[str, str]) -> "Body":  # noqa: N802 - JavaScript's name
        assert options == {"mode": "byob"}
        return self

    async def readAtLeast(self, least: int, into: Array) -> Result:  # noqa: N802 - JavaScript's name
        assert into.buffer.size == least == CHUNK_BYTES
        piece, self._left = self._left[:least], self._left[least:]
        if not piece and self._breaks:
            raise JsError
        return Result(done=not piece, value=Array(into.buffer, piece))

    async def cancel(self) -> None:
        self.cancelled = True


def test_a_body_comes_in_equal_chunks_through_one_array() -> None:
    content = bytes(range(256)) * 3_000
    Array.made = 0

    async def play() -> list[bytes]:
        return [chunk async for chunk in read_chunks(Body(content))]  # type: ignore[arg-type]

    chunks = asyncio.run(play())
    assert b"".join(chunks) == content
    assert [len(chunk) for chunk in chunks] == [CHUNK_BYTES, CHUNK_BYTES, len(content) - 2 * CHUNK_BYTES]
    assert Array.made == 1


def test_a_reader_that_stops_cancels_the_body() -> None:
    body = Body(b"x" * 3 * CHUNK_BYTES)

    async def play() -> None:
        chunks = read_chunks(body)  # type: ignore[arg-type]
        await anext(chunks)
        await chunks.aclose()

    asyncio.run(play())
    assert body.cancelled


class Writable:
    def __init__(self, *, gone: bool = False) -> None:
        self.sent: list[object] = []
        self.end = ""
        self._gone = gone
        self._locked = False

    def getWriter(self) -> "Writable":  # noqa: N802 - JavaScript's name
        assert not self._locked
        self._locked = True
        return self

    def releaseLock(self) -> None:  # noqa: N802 - JavaScript's name
        self._locked = False

    async def write(self, chunk: bytes) -> None:
        assert self._locked
        if self._gone:
            raise JsError
        self.sent.append(chunk)

    async def close(self) -> None:
        assert not self._locked
        self.end = "closed"

    async def abort(self, _reason: str) -> None:
        self.end = "aborted"


class Part:
    def __init__(self, *, fails: bool = False) -> None:
        self._fails = fails

    async def pipe_to(self, writable: object) -> None:
        assert isinstance(writable, Writable)
        assert not writable._locked
        if self._fails:
            raise JsError
        writable.sent.append(self)


async def pieces(*all_pieces: bytes | PipedBytes | Exception) -> AsyncGenerator[bytes | PipedBytes]:
    for piece in all_pieces:
        if isinstance(piece, Exception):
            raise piece
        yield piece


def test_bytes_and_parts_are_sent_in_order() -> None:
    writable, part = Writable(), Part()
    asyncio.run(send_content(pieces(b"1", part, b"2"), writable))  # type: ignore[arg-type]
    assert (writable.sent, writable.end) == ([b"1", part, b"2"], "closed")


@pytest.mark.parametrize("first", [b"1", Part(fails=True)])
def test_a_client_that_leaves_ends_the_sending(first: bytes | Part) -> None:
    writable = Writable(gone=True)
    asyncio.run(send_content(pieces(first, AssertionError()), writable))  # type: ignore[arg-type]
    assert (writable.sent, writable.end) == ([], "")


def test_a_bucket_that_fails_breaks_the_answer_off() -> None:
    writable = Writable()
    with pytest.raises(BlobUnavailable):
        asyncio.run(send_content(pieces(b"1", BlobUnavailable("away")), writable))  # type: ignore[arg-type]
    assert (writable.sent, writable.end) == ([b"1"], "aborted")


def test_a_body_that_breaks_off_says_so() -> None:
    body = Body(b"x", breaks=True)

    async def play() -> None:
        async for _ in read_chunks(body):  # type: ignore[arg-type]
            pass

    with pytest.raises(BodyBroken):
        asyncio.run(play())
    assert not body.cancelled


def test_no_body_has_no_chunks() -> None:
    """A request without a body has null in JavaScript, which is false in Python."""

    async def play() -> list[bytes]:
        return [chunk async for chunk in read_chunks(None)]  # type: ignore[arg-type]

    assert asyncio.run(play()) == []
