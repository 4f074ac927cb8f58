"""Cuts a text that is read from a file in portions, at the same places as if it were whole. Pure.

Offsets of the text count code points, as Python does, and offsets of the file count bytes. Only the last cut is needed
to go on after a portion, because the rules of `chunks` are local.
"""

import codecs
from typing import Final, NamedTuple

from ...kernel.domain import limits
from ...kernel.text.chunks import LOOK_CHARS, TooManyChunks, cuts_between

# A code point has at most so many bytes in UTF-8.
CODE_POINT_BYTES: Final = 4
_LOOK_BYTES = CODE_POINT_BYTES * LOOK_CHARS
_BOM = codecs.BOM_UTF8


class TextFault(ValueError):
    """The file is no text that a task can work on. The message says why, without any of the text."""


class CutAt(NamedTuple):
    """How far a text is cut: where the last chunk ends, in bytes and code points, and how many chunks there are."""

    bytes: int = 0
    chars: int = 0
    chunks: int = 0


class CutPortion(NamedTuple):
    """What one portion of the file has given.

    `ends` is where each of its chunks ends in the text, and `byte_ends` where it ends in the file. `start` is the byte
    at which the text begins in the file, behind a byte order mark, and None unless the portion is the first one. `text`
    is the text of its chunks, without an overlap before the first one.
    """

    at: CutAt
    ends: tuple[int, ...]
    byte_ends: tuple[int, ...]
    start: int | None
    text: str


class FileCuts:
    """Cuts a file of `size` bytes behind `at`, about TEXT_PORTION_BYTES at once, with what the rules look at around."""

    def __init__(self, size: int, max_chars: int, overlap: int, at: CutAt) -> None:
        self._size = size
        self._max_chars = max_chars
        self._overlap = overlap
        self._most = limits.CHUNKS_MOST
        self.at = at
        # Enough for a chunk of the widest code points, and for what the rules look at behind it.
        self._ahead = limits.TEXT_PORTION_BYTES + CODE_POINT_BYTES * (max_chars + LOOK_CHARS + 1) + len(_BOM)

    @property
    def is_over(self) -> bool:
        """Whether the whole file is cut."""
        return self.at.bytes >= self._size

    @property
    def wanted(self) -> tuple[int, int]:
        """The first byte of the next portion, and the byte behind its last one."""
        return max(0, self.at.bytes - _LOOK_BYTES), min(self._size, self.at.bytes + self._ahead)

    def feed(self, content: bytes) -> CutPortion:
        """Cut the bytes that `wanted` names. Raises TextFault (not UTF-8, a NUL character, no text), TooManyChunks."""
        first, behind = self.wanted
        assert len(content) == behind - first, "a portion that was not asked for"
        at, start = self.at, None
        if at.bytes == 0:
            start = len(_BOM) if content.startswith(_BOM) else 0
            first, content, at = start, content[start:], at._replace(bytes=start)
            if start >= self._size:
                raise TextFault("the file has no text")
        is_end = behind >= self._size
        before = _tail(content[: at.bytes - first])
        after, _ = _decoded(content[at.bytes - first :], at.bytes, is_end=is_end)
        if "\0" in after:
            raise TextFault("the file has a NUL character (U+0000)")
        ends = cuts_between(
            before + after,
            at.chars - len(before),
            at.chars,
            self._max_chars,
            self._overlap,
            most=self._most - at.chunks,
            is_end=is_end,
        )
        byte_ends = []
        position, size = 0, at.bytes
        for end in ends:
            size += len(after[position : end - at.chars].encode())
            position = end - at.chars
            byte_ends.append(size)
        self.at = CutAt(size, at.chars + position, at.chunks + len(ends))
        assert ends, "a portion without a cut"
        if self.at.chunks == self._most and not is_end:
            raise TooManyChunks(self._most)
        return CutPortion(self.at, tuple(ends), tuple(byte_ends), start, after[:position])


def text_of(content: bytes, chars: int) -> str:
    """Return the last `chars` code points of bytes that may begin within a code point. Raises TextFault."""
    text = _tail(content)
    if len(text) < chars:
        raise TextFault("the file has changed since it was cut")
    return text[len(text) - chars :]


def _tail(content: bytes) -> str:
    """Decode bytes that may begin within a code point, without that code point."""
    first = 0
    while first < min(len(content), CODE_POINT_BYTES) and 0x80 <= content[first] < 0xC0:
        first += 1
    return _decoded(content[first:], first, is_end=True)[0]


def _decoded(content: bytes, at: int, *, is_end: bool) -> tuple[str, int]:
    """Decode bytes that begin at byte `at` of the file. Unless at the end, the last code point may be incomplete."""
    try:
        return codecs.utf_8_decode(content, "strict", is_end)
    except UnicodeDecodeError as error:
        byte = content[error.start]
        raise TextFault(f"the file is not UTF-8: byte {at + error.start} is 0x{byte:02x}") from None
