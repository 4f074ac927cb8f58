"""Judges the quotes of an output: each is found in the source and becomes the source's own text, or null."""

import json
from collections.abc import Callable, Sequence
from typing import Final

from ...kernel.calls.protocol import ModelReply, OutputForm
from ...kernel.domain.limits import OUTPUT_CHARS_MOST
from ...kernel.domain.structure import Quote, Rejection
from ...kernel.run.kinds import CallSource
from ...kernel.store.claims import CallKey, Claim
from ..structured.forms import rejection
from ..structured.schema.check import Fault, SearchEnded, faults_of
from ..structured.schema.document import COMPACT
from ..structured.schema.pointers import escaped, pointer_to, tokens_of, tokens_to
from ..structured.schema.schema import read_schema
from .matching import Folded, QuotedText
from .places import QuoteFields

QUOTES_MOST: Final = 1_000
_POINTERS_CHARS_MOST: Final = 100_000

# Finds a quotation: the source's own text, and where it begins and ends in the task's input.
type Finder = Callable[[str], tuple[str, int, int] | None]


class QuoteRule:
    """The rule of a task whose schema has quotes: see `OutputRule`. It judges what the schema allows."""

    def __init__(self, claim: Claim) -> None:
        assert claim.output_schema is not None
        self._schema = read_schema(claim.output_schema)
        self._fields = QuoteFields(self._schema)

    def form(self, key: CallKey) -> OutputForm | None:
        """Return None: the rule of the schema asks for the form."""
        return None

    def judge(self, key: CallKey, reply: ModelReply, source: Callable[[], CallSource]) -> ModelReply | Rejection:
        """Return the reply with the source's quotes and their places, or why it is rejected."""
        made_from = source()
        find = _in_merged(made_from.merged) if key.level else _in_chunk(made_from)
        value = json.loads(reply.output)
        try:
            fields = list(self._fields.of(value))
        except SearchEnded as ended:
            return rejection(reply, [Fault("", ended.expected)])
        if len(fields) > QUOTES_MOST:
            return rejection(reply, [Fault("", f"at most {QUOTES_MOST:,} quotes")])
        quotes, missed = list[Quote](), 0
        room, pointers = OUTPUT_CHARS_MOST - len(reply.output), 0
        for inside, token, place in fields:
            found = find(inside[token])
            room -= len(found[0]) - len(inside[token]) if found else 0
            if room < 0 or pointers > _POINTERS_CHARS_MOST:
                return rejection(reply, [Fault(pointer_to(place), "shorter quotes, or fewer of them")])
            inside[token] = found[0] if found else None
            if found is None:
                missed += 1
                continue
            pointer = "".join(f"/{escaped(str(token))}" for token in tokens_to(place))
            quotes.append(Quote(pointer, *found[1:]))
            pointers += len(pointer)
        faults = faults_of(self._schema, value)
        output = COMPACT(value)
        if faults or len(output) > OUTPUT_CHARS_MOST:
            most = f"at most {OUTPUT_CHARS_MOST:,} characters with the source's own quotes"
            return rejection(reply, faults or [Fault("", most)])
        return reply._replace(output=output, quotes=tuple(quotes), quotes_missed=missed)


def _in_chunk(source: CallSource) -> Finder:
    """Return what finds quotations in a chunk: of several places the next one behind the last quotation."""
    text, behind = QuotedText(source.text), 0

    def find(quote: str) -> tuple[str, int, int] | None:
        nonlocal behind
        span = text.find(quote, behind)
        if span is None:
            return None
        behind = span.end
        return source.text[span.start : span.end], source.start + span.start, source.start + span.end

    return find


def _in_merged(merged: Sequence[tuple[str, Sequence[Quote]]]) -> Finder:
    """Return what finds quotations among those of the outputs that a merge reads: of equal ones the first."""
    exact, folded = dict[str, tuple[str, int, int]](), dict[str, tuple[str, int, int]]()
    for output, quotes in merged:
        value = json.loads(output)
        for quote in quotes:
            text = _at(value, quote.pointer)
            found = (text, quote.start, quote.end)
            exact.setdefault(text, found)
            folded.setdefault(_folded(text), found)

    def find(quote: str) -> tuple[str, int, int] | None:
        if not quote.strip():
            return None
        return exact.get(quote) or folded.get(_folded(quote))

    return find


def _folded(text: str) -> str:
    return Folded(text.strip(), "").text.strip()


def _at(value: object, pointer: str) -> str:
    for token in tokens_of(pointer) or ():
        value = value[int(token)] if isinstance(value, list) else value[token]  # type: ignore[index]
    assert isinstance(value, str)
    return value
