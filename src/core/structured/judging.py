"""Judges a model's output by its schema: reads it, repairs it where that is allowed, and checks it. Pure."""

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
    """Either `output` is the accepted output as compact JSON, or `code` and `faults` say why it was rejected."""

    output: str | None
    repaired: bool
    code: RejectionCode | None = None
    faults: tuple[Fault, ...] = ()


def judge(schema: OutputSchema, text: str, finish_reason: str | None) -> Judgement:
    """Judge a model's output by its schema, and report at most FAULTS_MOST faults.

    An output that was cut off is never accepted, even if it is a valid JSON object, because the model may have wanted
    to write another value.
    """
    if is_truncated(finish_reason):
        return Judgement(None, False, OUTPUT_TRUNCATED, (Fault("", "a whole JSON object; the output was cut off"),))
    reading = read_output(text)
    output, faults = _accepted(schema, reading)
    if output is not None:
        return Judgement(output, reading.repaired)
    return Judgement(None, False, INVALID_OUTPUT, faults)


def _accepted(schema: OutputSchema, reading: OutputReading) -> tuple[str | None, tuple[Fault, ...]]:
    """Return an output that fits the schema as compact JSON, or None and what is wrong with it."""
    if reading.value is None:
        assert reading.fault is not None
        return None, (reading.fault,)
    faults = tuple(faults_of(schema, reading.value))
    if faults:
        return None, faults
    if len(reading.compact) > OUTPUT_CHARS_MOST:
        # Compact JSON may be longer than the model's text, because Python may write a number with more characters.
        return None, (Fault("", f"at most {OUTPUT_CHARS_MOST:,} characters as compact JSON"),)
    return reading.compact, ()
