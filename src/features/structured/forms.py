"""Asks for outputs that fit a task's schema: reads each, repairs it where that is allowed, and checks it."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from types import MappingProxyType
from typing import Final

from ...kernel.calls.protocol import ModelReply, OutputForm
from ...kernel.domain import limits
from ...kernel.domain.codes import TaskCode
from ...kernel.domain.limits import FAULTS_MOST, OUTPUT_CHARS_MOST, SUMMED_MAGNITUDE_MOST
from ...kernel.domain.settings import Sending
from ...kernel.domain.structure import Rejection
from ...kernel.domain.task import is_truncated
from ...kernel.run.kinds import CallSource
from ...kernel.store.claims import CallKey, Claim
from .reading import read_output
from .schema.check import Fault, faults_of
from .schema.pointers import shown, tokens_of
from .schema.schema import OutputSchema, read_schema, sent_document

_NO_RULES: Final[Mapping[str, str]] = MappingProxyType({})
NAME = "output"  # the name that is sent to the model for a schema without a name
CODES = frozenset({TaskCode.INVALID_OUTPUT, TaskCode.OUTPUT_TRUNCATED})
_WORDS = {
    TaskCode.INVALID_OUTPUT: "the output does not fit outputSchema",
    TaskCode.OUTPUT_TRUNCATED: "the output was cut off, so it does not fit outputSchema",
}


@dataclass(frozen=True, slots=True)
class Judgement:
    """Either `output` is the accepted output as compact JSON, or `code` and `faults` say why it was rejected."""

    output: str | None
    repaired: bool
    code: TaskCode | None = None
    faults: tuple[Fault, ...] = ()


def judge(
    schema: OutputSchema, text: str, finish_reason: str | None, rules: Mapping[str, str] = _NO_RULES
) -> Judgement:
    """Judge an output. `faults` are at most FAULTS_MOST, and `rules` those of `join`.

    An output that was cut off is never accepted, even if it is a valid object as it stands: what the model wanted to
    write may be another value.
    """
    if is_truncated(finish_reason):
        cut = Fault("", "a whole JSON object; the output was cut off")
        return Judgement(None, False, TaskCode.OUTPUT_TRUNCATED, (cut,))
    reading = read_output(text)
    if reading.value is None:
        assert reading.fault is not None
        return Judgement(None, False, TaskCode.INVALID_OUTPUT, (reading.fault,))
    faults = tuple(faults_of(schema, reading.value)) or tuple(islice(_unsummable(reading.value, rules), FAULTS_MOST))
    if not faults and len(reading.compact) > OUTPUT_CHARS_MOST:
        # Compact JSON may be longer than the model's text, because Python may write a number with more characters.
        faults = (Fault("", f"at most {OUTPUT_CHARS_MOST:,} characters as compact JSON"),)
    if faults:
        return Judgement(None, False, TaskCode.INVALID_OUTPUT, faults)
    return Judgement(reading.compact, reading.repaired)


def _unsummable(value: object, rules: Mapping[str, str]) -> Iterator[Fault]:
    """Find numbers that are too large for each sum to be a double. Rules name fields outside arrays, within objects."""
    for pointer, rule in rules.items():
        if rule != "sum":
            continue
        found: object = value
        for token in tokens_of(pointer) or ():
            found = found.get(token) if isinstance(found, dict) else None
        if isinstance(found, int | float) and not -SUMMED_MAGNITUDE_MOST <= found <= SUMMED_MAGNITUDE_MOST:
            expected = f"a number from {-SUMMED_MAGNITUDE_MOST} to {SUMMED_MAGNITUDE_MOST}: it is summed"
            yield Fault(shown(pointer), expected)


class SchemaRule:
    """The rule of a task with a schema: see `OutputRule`."""

    def __init__(self, claim: Claim, sending: Sending) -> None:
        structure = claim.options.structure
        assert structure is not None
        assert claim.output_schema is not None
        self._schema = read_schema(claim.output_schema)
        self._join_rules = claim.join_rules
        self._form = OutputForm(sent_document(self._schema.document), structure.name or NAME, structure.strict, sending)

    def form(self, key: CallKey) -> OutputForm:
        """Return the form with the schema, which chunks and merges share."""
        return self._form

    def judge(self, key: CallKey, reply: ModelReply, source: Callable[[], CallSource]) -> ModelReply | Rejection:
        """Return the reply with its output as compact JSON, or why the answer is rejected."""
        judged = judge(self._schema, reply.output, reply.finish_reason, self._join_rules)
        if judged.output is not None:
            return reply._replace(output=judged.output, repaired=judged.repaired)
        assert judged.code is not None
        return rejection(reply, judged.faults, judged.code)


def rejection(reply: ModelReply, faults: Sequence[Fault], code: TaskCode = TaskCode.INVALID_OUTPUT) -> Rejection:
    """Return an answer's rejection with its first faults, each cut. The message quotes nothing of the output."""
    most = limits.FAULT_CHARS_MOST
    is_cut = code is TaskCode.OUTPUT_TRUNCATED
    too_small = ": maxOutputTokens may be too small" if is_cut and reply.finish_reason == "length" else ""
    return Rejection(
        reply.output[: limits.REJECTED_CHARS_MOST],
        tuple((fault.pointer[:most], fault.expected[:most]) for fault in faults[:FAULTS_MOST]),
        reply.finish_reason,
        code=code,
        message=_WORDS[code] + too_small,
        final=is_cut,
    )
