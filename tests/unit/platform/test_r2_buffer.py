"""The buffer of a part of a file, which lies in JavaScript's memory. JavaScript is a fake."""

import pytest

from src.kernel.domain import limits
from src.platform.r2 import ROOM_AT_FIRST, JsBytes
from tests.support.javascript import stand_in


class Memory:
    def __init__(self, content: bytearray) -> None:
        self.content = content

    def transfer(self, size: int) -> "Memory":
        content, self.content = self.content, bytearray()
        return Memory(content[:size] + bytes(max(0, size - len(content))))


class Array:
    def __init__(self, buffer: Memory, start: int = 0, end: int | None = None) -> None:
        self.buffer = buffer
        self.start, self.end = start, len(buffer.content) if end is None else end

    @staticmethod
    def new(source: int | Memory) -> "Array":
        return Array(Memory(bytearray(source)) if isinstance(source, int) else source)

    def subarray(self, start: int, end: int) -> "Array":
        assert start <= end <= len(self.buffer.content), "JavaScript would cut it off"
        return Array(self.buffer, start, end)

    def assign(self, chunk: bytes) -> None:
        assert len(chunk) == self.end - self.start
        self.buffer.content[self.start : self.end] = chunk

    def to_bytes(self) -> bytes:
        return bytes(self.buffer.content[self.start : self.end])


@pytest.fixture(autouse=True)
def javascript(monkeypatch: pytest.MonkeyPatch) -> None:
    stand_in(monkeypatch, {"Uint8Array": Array})


def content(buffer: JsBytes) -> bytes:
    """Return the bytes that R2 would read."""
    return buffer.view().to_bytes()


def memory(buffer: JsBytes) -> int:
    found = buffer.view().buffer
    assert isinstance(found, Memory)
    return len(found.content)


def test_a_small_file_takes_little_memory() -> None:
    """An isolate holds the buffers of many small uploads, although a part may have 4 MiB."""
    buffer = JsBytes(limits.FILE_PART_BYTES)
    buffer.append(b"abc")
    assert (content(buffer), memory(buffer)) == (b"abc", ROOM_AT_FIRST)
    assert memory(JsBytes(100)) == 100


@pytest.mark.parametrize("size", [500, 65_537, ROOM_AT_FIRST, ROOM_AT_FIRST + 1, 700_000])
def test_the_memory_grows_with_the_bytes(size: int) -> None:
    most, whole = 1_500_000, bytes(n * n % 251 for n in range(1_500_000))
    buffer = JsBytes(most)
    for start in range(0, most, size):
        buffer.append(whole[start : start + size])
        assert memory(buffer) <= max(ROOM_AT_FIRST, 2 * len(buffer))
    assert (content(buffer), memory(buffer)) == (whole, most)
    buffer.clear()
    buffer.append(b"xy")
    assert (content(buffer), memory(buffer)) == (b"xy", most)


def test_a_lost_put_keeps_its_bytes() -> None:
    """After a put without an answer the next part gets new memory, because the put may still read the old memory."""
    buffer = JsBytes(10)
    buffer.append(b"first")
    sent = buffer.view()
    buffer.is_lent = True
    buffer.clear()
    buffer.append(b"second")
    assert (sent.to_bytes(), content(buffer)) == (b"first", b"second")


def test_a_freed_buffer_has_no_memory() -> None:
    """The memory is released at once, and not when JavaScript collects garbage."""
    buffer = JsBytes(10)
    buffer.append(b"bytes")
    held = buffer.view().buffer
    buffer.free()
    assert isinstance(held, Memory)
    assert (len(held.content), len(buffer)) == (0, 0)


def test_a_freed_buffer_leaves_its_bytes_to_a_lost_put() -> None:
    """R2 may still read them."""
    buffer = JsBytes(10)
    buffer.append(b"first")
    sent = buffer.view()
    buffer.is_lent = True
    buffer.free()
    assert sent.to_bytes() == b"first"
