"""Where the lines of a batch lie in its file: for each portion of lines, their positions and digests of their ids.

A portion is a row of `batch_slices`. A line takes about 12 bytes: 3 or 4 for its place, and 8 for its digest.
"""

import hashlib
import struct
from collections.abc import Iterable, Iterator
from typing import NamedTuple

_DIGEST_BYTES = 8
_MORE = 0x80  # the bit that says that more bytes of a number follow


class Portion(NamedTuple):
    """Lines that follow one another in a file, blank lines left out.

    `first` is the position of the first line among the batch's lines, and `start` the byte at which it begins. `spans`
    has for each line how many bytes lie between the line before and it, which is 0 for the first line, and how many
    bytes it has. `ids` has the digest of each line's `custom_id`.
    """

    first: int
    start: int
    spans: tuple[tuple[int, int], ...]
    ids: tuple[int, ...]


def portion_of(first: int, lines: Iterable[tuple[int, int, int]]) -> Portion:
    """Make a portion from one or more lines: where each begins, the byte behind it, and its digest."""
    spans: list[tuple[int, int]] = []
    ids: list[int] = []
    start = before = -1
    for begins, ends, identity in lines:
        if start < 0:
            start = before = begins
        spans.append((begins - before, ends - begins))
        ids.append(identity)
        before = ends
    assert spans, "a portion without lines"
    return Portion(first, start, tuple(spans), tuple(ids))


def pack(one: Portion) -> tuple[bytes, bytes]:
    """Write a portion's `spans`, as numbers in LEB128, and its `ids`, of eight bytes each, as two BLOBs of its row."""
    spans = bytearray()
    for pair in one.spans:
        for number in pair:
            left = number
            while left >= _MORE:
                spans.append(left & (_MORE - 1) | _MORE)
                left >>= 7
            spans.append(left)
    return bytes(spans), struct.pack(f">{len(one.ids)}Q", *one.ids)


class StoredPortion(NamedTuple):
    """A portion without digests, and with packed `spans`: 20,000 lines take 60 KB, and as objects some megabytes."""

    first: int
    lines: int
    start: int
    spans: bytes

    def ranges(self) -> Iterator[tuple[int, int]]:
        """Yield for each line where it begins in the file, and the byte behind it."""
        at, count = self.start, 0
        numbers = _numbers(self.spans)
        for gap, size in zip(numbers, numbers, strict=True):
            at += gap
            yield at, at + size
            at += size
            count += 1
        assert count == self.lines > 0, "a portion whose columns do not belong together"


def read_ids(ids: bytes, lines: int) -> tuple[int, ...]:
    """Read the digests of a portion of `lines` lines from the column of its row."""
    assert len(ids) == lines * _DIGEST_BYTES > 0, "a portion whose columns do not belong together"
    return struct.unpack(f">{lines}Q", ids)


def digest(custom_id: str) -> int:
    """Return 64 bits that stand for a `custom_id`. Two of a batch's 20,000 ids are the same once in 10^11 batches."""
    return int.from_bytes(hashlib.sha256(custom_id.encode("ascii")).digest()[:_DIGEST_BYTES])


def _numbers(packed: bytes) -> Iterator[int]:
    number = shift = 0
    for byte in packed:
        number |= (byte & (_MORE - 1)) << shift
        if byte & _MORE:
            shift += 7
        else:
            yield number
            number = shift = 0
