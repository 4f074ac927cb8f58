"""Finds the lines of a file that arrives in pieces, with their numbers and positions, in bounded memory."""

from typing import NamedTuple

from ....kernel.domain import limits

_BOM = b"\xef\xbb\xbf"
_BLANK = b" \t\r"


class FileLine(NamedTuple):
    """A line of a file that is not blank. `raw` has the bytes from `start` to `end`, without the line's end.

    `number` counts all lines from 1, blank lines included. `next` is the byte behind the line's end. Of a line that is
    too large, `raw` has one byte more than a line may have, and `check_line` refuses it.
    """

    number: int
    start: int
    end: int
    next: int
    raw: bytes


class LineScanner:
    """Gets the bytes of a file, and gives its lines. A line ends with LF or CR LF; the last one may have no end.

    Blank lines, a byte order mark at the beginning of the file, and white space around a line are skipped. To go on in
    the middle of a file, make a scanner with the byte and the number of lines behind which it goes on.

    `at` is the byte behind the last line that was given, and `lines` is how many lines end there.
    """

    def __init__(self, at: int = 0, lines: int = 0) -> None:
        self.at = at
        self.lines = lines
        self._held = b""  # The beginning of a line whose end has not arrived.
        self._held_all = 0  # How many bytes of this line arrived: more than `_held` has, if the line is too large.

    def feed(self, piece: bytes) -> list[FileLine]:
        """Take the file's next bytes. Returns the lines that end in them, without blank ones."""
        found: list[FileLine] = []
        *ended, rest = piece.split(b"\n")
        for part in ended:
            self._hold(part)
            self._end(1, found)
        self._hold(rest)
        return found

    def finish(self) -> list[FileLine]:
        """End the file. Returns its last line if it has no end and is not blank."""
        found: list[FileLine] = []
        if self._held_all:
            self._end(0, found)
        return found

    def _hold(self, part: bytes) -> None:
        """Add to the line whose end has not arrived. Only so much is kept that the line is known to be too large."""
        # one byte more than a line may have, and a byte order mark and CR besides
        room = limits.BATCH_LINE_BYTES_MOST + len(_BOM) + 2 - len(self._held)
        if room > 0:
            kept = part if len(part) <= room else part[:room]
            self._held = self._held + kept if self._held else kept
        self._held_all += len(part)

    def _end(self, newline: int, found: list[FileLine]) -> None:
        """End the line that is held. `newline` is how many bytes its end has besides CR."""
        held, size, start = self._held, self._held_all, self.at
        self._held, self._held_all = b"", 0
        self.lines += 1
        self.at = start + size + newline
        if len(held) < size:  # too large: not all of it was kept
            raw = held[: limits.BATCH_LINE_BYTES_MOST + 1]
            found.append(FileLine(self.lines, start, start + size, self.at, raw))
            return
        lead = len(_BOM) if start == 0 and held.startswith(_BOM) else 0
        inner = held[lead:].lstrip(_BLANK)
        lead = size - len(inner)
        inner = inner.rstrip(_BLANK)
        if inner:
            found.append(FileLine(self.lines, start + lead, start + lead + len(inner), self.at, inner))
