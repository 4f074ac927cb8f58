"""Judges a model's output by its schema: reads it, repairs it where that is allowed, and checks it. Pure."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from types import MappingProxyType
from typing import Final, Literal

from ...kernel.domain.limits import FAULTS_MOST, OUTPUT_CHARS_MOST, SUMMED_MAGNITUDE_MOST
from ...kernel.domain.task import is_truncated
from .reading import OutputReading, read_output
from .schema.check import Fault, faults_of
from .schema.pointers import shown, tokens_of
from .schema.schema import OutputSchema

type RejectionCode = Literal["invalid_output", "output_truncated"]
INVALID_OUTPUT: Final = "invalid_output"
OUTPUT_TRUNCATED: Final = "output_truncated"
_NO_RULES: Final[Mapping[str, str]] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Judgement:
    """Either `output` is the accepted output as compact JSON, or `code` and `faults` say why it was rejected."""

    output: str | None
    repaired: bool
    code: RejectionCode | None = None
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
        return Judgement(None, False, OUTPUT_TRUNCATED, (Fault("", "a whole JSON object; the output was cut off"),))
    reading = read_output(text)
    output, faults = _accepted(schema, reading, rules)
    if output is not None:
        return Judgement(output, reading.repaired)
    return Judgement(None, False, INVALID_OUTPUT, faults)


def _accepted(
    schema: OutputSchema, reading: OutputReading, rules: Mapping[str, str]
) -> tuple[str | None, tuple[Fault, ...]]:
    """Return the compact JSON of a valid value, or what is wrong."""
    if reading.value is None:
        assert reading.fault is not None
        return None, (reading.fault,)
    faults = tuple(faults_of(schema, reading.value)) or tuple(islice(_unsummable(reading.value, rules), FAULTS_MOST))
    if faults:
        return None, faults
    if len(reading.compact) > OUTPUT_CHARS_MOST:
        # Compact JSON may be longer than the model's text, because Python may write a number with more characters.
        return None, (Fault("", f"at most {OUTPUT_CHARS_MOST:,} characters as compact JSON"),)
    return reading.compact, ()


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
