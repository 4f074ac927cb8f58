"""The format of segments: rows that each store many outputs of a task, compressed, so that a task needs few rows.

The body of a segment consists of pieces, one after the other. A piece has the outputs that one SQL statement added. It
is a JSON list in UTF-8, compressed with zlib, with an entry `[idx, text, calls, finish reason, started, ended, lane,
first, quotes, cached]` for each output. The times in an entry are milliseconds since the epoch by the database's clock;
`first` is when the first of several calls for the output started. A quote is `[pointer, start, end]`. `cached` is true
or null. The finish reason and every later member of an entry may be null. An entry omits the last members that are
null. A reader must ignore unknown members at the end of an entry, so that later code can add some.

D1 returns a blob as a list of numbers, with one number for each byte. Therefore the bodies of segments are sent to the
database and read from it as hexadecimal digits. The module `segments` is pure: it makes no calls to the database.
"""

import json
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import groupby, pairwise
from operator import attrgetter
from typing import NamedTuple

from ..domain import limits
from ..domain.structure import Quote
from .claims import CallKey, Output
from .d1 import as_json

_WITHOUT_QUOTES = 7  # how many values an output without quotes has besides its place


class Piece(NamedTuple):
    """Outputs of a level that a statement adds. `places`, `sizes` and `body` are its parameters."""

    level: int
    places: str
    sizes: str
    body: str


def pieces(outputs: Sequence[Output], tries: Sequence[int] = ()) -> list[list[Piece]]:
    """Pack the outputs of a write into pieces; each piece has one level and is small enough for an SQL parameter.

    The pieces come in groups. More than one piece is in a group only if its outputs are too large for one parameter.

    `tries` says how many outputs each earlier try of the same write contained. An earlier try of the write may have
    taken effect, or may still take effect later. The outputs that a later try added form pieces of their own, so that
    each try contains the same pieces as the tries before it.
    """
    bounds = sorted({0, *tries, len(outputs)})
    tried = [outputs[first:behind] for first, behind in pairwise(bounds)]
    return [
        [_piece(level, portion) for portion in portions(same, _entry)]
        for group in tried
        for level, same in groupby(group, key=attrgetter("key.level"))
    ]


def unpack(level: int, body: str) -> Iterator[Output]:
    """Yield the outputs in the body of a segment, in the order in which they were recorded."""
    left = bytes.fromhex(body)
    while left:
        piece = zlib.decompressobj()
        text = piece.decompress(left)
        assert piece.eof, "a piece of a segment is cut off"
        left = piece.unused_data
        for idx, *more in json.loads(text.decode()):  # `loads` would look for the encoding of bytes
            if len(more) > _WITHOUT_QUOTES:
                quotes, cached = [*more[_WITHOUT_QUOTES:], None][:2]
                more[_WITHOUT_QUOTES:] = tuple(Quote(*quote) for quote in quotes or ()), cached is True
            yield Output(CallKey(level, idx), *more)


def portions[Item](items: Iterable[Item], written: Callable[[Item], bytes]) -> Iterator[list[tuple[Item, bytes]]]:
    """Write items, in portions of up to PIECE_BYTES_MOST bytes or of one item. Without items, one portion is empty."""
    portion: list[tuple[Item, bytes]] = []
    size = 0
    for item in items:
        entry = written(item)
        if portion and size + len(entry) > limits.PIECE_BYTES_MOST:
            yield portion
            portion, size = [], 0
        portion.append((item, entry))
        size += len(entry)
    yield portion


def _piece(level: int, portion: Sequence[tuple[Output, bytes]]) -> Piece:
    places = ",".join(str(output.key.position) for output, _ in portion)
    sizes = ",".join(str(len(output.text)) for output, _ in portion)
    entries = b"[" + b",".join(entry for _, entry in portion) + b"]"
    return Piece(level, places, sizes, zlib.compress(entries, limits.COMPRESSION_LEVEL).hex())


def _entry(output: Output) -> bytes:
    _, position = output.key
    entry = [position, output.text, output.calls, output.finish_reason, output.started_ms, output.ended_ms]
    also = [output.lane, output.first_ms, output.quotes or None, output.cached or None]
    while also and also[-1] is None:
        also.pop()
    entry += also
    return as_json(entry).encode()
