"""Writes the demo provider's reports as Markdown, and reads them again when outputs are merged.

The terms of an English text are its words in lower case, without stopwords. Chinese is written without spaces, so the
terms of a Chinese text are the pairs and triples of characters between function characters. `key_terms` drops those
that are only pieces of other terms.
"""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

# With these lengths the report on a text of up to 1 MB, with eight terms, has fewer than 1,000 characters.
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


_HAN = "\u3005\u3007\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003134f"
_HAN_RUNS = re.compile(f"[{_HAN}]++")
_WORDS = re.compile(rf"[^\W\d_{_HAN}]++(?:['’][^\W\d_{_HAN}]++)*+")
_LONGEST_WORD_CHARS = 24
_LATIN_LETTERS_PER_HAN = 4  # a text is Chinese if it has at least one Han character for every four other letters

STOPWORDS: Final = frozenset(
    """
    a about above after again against all almost alone along already also although always am among an and
    another any anybody anyone anything are around as ask asked at away back be became because become been
    before began behind being below best better between both but by came can cannot come could cried day did
    do does doing done don down during each either else enough even ever every everybody everyone everything
    far few find first for found from full further gave get give given go going gone good got great had has
    have having he hear heard her here hers herself him himself his how however i if in indeed into is it its
    itself just keep kept knew know known last least left less let like little long look looked lord made
    make making man many may me mean might mine more most mr mrs ms much must my myself near never new next
    no nobody none nor not nothing now of off often oh old on once one only or other others ought our
    ourselves out over own part perhaps put quite rather really replied returned said same saw say saying
    says see seem seemed seen several shall she should since sir so some somebody something soon still such
    sure take taken tell than that the their them themselves then there therefore these they thing things
    think this those though thought three through thus time to together told too took toward towards two
    under until up upon us use used very want was way we well went were what whatever when where whether
    which while who whole whom whose why will with within without would yes yet you your yours yourself
    chapter section volume book till miss seems i'm i've i'll i'd it's that's don't won't can't isn't wasn't
    didn't doesn't couldn't wouldn't shouldn't haven't hadn't aren't weren't you're you've they're we're he's
    she's there's
    """.split()  # noqa: SIM905 - 260 literals would be no better to read
)
# Chinese function characters: they join the parts of a sentence, and are seldom a part of a term.
_FUNCTION_CHARS = re.compile(
    "[的了是在我你您他她它们這这那哪之乎者也矣焉哉就不都而著着过過得地和与與及或但却卻又很再才还還没沒"
    "有无無被把给給让讓从從向对對于於以为為因所其此些个個们們吗嗎呢吧啊呀么麼甚什怎谁誰几幾一二两兩"
    "三四五六七八九十百千万萬几第次只可能会會要想说說道问問看见見来來去上下里裡中后後前时時候便将將"
    "已自己曰若則则乃故然亦皆吾汝爾尔何]++"
)

# Frequent pairs of Chinese characters that name nothing, although they have no function character.
_EMPTY_PAIRS = frozenset("大家 大约 大約 似乎 仿佛 彷彿 忽然 直到 现在 現在 今天 明天 许多 許多 非常 必须 必須".split())  # noqa: SIM905


def is_chinese(text: str) -> bool:
    """Whether the text's letters are mostly Han. One Han character counts as much as four Latin letters."""
    han = sum(len(run) for run in _HAN_RUNS.findall(text))
    letters = sum(len(word) for word in _WORDS.findall(text))
    return han > 0 and han * _LATIN_LETTERS_PER_HAN >= letters


def terms(text: str) -> list[str]:
    """Return the terms of a text, each as often as it occurs: the words in order, then Chinese pairs and triples."""
    found = []
    for word in _WORDS.findall(text):
        term = word.lower().removesuffix("'s").removesuffix("’s")
        if 3 <= len(term) <= _LONGEST_WORD_CHARS and term.replace("’", "'") not in STOPWORDS:
            found.append(term)
    for run in _HAN_RUNS.findall(text):
        for piece in _FUNCTION_CHARS.split(run):
            pairs = (piece[at : at + 2] for at in range(len(piece) - 1))
            found += [pair for pair in pairs if pair not in _EMPTY_PAIRS]
            found += [piece[at : at + 3] for at in range(len(piece) - 2)]
    return found


def key_terms(counts: Counter[str], most: int) -> list[tuple[str, int]]:
    """Return up to `most` terms with their counts, most frequent first.

    Of two terms with equal counts, the earlier one is first. A term that occurs once counts only if no term occurs
    twice. If the pairs within a Chinese triple seldom occur outside the triple, the triple stays and the pairs are
    dropped. Otherwise the triple is dropped.
    """
    ranked = counts.most_common()
    repeated = [(term, count) for term, count in ranked if count > 1] or ranked
    dropped = _pieces(repeated, counts)
    chosen: dict[str, int] = {}
    for term, count in repeated:
        if len(chosen) == most:
            break
        if term not in dropped and not any(_overlap(term, name) for name in chosen):
            chosen[term] = count
    return list(chosen.items())


def _overlap(term: str, name: str) -> bool:
    """Whether two Chinese terms share a pair of characters, as two parts of one longer word do."""
    return _is_han(term) and (term[:2] in name or term[-2:] in name or name in term)


def _is_han(term: str) -> bool:
    return _HAN_RUNS.match(term) is not None


def _pieces(ranked: list[tuple[str, int]], counts: Counter[str]) -> set[str]:
    """Return the terms to drop: Chinese triples whose pairs met by chance, and pairs that are within other triples."""
    pieces = set()
    for triple, count in ranked:
        if len(triple) != 3 or not _is_han(triple):
            continue
        pairs = {triple[:2], triple[1:]}
        if 2 * count <= max(counts[pair] for pair in pairs):
            pieces.add(triple)
        else:
            pieces |= {pair for pair in pairs if 2 * counts[pair] <= 3 * count}
    return pieces
