"""Judges a model's output by a schema: read, repaired where it may be, checked. One pure call."""

from dataclasses import dataclass
from typing import Final, Literal

from ..limits import OUTPUT_CHARS_MOST
from ..task import is_truncated
from .check import Fault, faults_of
from .reading import OutputReading, read_output
from .schema import OutputSchema

type RejectionCode = Literal["invalid_output", "output_truncated"]
INVALID_OUTPUT: Final = "invalid_output"
OUTPUT_TRUNCATED: Final = "output_truncated"


@dataclass(frozen=True, slots=True)
class Judgement:
    """Either `output` is the accepted value as compact JSON, or `code` and `faults` say why none is accepted."""

    output: str | None
    repaired: bool
    code: RejectionCode | None = None
    faults: tuple[Fault, ...] = ()


def judge(schema: OutputSchema, text: str, finish_reason: str | None) -> Judgement:
    """Judge an output. `faults` are at most FAULTS_MOST.

    An output that was cut off is never accepted, even if it is a valid object as it stands: what the model wanted to
    write may be another value.
    """
    if is_truncated(finish_reason):
        return Judgement(None, False, OUTPUT_TRUNCATED, (Fault("", "a whole JSON object; the output was cut off"),))
    reading = read_output(text)
    output, faults = _accepted(schema, reading)
    if output is not None:
        return Judgement(output, reading.repaired)
    return Judgement(None, False, INVALID_OUTPUT, faults)


def _accepted(schema: OutputSchema, reading: OutputReading) -> tuple[str | None, tuple[Fault, ...]]:
    """Return the compact JSON of a valid value, or what is wrong."""
    if reading.value is None:
        assert reading.fault is not None
        return None, (reading.fault,)
    faults = tuple(faults_of(schema, reading.value))
    if faults:
        return None, faults
    if len(reading.compact) > OUTPUT_CHARS_MOST:
        # Python may write a number with more characters than the model did.
        return None, (Fault("", f"at most {OUTPUT_CHARS_MOST:,} characters as compact JSON"),)
    return reading.compact, ()
