"""Cuts a long text into chunks. Each chunk of the text fits into one model call.

Offsets in a text count Unicode code points, as Python does. The cuts depend on the arguments alone: the same input and
options always give the same chunks. The public contract promises that equal arguments give equal chunks, so a change of
this module's rules, or of those in `boundaries`, changes the contract.

Every rule is local: whether a text may be cut at an offset depends on the LOOK_CHARS code points before and after the
offset alone. So a text that is read in slices is cut like the whole text.
"""

import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

from .boundaries import BEST_FIRST, MARK_CHARS_MOST, Boundaries, boundaries

# How far around an offset the rules look, at most: over a heading, its underline and the ends of both lines.
LOOK_CHARS = 2 * MARK_CHARS_MOST + 48

_ZERO_WIDTH_JOINER = "\u200d"
_LEAST_FILL_DIVISOR = 4
# If a text has no boundary where it can be cut, a cut that splits no visible character is searched among this many code
# points. A family emoji with skin tones has 11 code points.
_REACH_CHARS = 16
# Matches a character that a model can read. The others are white space, the characters that Unicode ignores by default
# (U+200B, U+2060, U+FEFF, variation selectors and others), and the blank letters of Hangul and Braille. A regular
# expression looks through a long text at the speed of C.
_VISIBLE = re.compile(
    r"[^\s\xad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u2028-\u202e\u2060-\u206f"
    r"\u2800\u3164\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufffb\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e0fff]"
)


@dataclass(frozen=True, slots=True)
class Chunk:
    """The part `text[start:end]` of a task's text, in code points, for one model call. `index` counts from 0."""

    index: int
    start: int
    end: int


class TooManyChunks(ValueError):
    """Raised if the text needs more than `most` chunks."""

    def __init__(self, most: int) -> None:
        super().__init__(f"the text needs more than {most} chunks")
        self.most: Final = most


def is_blank(text: str) -> bool:
    """Whether a text has no visible character, so that a model has nothing to read."""
    return _VISIBLE.search(text) is None


def cuts(text: str, max_chars: int, overlap_chars: int = 0, *, most: int | None = None) -> tuple[int, ...]:
    """Return the end offset of each chunk of a text, ascending. The last of the returned offsets is `len(text)`.

    A chunk has at most `max_chars` code points. The first `overlap_chars` of a chunk repeat the end of the chunk
    before. A chunk ends at the best kind of boundary that fits: before a heading (Markdown or chapter-like line), after
    a blank line, a line, a sentence, or white space. If several boundaries of the best kind fit, the chunk ends at the
    last of them that fills at least a quarter of the chunk. If none of them fills a quarter of the chunk, the chunk
    still ends at the last boundary of the best kind. If the chunk has no boundary at all, the cut falls between code
    points.

    Raises `TooManyChunks` as soon as it is clear that the text needs more than `most` chunks. Raises `ValueError` for
    an empty text, or if `overlap_chars` is not below `max_chars`.
    """
    if not text or not 0 <= overlap_chars < max_chars:
        raise ValueError("needs a text that is not empty and 0 <= overlap_chars < max_chars")
    return tuple(cuts_between(text, 0, 0, max_chars, overlap_chars, most=most, is_end=True))


def cuts_between(
    text: str, origin: int, start: int, max_chars: int, overlap_chars: int, *, most: int | None, is_end: bool
) -> list[int]:
    """Return the end offsets of the chunks that follow the cut at `start`, as far as `text` decides them.

    `text` is a part of a longer text. It begins at the offset `origin`, at least LOOK_CHARS before `start` unless at
    the beginning of the longer text. With `is_end` it goes on to the end of the longer text, and all cuts are returned.
    Offsets are those of the longer text. Raises `TooManyChunks` as `cuts` does.
    """
    size = origin + len(text)
    step = max_chars - overlap_chars
    ends: list[int] = []
    found: Boundaries | None = None
    end = start
    while True:
        # Each later chunk takes at most `step` new code points of the text. Dividing the text after `limit` by `step`
        # therefore gives the least number of chunks that this text needs.
        limit = max(0, end - overlap_chars) + max_chars
        if most is not None and len(ends) + 1 + max(0, -(-(size - limit) // step)) > most:
            raise TooManyChunks(most)
        if limit + (0 if is_end else LOOK_CHARS) >= size:
            return [*ends, size] if is_end else ends
        if found is None:
            found = boundaries(text)
        end = origin + _cut(text, found, end - origin, limit - origin)
        ends.append(end)


def cuts_in_slices(
    text: str, max_chars: int, overlap_chars: int, slice_chars: int, *, most: int
) -> Iterator[list[int]]:
    """Yield what `cuts` returns for a text that is not empty, about `slice_chars` of the text at a time."""
    start = count = 0
    while start < len(text):
        origin, behind = max(0, start - LOOK_CHARS), min(len(text), start + slice_chars + max_chars + LOOK_CHARS + 1)
        part, is_end = text[origin:behind], behind == len(text)
        try:
            ends = cuts_between(part, origin, start, max_chars, overlap_chars, most=most - count, is_end=is_end)
        except TooManyChunks:
            raise TooManyChunks(most) from None
        yield ends
        start, count = ends[-1], count + len(ends)


def chunks(cuts: tuple[int, ...], overlap_chars: int) -> tuple[Chunk, ...]:
    """Return the chunks that end at `cuts`.

    Each chunk but the first begins `overlap_chars` before the end of the chunk before it. Without overlap the chunks
    partition the text: joined, they are the text.
    """
    first = Chunk(0, 0, cuts[0])
    rest = (
        Chunk(index, max(0, before - overlap_chars), end) for index, (before, end) in enumerate(pairwise(cuts), start=1)
    )
    return (first, *rest)


def _cut(text: str, among: Boundaries, start: int, limit: int) -> int:
    """Return the end of the chunk whose new code points begin at `start`: an offset from `start + 1` to `limit`."""
    if limit - start == 1:
        return limit
    if text.startswith("\r\n", limit - 1):
        limit -= 1
    quarter = start + -(-(limit - start) // _LEAST_FILL_DIVISOR)
    for kind in BEST_FIRST:
        if (found := among.last(kind, quarter, limit)) != -1:
            return found
    word = _word_start(text, start, limit)
    if word >= quarter:
        return word
    for kind in BEST_FIRST:
        if (found := among.last(kind, start + 1, quarter - 1)) != -1:
            return found
    return word if word > start else _character_start(text, start, limit)


def _word_start(text: str, start: int, limit: int) -> int:
    """Return the last offset from `start` to `limit` that follows white space; `start` if there is none."""
    if text[limit - 1].isspace():
        return limit
    return limit - len(text[start:limit].rsplit(None, 1)[-1])


def _character_start(text: str, start: int, limit: int) -> int:
    """Return the last offset up to `limit` where a cut splits no visible character; `limit` if none is within reach."""
    for offset in range(limit, max(start, limit - _REACH_CHARS), -1):
        if not _joined(text[offset - 1], text[offset]):
            return offset
    return limit


def _joined(before: str, after: str) -> bool:
    """Whether two code points show as one character: a base and its mark, or an emoji and its modifier or joiner.

    Variation selectors count as marks: their Unicode category is Mn. Unlike Unicode Standard Annex 29, `_joined` does
    not recognize flags, nor Hangul syllables spelt in letters. If a cut falls inside a visible character, a reader may
    see this, but the chunks stay correct.
    """
    return (
        _ZERO_WIDTH_JOINER in (before, after)
        or "\U0001f3fb" <= after <= "\U0001f3ff"
        or unicodedata.category(after).startswith("M")
    )
