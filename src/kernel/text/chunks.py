"""Cuts a long text into chunks. Each chunk of the text fits into one model call.

Offsets in a text count Unicode code points, as Python does. The public contract promises that equal input and options
give equal chunks, so a change of this module's rules changes the contract. Every rule is local: whether a text may be
cut at an offset depends on the LOOK_CHARS code points before and after the offset alone. So a text that is read in
portions is cut like the whole text.

A text may be cut before headings, and after blank lines, lines and sentences. Finding all boundaries of a long text
takes longer than all other work of its submission, and a chunk needs only the last boundary of the best kind. So
`Boundaries` searches the text backwards from each limit.

No input makes the regular expressions backtrack: each consumes every character that it reads, or reads a bounded
number of characters, and repeats only with possessive quantifiers.
"""

import re
import unicodedata
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Final

# A heading with an underline, its underline, a blank line and the marks at the end of a sentence are recognized up to
# this length. What is longer has no meaning for a reader, and would make the rules depend on text that is far away.
MARK_CHARS_MOST = 1_000

# The kinds of boundary where a text may be cut. Of two kinds, the one with the higher number is better.
SENTENCE, LINE, PARAGRAPH, HEADING = 1, 2, 3, 4
BEST_FIRST = (HEADING, PARAGRAPH, LINE, SENTENCE)

# Further line ends of `str.splitlines`. Each is one character, so in a search "\n" can stand for it.
_RARE_ENDS = "\x85\u2028\u2029"
_OTHER_ENDS = re.compile(rf"\r(?!\n)|[{_RARE_ENDS}]")

_HEADINGS = re.compile(
    r"""
      [ ]{0,3}\#{1,6}(?:[ \t]|\Z)                                          # Markdown
    | [ \t]{0,40}(?:Chapter|CHAPTER|Part|PART|Book|BOOK|Volume|VOLUME)[ \t]
      (?:[0-9]{1,4}|[IVXLCDM]{1,9}|(?i:one|two|three|four|five|six|seven|eight|nine|ten)\b)
      (?:(?:[.:,\u2013\u2014-]|[ \t](?![a-z]))[^\n\r]{0,60})?\Z             # not "Book I read"
    | [ \t\u3000]{0,40}第[0-9０-９零〇一二三四五六七八九十百千两兩]{1,9}[章回节節卷部篇集幕折]
      (?:[\s:：、.．·\u2014-][^\n\r]{0,60})?\Z
    """,
    re.VERBOSE,
)
# At least three characters. CommonMark accepts a single "=" or "-" as the underline of a heading, but a lone "-" is
# more often an empty list item.
_SETEXT_UNDERLINES = re.compile(r" {0,3}(?:={3,}+|-{3,}+)[ \t]*+\Z")
# Matches before each line that `_HEADINGS` or `_SETEXT_UNDERLINES` may match, but not before the first line.
_MAY_BE_HEADING = r"[ \t\u3000]{0,40}+(?=#|Chapter|CHAPTER|Part|PART|Book|BOOK|Volume|VOLUME|第|===|---)"
_HEADING_LINES = re.compile(rf"\n{_MAY_BE_HEADING}")
_HEADING_FIRST = re.compile(_MAY_BE_HEADING)

_SENTENCE_MARKS = ".!?。！？；…"
_CLOSERS = "\"'”’»)]}」』）》〉】〕"
# Matches the end of a sentence: its marks, closing characters after them, and blanks that follow on the same line.
_SENTENCE_ENDS = re.compile(rf"([{_SENTENCE_MARKS}]++)[{re.escape(_CLOSERS)}]*+([^\S\n\r]*+)")
_OF_SENTENCE_ENDS = frozenset(_SENTENCE_MARKS + _CLOSERS)

# A line of blanks only, with the line feed before it.
_BLANKS = re.compile(r"\n[^\S\n]++(?=\n)")
_FIRST_BLANKS = re.compile(r"[^\S\n]*+\n")

_REACH_FIRST_CHARS = 256  # How far before a limit the end of a sentence is searched at first.
_RUN_CHARS_MOST = 256  # The longest run of sentence marks, closing characters and blanks that a search steps over.


class Boundaries:
    """The boundaries of one text, each searched where it is needed."""

    def __init__(self, text: str) -> None:
        if any(end in text for end in _RARE_ENDS) or text.count("\r") != text.count("\r\n"):
            text = _OTHER_ENDS.sub("\n", text)
        self._text = text  # its lines end with "\n" or "\r\n"
        self._searched_chars = 0  # how many characters were searched for ends of sentences, repetitions included
        self._sentences: bytearray | None = None  # the ends of all sentences, marked with 1, in a text that needs them

    def last(self, kind: int, first: int, final: int) -> int:
        """Return the last offset from `first` (1 or more) to `final` with a boundary of a kind, -1 if there is none.

        `final` is less than the text's length. No better kind of boundary may occur from `first` to `final`: then the
        result is undefined.
        """
        if kind == HEADING:
            return _last_of(self._headings, first, final)
        if kind == PARAGRAPH:
            empty = self._text.rfind("\n\n", max(0, first - 2), final) + 2
            return max(empty if empty >= max(2, first) else -1, _last_of(self._blank, first, final))
        if kind == LINE:
            return self._text.rfind("\n", first - 1, final) + 1 or -1
        return self._last_sentence(first, final)

    @cached_property
    def _headings(self) -> Sequence[int]:
        """The starts of all headings, ascending."""
        text = self._text
        found: set[int] = set()
        underlines: set[int] = set()  # the starts of underlines, which are no headings themselves
        for start in _heading_lines(text):
            stop = _line_stop(text, start)
            if _HEADINGS.match(text, start, stop):
                found.add(start)
            elif _is_underline(text, start, stop):
                underlines.add(start)
                before = text.rfind("\n", 0, max(0, start - 1)) + 1
                if before not in found and before not in underlines and _may_be_underlined(text, before):
                    found.add(before)
        return sorted(found)

    @cached_property
    def _blank(self) -> Sequence[int]:
        """The ends of all blank lines, ascending, except of lines without any character that follow another line."""
        text = self._text
        found = [] if (first := _FIRST_BLANKS.match(text)) is None else [(0, first.end() - 1)]
        found += [(match.start() + 1, match.end()) for match in _BLANKS.finditer(text)]
        return [stop + 1 for start, stop in found if _line_stop(text, start) - start <= MARK_CHARS_MOST]

    def _last_sentence(self, first: int, final: int) -> int:
        """Search ever larger parts of the text before `final`. Once that took as long as it may, mark all ends."""
        text, reach = self._text, _REACH_FIRST_CHARS
        while self._sentences is None:
            begin = _outside_end(text, max(0, final - reach))
            if begin is not None:
                self._searched_chars += final - begin
            if begin is None or self._searched_chars > len(text):
                self._sentences = bytearray(len(text) + 1)
                for end in _sentence_ends(text, 0, len(text)):
                    self._sentences[end] = 1
                break
            # A match that continues after `final` ends at `final + 1` here, and does not count.
            found = max((end for end in _sentence_ends(text, begin, final + 1) if first <= end <= final), default=-1)
            if found != -1 or begin <= first:
                return found
            reach *= 4
        return self._sentences.rfind(1, first, final + 1)


def _last_of(offsets: Sequence[int], first: int, final: int) -> int:
    position = bisect_right(offsets, final)
    return offsets[position - 1] if position and offsets[position - 1] >= first else -1


def _heading_lines(text: str) -> Iterator[int]:
    """Yield the start of each line that may be a heading or the underline of one, ascending."""
    if _HEADING_FIRST.match(text):
        yield 0
    for match in _HEADING_LINES.finditer(text):
        yield match.start() + 1


def _line_stop(text: str, start: int) -> int:
    """Return where the line's text ends, before its line end."""
    stop = text.find("\n", start)
    if stop == -1:
        return len(text)
    return stop - 1 if stop > start and text[stop - 1] == "\r" else stop


def _is_underline(text: str, start: int, stop: int) -> bool:
    return stop - start <= MARK_CHARS_MOST and _SETEXT_UNDERLINES.match(text, start, stop) is not None


def _may_be_underlined(text: str, start: int) -> bool:
    """Whether the line has a text that an underline after it makes a heading."""
    stop = _line_stop(text, start)
    return start < stop and stop - start <= MARK_CHARS_MOST and not text[start:stop].isspace()


def _outside_end(text: str, position: int) -> int | None:
    """Return the last offset up to `position` that is surely not within the end of a sentence, None if none is near."""
    for offset in range(position, max(-1, position - _RUN_CHARS_MOST), -1):
        if offset == 0 or not (text[offset - 1].isspace() or text[offset - 1] in _OF_SENTENCE_ENDS):
            return offset
    return None


def _sentence_ends(text: str, start: int, stop: int) -> Iterator[int]:
    for match in _SENTENCE_ENDS.finditer(text, start, stop):
        # An ASCII mark like "." ends a sentence only before white space, so not in "3.14" or "e.g.x".
        is_end = match.start(2) < match.end() or not match[1].isascii()
        if is_end and match.end() - match.start() <= MARK_CHARS_MOST:
            yield match.end()


@dataclass(frozen=True, slots=True)
class Window:
    """The text of some neighbouring chunks of a task, perhaps none, from the chunk `first` on. They end at `ends`.

    `start` is where the window's first chunk begins in the task's text, without the chunk's overlap. Offsets are code
    points of the task's input. The text begins with the overlap of the first chunk, or `lead` code points before it if
    these are more.
    """

    first: int
    start: int
    ends: tuple[int, ...]
    overlap: int
    text: str
    lead: int = 0

    def __post_init__(self) -> None:
        """Check that the text is as long as the window's chunks and the overlap before them."""
        assert not self.ends or len(self.text) == self.ends[-1] - self._origin, "the text does not fit its cuts"

    @property
    def chunks(self) -> range:
        """The indices of the chunks that are in the window."""
        return range(self.first, self.first + len(self.ends))

    def text_of(self, index: int) -> str:
        """Return the text of one of the window's chunks, with its overlap."""
        return self.text[self.begin_of(index) - self._origin : self.ends[index - self.first] - self._origin]

    def before(self, index: int) -> str:
        """Return the `lead` before one of the window's chunks."""
        begin = self.begin_of(index) - self._origin
        return self.text[max(0, begin - self.lead) : begin] if self.lead else ""

    def begin_of(self, index: int) -> int:
        """Return where one of the window's chunks begins, with its overlap."""
        position = index - self.first
        return max(0, (self.ends[position - 1] if position else self.start) - self.overlap)

    def chars_of(self, index: int) -> int:
        """Return how many characters one of the window's chunks has, without its overlap."""
        position = index - self.first
        return self.ends[position] - (self.ends[position - 1] if position else self.start)

    @property
    def _origin(self) -> int:
        """Where the window's text begins in the task's input."""
        return max(0, self.start - max(self.overlap, self.lead))


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
    a blank line, a line, a sentence, or white space. A boundary of any kind that fills a quarter of the chunk, without
    its overlap, comes before all that do not; of the best kind the last one counts. Without any boundary, the cut falls
    between code points, and splits no visible character if that is possible within _REACH_CHARS.

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
            found = Boundaries(text)
        end = origin + _cut(text, found, end - origin, limit - origin)
        ends.append(end)


def cuts_in_portions(
    text: str, max_chars: int, overlap_chars: int, portion_chars: int, *, most: int
) -> Iterator[list[int]]:
    """Yield what `cuts` returns for a text that is not empty, about `portion_chars` of the text at a time."""
    start = count = 0
    while start < len(text):
        origin, behind = max(0, start - LOOK_CHARS), min(len(text), start + portion_chars + max_chars + LOOK_CHARS + 1)
        part, is_end = text[origin:behind], behind == len(text)
        try:
            ends = cuts_between(part, origin, start, max_chars, overlap_chars, most=most - count, is_end=is_end)
        except TooManyChunks:
            raise TooManyChunks(most) from None
        yield ends
        start, count = ends[-1], count + len(ends)


def chunks(cuts: tuple[int, ...], overlap_chars: int) -> tuple[Chunk, ...]:
    """Return the chunks that end at `cuts`, each but the first with its overlap; without overlap, they join."""
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
