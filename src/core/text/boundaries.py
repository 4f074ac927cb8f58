"""Finds the places in a text where it may be cut: before headings, and after blank lines, lines and sentences.

Finding all boundaries of a long text takes longer than all other work of its submission, and a chunk needs only the
last boundary of the best kind. So `boundaries` searches a text of usual lines backwards from each limit, and marks all
boundaries only of texts with other line ends. Both ways find the same boundaries.

No input makes this module's regular expressions backtrack. Each regular expression of the module consumes every
character that it reads, or reads a bounded number of characters, and repeats only with possessive quantifiers.
"""

import re
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import Protocol

# A heading with an underline, its underline, a blank line and the marks at the end of a sentence are recognized up to
# this length. What is longer has no meaning for a reader, and would make the rules depend on text that is far away.
MARK_CHARS_MOST = 1_000

# The kinds of boundary where a text may be cut. Of two kinds, the one with the higher number is better.
SENTENCE, LINE, PARAGRAPH, HEADING = 1, 2, 3, 4
BEST_FIRST = (HEADING, PARAGRAPH, LINE, SENTENCE)

_ENDS = r"\n\r\x85\u2028\u2029"
_LINES = re.compile(rf"[^{_ENDS}]*+(\r\n|[{_ENDS}]|\Z)")

_HEADINGS = re.compile(
    rf"""
      [ ]{{0,3}}\#{{1,6}}(?:[ \t]|\Z)                                          # Markdown
    | [ \t]{{0,40}}(?:Chapter|CHAPTER|Part|PART|Book|BOOK|Volume|VOLUME)[ \t]
      (?:[0-9]{{1,4}}|[IVXLCDM]{{1,9}}|(?i:one|two|three|four|five|six|seven|eight|nine|ten)\b)
      (?:(?:[.:,\u2013\u2014-]|[ \t](?![a-z]))[^{_ENDS}]{{0,60}})?\Z             # not "Book I read"
    | [ \t\u3000]{{0,40}}第[0-9０-９零〇一二三四五六七八九十百千两兩]{{1,9}}[章回节節卷部篇集幕折]
      (?:[\s:：、.．·\u2014-][^{_ENDS}]{{0,60}})?\Z
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
_SENTENCE_ENDS = re.compile(rf"([{_SENTENCE_MARKS}]++)[{re.escape(_CLOSERS)}]*+([^\S{_ENDS}]*+)")
_OF_SENTENCE_ENDS = frozenset(_SENTENCE_MARKS + _CLOSERS)

# A line of blanks only, with the line feed before it, in a text whose lines end with "\n" or "\r\n".
_BLANKS = re.compile(r"\n[^\S\n]++(?=\n)")
_FIRST_BLANKS = re.compile(r"[^\S\n]*+\n")

_REACH_FIRST_CHARS = 256  # How far before a limit the end of a sentence is searched at first.
_RUN_CHARS_MOST = 256  # The longest run of sentence marks, closing characters and blanks that a search steps over.


class Boundaries(Protocol):
    """The boundaries of one text."""

    def last(self, kind: int, first: int, final: int) -> int:
        """Return the last offset from `first` (1 or more) to `final` with a boundary of a kind, -1 if there is none.

        `final` is less than the text's length. No better kind of boundary may occur from `first` to `final`: then the
        result is undefined.
        """
        ...


def boundaries(text: str) -> Boundaries:
    """Return the boundaries of a text, whose lines are those of `str.splitlines` except at rare control characters."""
    others = any(end in text for end in "\x85\u2028\u2029")
    return MarkedBoundaries(text) if others or text.count("\r") != text.count("\r\n") else SoughtBoundaries(text)


class MarkedBoundaries:
    """Marks the best kind of boundary at each offset of a text."""

    def __init__(self, text: str) -> None:
        self._marks = _marks(text)

    def last(self, kind: int, first: int, final: int) -> int:
        """See `Boundaries.last`."""
        return self._marks.rfind(kind, first, final + 1)


class SoughtBoundaries:
    """Searches boundaries where they are needed, in a text whose lines end with "\\n" or "\\r\\n" only."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._searched_chars = 0  # how many characters were searched for ends of sentences, repetitions included
        self._sentences: bytearray | None = None  # the ends of all sentences, marked with 1, in a text that needs them

    def last(self, kind: int, first: int, final: int) -> int:
        """See `Boundaries.last`."""
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
    place = bisect_right(offsets, final)
    return offsets[place - 1] if place and offsets[place - 1] >= first else -1


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


def _outside_end(text: str, place: int) -> int | None:
    """Return the last offset up to `place` that is certainly not within the end of a sentence, None if none is near."""
    for offset in range(place, max(-1, place - _RUN_CHARS_MOST), -1):
        if offset == 0 or not (text[offset - 1].isspace() or text[offset - 1] in _OF_SENTENCE_ENDS):
            return offset
    return None


def _sentence_ends(text: str, start: int, stop: int) -> Iterator[int]:
    for match in _SENTENCE_ENDS.finditer(text, start, stop):
        # An ASCII mark like "." ends a sentence only before white space, so not in "3.14" or "e.g.x".
        is_end = match.start(2) < match.end() or not match[1].isascii()
        if is_end and match.end() - match.start() <= MARK_CHARS_MOST:
            yield match.end()


def _marks(text: str) -> bytearray:
    """Return the best kind of boundary at each offset of a text, 0 for none.

    Boundaries between words are not marked, because they are too many.
    """
    marks = bytearray(len(text) + 1)
    for end in _sentence_ends(text, 0, len(text)):
        marks[end] = SENTENCE
    text_line_start = None  # where the previous line of the text starts, if an underline makes it a heading
    for match in _LINES.finditer(text):
        start, stop = match.start(), match.start(1)
        is_short = stop - start <= MARK_CHARS_MOST
        if start == stop or (is_short and text[start:stop].isspace()):
            marks[match.end()] = PARAGRAPH
            text_line_start = None
            continue
        marks[match.end()] = LINE
        if _HEADINGS.match(text, start, stop):
            marks[start] = HEADING
            text_line_start = None
        elif _is_underline(text, start, stop):
            if text_line_start is not None:
                marks[text_line_start] = HEADING
            text_line_start = None
        else:
            text_line_start = start if is_short else None
    return marks
