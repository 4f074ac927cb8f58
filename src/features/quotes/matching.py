"""Finds a model's quotations in the text that it was given: exactly, or else with disguises folded. Pure.

Models write other quotation marks, dashes, spaces and widths than their source, and join lines. Folding undoes this in
the source and in the quotation alike, and no more: a word that differs is not found. A search takes time linear in the
length of the source.
"""

import re
import unicodedata
from bisect import bisect_left, bisect_right
from functools import cached_property, lru_cache
from typing import Final, NamedTuple

# Letters, digits and signs that fold to themselves: those of scripts that write spaces, and those that write none.
_SPACED: Final = (
    r"!#-,\-./0-9:;<-@A-Z\[\\\]^_a-z{|}~"
    r"\xa1\xa7\xa9\xb0\xb1\xb6\xbf\xc0-\u0131\u0134-\u013e\u0141-\u0148\u014a-\u017e\u0386\u0388-\u038a\u038e-\u03a1"
    r"\u03a3-\u03ce\u0400-\u0481\u048a-\u052f\u0531-\u0556\u0561-\u0586\u05d0-\u05ea\u0621-\u064a\u0660-\u0669"
    r"\u0671-\u0674\u0679-\u06d3\u0904-\u0939\u0e01-\u0e30\u0e32\uac00-\ud7a3"
)
_UNSPACED: Final = r"\u3001\u3002\u3041-\u3096\u30a1-\u30fa\u3400-\u4dbf\u4e00-\u9fff"
_PLAIN: Final = _SPACED + _UNSPACED
# Characters that are not seen, beside white space: soft hyphens, zero-width and direction marks, variation selectors.
_UNSEEN: Final = r"\xad\u200b-\u200f\u202a-\u202e\u2060-\u2064\u2066-\u2069\ufe00-\ufe0f\ufeff"
# A word that is divided at the end of a line.
_DIVISION: Final = r"(?<=[^\W\d_])[-\u2010\xad][^\S\n]*\n\s*(?=[^\W\d_])"
_BLANK: Final = rf"[\s{_UNSEEN}]"
# Matches all that may not fold to itself. A single space between two letters of scripts that write spaces does.
_ODD = re.compile(rf"(?P<division>{_DIVISION})|(?P<blank>(?! (?<=[{_SPACED}] )[{_SPACED}]){_BLANK}+)|[^{_PLAIN} ]")
_DIVIDED = re.compile(_DIVISION)
_IS_UNSPACED = re.compile(f"[{_UNSPACED}]")
_MARK = re.compile(
    "[\"'`\xb4\xab\xbb\u2018-\u201f\u2032-\u2037\u2039\u203a\u275b-\u275e\u300c-\u300f\u301d-\u301f\uff02\uff07\uff62\uff63]"
)
_DASHES = re.compile(r"[\u2010-\u2015\u2043\u2212\ufe31\ufe32\ufe58\ufe63\uff0d]")
# After so many places within a character of the source, such as "i" in a ligature, the search ends.
_TRIES_MOST: Final = 100


class Stretch(NamedTuple):
    """A part of a text, in code points."""

    start: int
    end: int


class QuotedText:
    """A text in which quotations are searched."""

    def __init__(self, text: str) -> None:
        self.text: Final = text

    def find(self, quote: str, behind: int = 0) -> Stretch | None:
        """Return where a quotation stands: at the first place from the offset `behind` on, else at the first of all.

        An exact place is better than one with disguises. None: it stands nowhere, or is blank.
        """
        if quote.strip() == "":
            return None
        start = self.text.find(quote, behind)
        if start < 0:
            start = self.text.find(quote, 0, behind + len(quote) - 1)
        if start >= 0:
            return Stretch(start, start + len(quote))
        for folded in self._folded:
            if (found := folded.find(quote, behind)) is not None:
                return found
        return None

    @property
    def _folded(self) -> "tuple[Folded, ...]":
        return (self._joined, self._hyphenated) if _DIVIDED.search(self.text) else (self._joined,)

    @cached_property
    def _joined(self) -> "Folded":
        return Folded(self.text, "")

    @cached_property
    def _hyphenated(self) -> "Folded":
        return Folded(self.text, "-")


class Folded:
    """A folded text, and where each part of it stands in the text. A divided word has a `hyphen`, or is joined."""

    def __init__(self, text: str, hyphen: str) -> None:
        self._hyphen = hyphen
        # For each piece, where it begins in the folded text and in the text. A piece that folds to itself may be cut
        # anywhere, and any other only at its ends.
        self._folded_at: list[int] = []
        self._at: list[int] = []
        self._is_plain: list[bool] = []
        self._size = 0
        self.text: Final = "".join(self._pieces(text))
        self._end = len(text)

    def find(self, quote: str, behind: int) -> Stretch | None:
        """Return where the quotation stands, as `QuotedText.find` does."""
        wanted = Folded(quote.strip(), self._hyphen).text.strip()
        if not wanted:
            return None
        at = bisect_left(self._at, behind)
        first = self._folded_at[at] if at < len(self._at) else self._size
        if at and self._is_plain[at - 1]:
            first = min(first, self._folded_at[at - 1] + behind - self._at[at - 1])
        ahead = self._within(wanted, first, self._size)
        return ahead or self._within(wanted, 0, first + len(wanted) - 1)

    def _within(self, wanted: str, start: int, end: int) -> Stretch | None:
        for _ in range(_TRIES_MOST):
            at = self.text.find(wanted, start, end)
            if at < 0:
                break
            if (found := self._span(at, at + len(wanted))) is not None:
                return found
            start = at + 1
        return None

    def _span(self, first: int, behind: int) -> Stretch | None:
        """Return the part of the text that folds to a part of the folded text. None: there is none."""
        begins = bisect_right(self._folded_at, first) - 1
        ends = bisect_left(self._folded_at, behind) - 1
        start, end = self._at[begins], self._at[ends + 1] if ends + 1 < len(self._at) else self._end
        if self._is_plain[begins]:
            start += first - self._folded_at[begins]
        elif first != self._folded_at[begins]:
            return None
        if self._is_plain[ends]:
            end = self._at[ends] + behind - self._folded_at[ends]
        elif behind != (self._folded_at[ends + 1] if ends + 1 < len(self._folded_at) else self._size):
            return None
        return Stretch(start, end)

    def _pieces(self, text: str) -> list[str]:
        """Fold a text, piece by piece."""
        pieces = list[str]()
        done = 0  # how much of the text is folded
        opened: int | None = None  # where a character began that those behind it may join

        def add(end: int, piece: str, *, is_plain: bool) -> None:
            nonlocal done
            if end > done:
                self._folded_at.append(self._size)
                self._at.append(done)
                self._is_plain.append(is_plain)
                pieces.append(piece)
                self._size += len(piece)
                done = end

        def close(end: int) -> None:
            nonlocal opened
            if opened is not None:
                add(end, _character(text[opened:end]), is_plain=False)
                opened = None

        end = 0  # of the last match
        for match in _ODD.finditer(text):
            start, before = match.start(), end
            end = match.end()
            if match["division"] is not None:
                close(before)
                add(start, text[done:start], is_plain=True)
                add(end, self._hyphen, is_plain=False)
            elif match["blank"] is not None:
                close(before)
                add(start, text[done:start], is_plain=True)
                around = "".join(pieces[-2:])[-1:] + _character(text[end : end + 1])[:1]
                add(end, _blank(text[start:end], around), is_plain=False)
            elif opened is not None and before == start and _joins(text[start]):
                continue
            else:
                close(before)
                begins = start - 1 if start > done and _joins(text[start]) else start
                add(begins, text[done:begins], is_plain=True)
                opened = begins
        close(end)
        add(len(text), text[done:], is_plain=True)
        return pieces


def _blank(text: str, around: str) -> str:
    """Fold white space `around` which these characters stand. Beside a script without spaces it has no meaning."""
    return " " if any(map(str.isspace, text)) and not _IS_UNSPACED.search(around) else ""


@lru_cache(4_096)
def _character(text: str) -> str:
    """Fold one character with its marks."""
    if _MARK.match(text):
        return "'" + unicodedata.normalize("NFKC", text[1:])
    return _DASHES.sub("-", unicodedata.normalize("NFKC", text))


@lru_cache(4_096)
def _joins(char: str) -> bool:
    """Whether a character is written with the one before: marks, and the letters within a syllable of Hangul."""
    first = unicodedata.normalize("NFKD", char)[0]
    return unicodedata.category(first)[0] == "M" or "\u1160" <= first <= "\u11ff"
