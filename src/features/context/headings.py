"""Finds the headings of a text, and the path of headings above each of its chunks. Pure.

The path above a chunk depends on the chunks before it alone. Each chunk is read by itself: a heading is a line of it.
"""

import json
import re
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from itertools import takewhile
from typing import Final, NamedTuple

PATH_CHARS_MOST: Final = 500
_TITLE_CHARS_MOST: Final = 120
_DEPTH_MOST: Final = 8
_CAPITALS_LEAST: Final = 4
_BETWEEN: Final = " > "
_NUMERAL: Final = r"[0-9０-９零〇一二三四五六七八九十百千两兩]{1,9}"
# Matches a line that is a heading, and its underline.
_END: Final = r"(?<![.,;:!?。，；：！？])$"  # a heading is no sentence
_HEADINGS = re.compile(
    rf"""
      ^[ ]{{0,3}}(?P<marks>\#{{1,6}})[ \t]++(?P<markdown>[^\n]*+)
    | ^[ ]{{0,3}}(?P<underlined>[^\s\#>|-][^\n]{{0,200}})\n[ ]{{0,3}}(?P<line>={{3,}}+|-{{3,}}+)[ \t]*+$
    | ^[ \t\u3000]{{0,40}}(?P<chinese>第{_NUMERAL}(?P<unit>[章回节節卷部篇集幕折])
        (?:[\s:：、.．·\u2014-][^\n]{{0,60}})?)$
    | ^[ \t]{{0,40}}(?P<western>(?P<part>(?i:chapter|part|book|volume|section))[ \t]
        (?:[0-9]{{1,4}}|[IVXLCDM]{{1,9}})(?:(?:[.:,\u2013\u2014-]|[ ](?![a-z]))[^\n]{{0,60}})?){_END}
    | ^[ \t]{{0,3}}(?P<numbered>(?P<number>[0-9]{{1,3}}(?:\.[0-9]{{1,3}}){{0,5}})\.?[ \t\u3000]++
        [^\W\d_a-z][^\n]{{0,100}}){_END}
    | ^[ \t]{{0,40}}(?P<capitals>[^\na-z]{{4,80}}){_END}
    """,
    re.VERBOSE | re.MULTILINE,
)
_LEVELS: Final = dict.fromkeys(("部", "篇", "卷", "集", "幕", "part", "book", "volume"), 1) | dict.fromkeys(
    ("节", "節", "section"), 3
)


class Heading(NamedTuple):
    """A heading. One with a lower level contains those with higher levels that follow it."""

    level: int
    title: str


type Path = tuple[Heading, ...]


def headings_in(text: str) -> Iterator[tuple[int, Heading]]:
    """Yield the headings of a text, each with the offset at which its line begins. Lines end with line feeds."""
    for match in _HEADINGS.finditer(text):
        found = _heading(text, match)
        if found is not None:
            title = " ".join(found.title.split())
            title = title if len(title) <= _TITLE_CHARS_MOST else f"{title[: _TITLE_CHARS_MOST - 1]}…"
            yield match.start(), Heading(found.level, title)


def _heading(text: str, match: re.Match[str]) -> Heading | None:
    level, title = 0, ""
    if match["marks"] is not None:
        level, title = len(match["marks"]), match["markdown"].rstrip().rstrip("#")
    elif match["line"] is not None:
        level, title = 1 if match["line"][0] == "=" else 2, match["underlined"]
    elif match["unit"] is not None:
        level, title = _LEVELS.get(match["unit"], 2), match["chinese"]
    elif match["part"] is not None:
        level, title = _LEVELS.get(match["part"].lower(), 2), match["western"]
    elif "." in (match["number"] or "") or _stands_alone(text, *match.span()):
        if match["number"] is not None:
            level, title = 2 + match["number"].count("."), match["numbered"]
        elif sum(map(str.isupper, match["capitals"])) >= _CAPITALS_LEAST:
            level, title = 2, match["capitals"]
    return Heading(level, title) if title.strip() else None


def _stands_alone(text: str, start: int, end: int) -> bool:
    """Whether a line stands between blank lines, or at an end of the text."""
    return text[max(0, start - 2) : start] in {"", "\n", "\n\n"} and text[end : end + 2] in {"", "\n", "\n\n"}


def below(path: Path, chunk: str, before: str) -> Path:
    """Return the path behind a chunk. `before` is what stands before it in the text, at least its last character."""
    chunk = chunk.replace("\r\n", "\n")
    chunk = chunk[: chunk.rfind("\n") + 1]  # the rest of a line may follow
    for start, heading in headings_in(chunk):
        if start or before[-1:] in {"", "\n"}:
            path = (*(one for one in path if one.level < heading.level), heading)[-_DEPTH_MOST:]
    return path


class Paths:
    """Collects the paths above the chunks of a text, as they are stored."""

    def __init__(self, path: Path = (), last: str = "") -> None:
        self._path = path
        self._last = last

    def add(self, index: int, chunk: str) -> str:
        """Take the chunk `index`, and return what is stored for the next one: a line, or nothing if the path stays."""
        path, self._last = below(self._path, chunk, self._last), chunk[-1:] or self._last
        if path == self._path:
            return ""
        kept = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(path, self._path, strict=False)))
        self._path = path
        return json.dumps([index + 1, kept, path[kept:]], ensure_ascii=False, separators=(",", ":")) + "\n"


class StoredPaths:
    """The paths above the chunks of a task."""

    def __init__(self, stored: str) -> None:
        self._firsts: list[int] = [0]
        self._paths: list[Path] = [()]
        for line in stored.splitlines():
            first, kept, more = json.loads(line)
            self._firsts.append(first)
            self._paths.append((*self._paths[-1][:kept], *(Heading(*one) for one in more)))

    @property
    def last(self) -> Path:
        """The path above the chunks that are not read yet."""
        return self._paths[-1]

    def above(self, index: int, chunk: str) -> str:
        """Write the path above a chunk. A heading with which the chunk begins takes the place of those of its level."""
        path = self._paths[bisect_right(self._firsts, index) - 1]
        first = next(headings_in(chunk[:1_000].replace("\r\n", "\n")), None)
        if first is not None and not chunk[: first[0]].strip():
            path = tuple(one for one in path if one.level < first[1].level)
        return _written([one.title for one in path])


def _written(titles: Sequence[str]) -> str:
    while len(text := _BETWEEN.join(titles)) > PATH_CHARS_MOST:
        titles = titles[1:]
    return text
