"""The demo provider: it analyses a call's text deterministically, without a model or a network.

It quotes sentences of the text and counts its words, and states nothing else. A merge of reports is one more report.
"""

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from math import isqrt

from ...kernel.calls import asking
from ...kernel.calls.protocol import Health, ModelCall, ModelReply
from .report import (
    CHINESE,
    ENGLISH,
    HEADLINE_CHARS,
    Language,
    Report,
    clipped,
    is_chinese,
    key_terms,
    reports,
    terms,
    written,
)
from .structured import fitted, plain

_MOST_QUOTES, _MOST_MERGED_QUOTES = 4, 3
_MOST_TERMS = 8
_BYTES_PER_TOKEN = 4
_UNIT = 1024  # the weight of a term that occurs only once

# A line with fewer columns than this was not wrapped, so the line ends a paragraph. A wide character has two columns.
_WRAPPED_COLUMNS = 40
_FIRST_WIDE = "\u2e80"
_HEADING_MARKS = re.compile(r"#{1,6}\s+")
_SENTENCE_ENDS = re.compile(r"([.!?。！？]++)[\"'”’»)\]}」』）》〉】〕]*+(\s*+)")
_ABBREVIATED = re.compile(r"\b(?:[A-HJ-Z]|(?i:mr|mrs|ms|dr|st|prof|rev|col|gen|capt|no|vol|fig|vs|etc|e\.g|i\.e|cf))\Z")
_LONGEST_ABBREVIATION_CHARS = 5


class DemoProvider:
    """A `Provider` that analyses the text itself, and fails only for lines that every server would refuse.

    It obeys `max_output_tokens` and the form of the output, and ignores `system` and the options of a call.
    """

    name = "demo"
    default_model = "demo-1"

    async def infer(self, call: ModelCall) -> ModelReply:
        """Return headline, key sentences, key terms and counts of `call.user`, as Markdown or JSON of its form."""
        if call.body is not None:
            from .lines import line_reply_of  # noqa: PLC0415 - only batches make such calls

            return line_reply_of(call)
        whole = analysis(call.user) if call.form is None else formed(call.form.schema, call.user)
        output = cut(whole, call.max_output_tokens)
        reason = "stop" if output == whole else "length"
        sent = "".join(message["content"] for message in asking.messages(call))
        return ModelReply(output, estimated_tokens(sent), estimated_tokens(output), reason)

    async def probe(self) -> Health:
        """Return that the provider is healthy, because no part of the demo provider can fail."""
        return Health("healthy", "built-in deterministic analysis without a model")


def estimated_tokens(text: str) -> int:
    """Estimate tokens as UTF-8 bytes / 4, rounded up, close to common tokenizers: 4 letters, or 1⅓ Chinese ones."""
    return -(-len(text.encode("utf-8", "surrogatepass")) // _BYTES_PER_TOKEN)


def cut(text: str, tokens: int | None) -> str:
    """Cut a text to `tokens` tokens, as `estimated_tokens` counts them; the cut is between two characters."""
    if tokens is None or estimated_tokens(text) <= tokens:
        return text
    return text.encode("utf-8", "surrogatepass")[: _BYTES_PER_TOKEN * tokens].decode("utf-8", "ignore")


def analysis(text: str) -> str:
    """Return the analysis of a text, or of the reports in a text, in fewer than 1,000 characters."""
    earlier = reports(text)
    return written(_merged(earlier) if earlier else _read(text))


def formed(schema: Mapping[str, object], text: str) -> str:
    """Return a JSON object that the schema allows, which contains sentences and terms of the text."""
    words = plain(text)
    return fitted(schema, _read(words), words)


def _read(text: str) -> Report:
    """Make the report on a text that contains no reports."""
    language = CHINESE if is_chinese(text) else ENGLISH
    headings, sentences = _headings_and_sentences(text)
    counts = Counter(term for sentence in sentences for term in terms(sentence))
    distinct = list(dict.fromkeys(sentences))
    fitness = [_fitness(sentence, at, language) for at, sentence in enumerate(distinct)]
    wanted = min(_MOST_QUOTES, max(2, len(distinct) // 8))
    chosen = _chosen([set(terms(sentence)) for sentence in distinct], counts, fitness, wanted)
    return Report(
        language,
        _headline(headings, distinct[chosen[0]] if chosen else language.blank, language),
        [distinct[at] for at in sorted(chosen)],
        key_terms(counts, _MOST_TERMS),
        len(text),
        len(sentences),
    )


def _merged(earlier: Sequence[Report]) -> Report:
    """Merge several reports: the headline of the first report, the best quotes of all, and the sums of their counts."""
    counts: Counter[str] = Counter()
    for report in earlier:
        counts.update(dict(report.terms))
    top = dict(counts.most_common(_MOST_TERMS))
    quotes = list(dict.fromkeys(quote for report in earlier for quote in report.quotes))
    holding = [{term for term in top if term in quote.lower()} for quote in quotes]
    chosen = _chosen(holding, top, [1.0] * len(quotes), _MOST_MERGED_QUOTES)
    chinese = sum(report.language is CHINESE for report in earlier)
    return Report(
        CHINESE if 2 * chinese > len(earlier) else ENGLISH,
        earlier[0].headline,
        [quotes[at] for at in sorted(chosen)],
        list(top.items()),
        sum(report.characters for report in earlier),
        sum(report.sentences for report in earlier),
        sum(report.parts for report in earlier),
    )


def _chosen(holding: Sequence[set[str]], counts: dict[str, int], fitness: Sequence[float], most: int) -> list[int]:
    """Return the indices of up to `most` sentences, the best sentence first. `holding` has the terms in each sentence.

    The worth of a sentence is the mean weight of its terms. The weight of a term is the square root of its count,
    halved each time that a sentence with it is chosen. Weights are whole numbers, because a sum of floats would depend
    on the order of a set, and that order on the interpreter's hashes.
    """
    weights = {term: isqrt(count * _UNIT * _UNIT) for term, count in counts.items()}

    def worth(at: int) -> float:
        held = holding[at]
        return fitness[at] * (_UNIT + sum(weights[term] for term in held)) / (len(held) + 5)

    left = list(range(len(holding)))
    chosen: list[int] = []
    while left and len(chosen) < most:
        best = max(left, key=worth)
        chosen.append(best)
        left.remove(best)
        for term in holding[best]:
            weights[term] //= 2
    return chosen


def _fitness(sentence: str, at: int, language: Language) -> float:
    """Return how well a sentence can be quoted, by its length and its place: the first ones best."""
    low, high = language.good_sentence_chars
    return min(1, len(sentence) / low, high / len(sentence)) * (1 + 0.3 / (1 + at))


def _headline(headings: Sequence[str], telling: str, language: Language) -> str:
    """Return the first heading that has a term, else the best sentence, after a heading like "Chapter 2"."""
    named = next((heading for heading in headings if terms(heading)), None)
    if named is not None:
        return named
    prefix = headings[0] + language.colon if headings and headings[0] != telling else ""
    room = max(HEADLINE_CHARS - len(prefix), HEADLINE_CHARS // 2)
    ends = [telling.rfind(mark, room // 3, room) for mark in language.clause_ends]
    clause = telling[: max(ends)] if len(telling) > room and max(ends) > 0 else telling
    return prefix + clipped(clause.rstrip(".。") or clause, room)


def _headings_and_sentences(text: str) -> tuple[list[str], list[str]]:
    """Return the first headings, and the sentences, with single spaces; headings alone count as sentences."""
    headings: list[str] = []
    sentences: list[str] = []
    for paragraph in _paragraphs(text):
        marks = _HEADING_MARKS.match(paragraph)
        if not marks and (sentences or not _is_title(paragraph)):
            sentences += _sentences(paragraph)
        elif not sentences:
            headings.append(paragraph[marks.end() :] if marks else paragraph)
    return headings, sentences or headings


def _is_title(paragraph: str) -> bool:
    return _is_narrow(paragraph) and paragraph[-1].isalnum() and not _SENTENCE_ENDS.search(paragraph)


def _is_narrow(line: str) -> bool:
    """Whether a line is so narrow that it was not wrapped."""
    return len(line) < _WRAPPED_COLUMNS and len(line) + sum(c >= _FIRST_WIDE for c in line) < _WRAPPED_COLUMNS


def _paragraphs(text: str) -> Iterator[str]:
    """Yield the paragraphs of a text, none empty, each as one line with single spaces."""
    wrapped: list[str] = []
    for raw in [*text.splitlines(), ""]:
        line = " ".join(raw.split())
        if line and line[0] != "#":
            wrapped.append(line)
            if not _is_narrow(line):
                continue
        if wrapped:
            yield _joined(wrapped)
            wrapped = []
        if line.startswith("#"):
            yield line


def _joined(lines: Sequence[str]) -> str:
    """Join wrapped lines, with a space except between Chinese characters."""
    joined = [lines[0]]
    for before, line in pairwise(lines):
        wide = before[-1] >= _FIRST_WIDE and line[0] >= _FIRST_WIDE
        joined.append(line if wide else f" {line}")
    return "".join(joined)


def _sentences(paragraph: str) -> Iterator[str]:
    """Yield the sentences of a paragraph, including the last one if it is unfinished."""
    start = 0
    for match in _SENTENCE_ENDS.finditer(paragraph):
        end = match.end()
        if match[1].isascii() and end < len(paragraph):
            continues = match.start(2) == end or paragraph[end].islower()
            before = paragraph[max(start, match.start() - _LONGEST_ABBREVIATION_CHARS) : match.start()]
            if continues or (match[1] == "." and _ABBREVIATED.search(before)):
                continue
        yield paragraph[start:end].rstrip()
        start = end
    if start < len(paragraph):
        yield paragraph[start:]
