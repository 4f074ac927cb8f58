"""Judges a model's output by its schema: reads it, repairs it where that is allowed, and checks it. Pure."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from types import MappingProxyType
from typing import Final

from ...kernel.domain.codes import TaskCode
from ...kernel.domain.limits import FAULTS_MOST, OUTPUT_CHARS_MOST, SUMMED_MAGNITUDE_MOST
from ...kernel.domain.task import is_truncated
from .reading import read_output
from .schema.check import Fault, faults_of
from .schema.pointers import shown, tokens_of
from .schema.schema import OutputSchema

_NO_RULES: Final[Mapping[str, str]] = MappingProxyType({})


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
    """Judge an output. `faults` are at most FAULTS_MOST.

    `rules` are those of `join`. A number in a field with `sum` is at most SUMMED_MAGNITUDE_MOST, so that each sum is a
    double.

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
    """Find numbers that are too large to be summed. Rules name fields outside arrays, so objects lead to each field."""
    for pointer, rule in rules.items():
        if rule != "sum":
            continue
        found: object = value
        for token in tokens_of(pointer) or ():
            found = found.get(token) if isinstance(found, dict) else None
        if isinstance(found, int | float) and not -SUMMED_MAGNITUDE_MOST <= found <= SUMMED_MAGNITUDE_MOST:
            expected = f"a number from {-SUMMED_MAGNITUDE_MOST} to {SUMMED_MAGNITUDE_MOST}: it is summed"
            yield Fault(shown(pointer), expected)
