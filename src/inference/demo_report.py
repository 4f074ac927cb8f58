"""Writes the demo provider's reports as Markdown, and reads them again when outputs are merged."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

# The lengths of quotes and of the headline are chosen so that the report on a text of up to 1 MB, with eight terms, has
# fewer than 1,000 characters.
QUOTE_CHARS: Final = 130
HEADLINE_CHARS: Final = 60


@dataclass(frozen=True, slots=True)
class Language:
    """The fixed words of a report in one language, the separators of its lists, and the lengths of good sentences."""

    terms: str
    terms_joint: str
    brackets: tuple[str, str]
    counts: tuple[str, str, str]
    blank: str
    colon: str
    clause_ends: str
    good_sentence_chars: tuple[int, int]


ENGLISH: Final = Language(
    terms="**Key terms:** ",
    terms_joint=", ",
    brackets=(" (", ")"),
    counts=("Characters", "sentences", "parts"),
    blank="Blank text",
    colon=": ",
    clause_ends=",;:",
    good_sentence_chars=(50, QUOTE_CHARS),
)
CHINESE: Final = Language(
    terms="**关键词：**",
    terms_joint="、",
    brackets=("（", "）"),
    counts=("字符", "句子", "部分"),
    blank="空白文本",
    colon="：",
    clause_ends="，；：",
    good_sentence_chars=(20, 90),
)


@dataclass(frozen=True, slots=True)
class Report:
    """The content of one output: a report about one text, or after a merge about `parts` texts."""

    language: Language
    headline: str
    quotes: Sequence[str]
    terms: Sequence[tuple[str, int]]
    characters: int
    sentences: int
    parts: int = 1


def written(report: Report) -> str:
    """Return the report as Markdown: a heading, block quotes, the terms if any, and a line of counts."""
    language = report.language
    blocks = [f"## {clipped(report.headline, HEADLINE_CHARS)}"]
    blocks += [f"> {clipped(quote, QUOTE_CHARS)}" for quote in report.quotes]
    if report.terms:
        opening, closing = language.brackets
        named = (f"{term}{opening}{count}{closing}" for term, count in report.terms)
        blocks.append(language.terms + language.terms_joint.join(named))
    figures = [report.characters, report.sentences, report.parts]
    shown = zip(language.counts, figures if report.parts > 1 else figures[:2], strict=False)
    blocks.append("*" + " · ".join(f"{name} {figure:,}" for name, figure in shown) + "*")
    return "\n\n".join(blocks)


def clipped(text: str, most_chars: int) -> str:
    """Return the text, or its beginning with an ellipsis, cut between two words if possible."""
    if len(text) <= most_chars:
        return text
    kept = text[: most_chars - 1]
    words, space, _ = kept.rpartition(" ")
    return (words if space and 3 * len(words) > 2 * most_chars else kept).rstrip() + "…"


_FIGURE = "([0-9]{1,3}(?:,[0-9]{3}){0,5})"


def _pattern(language: Language) -> re.Pattern[str]:
    """Return the pattern of a written report; the pattern reads each line once and cannot backtrack over a line."""
    characters, sentences, parts = language.counts
    return re.compile(
        r"^##\ ([^\n]++)\n\n((?:>\ [^\n]++\n\n)*+)"
        rf"(?:{re.escape(language.terms)}([^\n]++)\n\n)?+"
        rf"\*{characters}\ {_FIGURE}\ ·\ {sentences}\ {_FIGURE}(?:\ ·\ {parts}\ {_FIGURE})?\*$",
        re.MULTILINE,
    )


_PATTERNS = tuple((language, _pattern(language)) for language in (ENGLISH, CHINESE))
_TERMS = re.compile(r"([^\s,、()（）]++) ?[(（]([0-9]{1,9})[)）]")


def reports(text: str) -> list[Report]:
    """Return the reports in a text, in order. Returns an empty list if reports are less than half of the text."""
    found = [
        (match.span(), _parsed(language, match)) for language, pattern in _PATTERNS for match in pattern.finditer(text)
    ]
    if 2 * sum(end - start for (start, end), _ in found) < len(text):
        return []
    return [report for _, report in sorted(found, key=lambda pair: pair[0])]


def _parsed(language: Language, match: re.Match[str]) -> Report:
    headline, quotes, named, *figures = match.groups()
    characters, sentences, parts = (int((figure or "1").replace(",", "")) for figure in figures)
    return Report(
        language,
        headline,
        [line[2:] for line in quotes.split("\n") if line],
        [(term, int(count)) for term, count in _TERMS.findall(named or "")],
        characters,
        sentences,
        parts,
    )
