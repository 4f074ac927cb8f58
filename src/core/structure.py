"""Types for structured tasks: their options, outputs that do not fit the schema, and gaps that chunks leave.

The output schema itself is in `core.structured`. The rules of structured output are in docs/decisions/0048.
"""

from collections.abc import Iterable
from typing import Final, NamedTuple

from .codes import TaskCode

GAP_SHARE_DEFAULT: Final = 0.5


class Structure(NamedTuple):
    """The options of a structured task, which a plain task does not have.

    `has_schema` says that the task's outputs must fit a schema, which is stored beside the text. `name` is the output
    schema's name for the provider. `gaps` says that a chunk that fails for good leaves a gap, and the task goes on.
    Gaps may have at most the share `max_gap_share` of the text's characters.
    """

    has_schema: bool = False
    strict: bool = True
    name: str | None = None
    gaps: bool = False
    max_gap_share: float = GAP_SHARE_DEFAULT


class Rejected(NamedTuple):
    """A model's answer that did not fit the schema, and its faults: where each is, and what was expected there.

    A rejected answer is cut to REJECTED_CHARS_MOST characters.
    """

    output: str
    errors: tuple[tuple[str, str], ...]


class Rung(NamedTuple):
    """Counts in `answers` how many of a model's answers for one output did not fit the schema.

    `rejected` is the last answer that did not fit the schema. `finish_reason` is the provider's reason for the end of
    this last rejected answer.
    """

    answers: int
    rejected: Rejected
    finish_reason: str | None = None


class Gap(NamedTuple):
    """A chunk that failed in a task that goes on without its output: the text from `start` to `end`, in code points.

    A gap begins where the chunk before it ends, and does not include the chunk's overlap. `finish_reason` is the
    provider's reason for the end of the chunk's last answer that did not fit the schema.
    """

    chunk: int
    start: int
    end: int
    code: TaskCode
    finish_reason: str | None = None


def coverage(gap_chars: int, chars: int) -> float:
    """Return the share of a text that has outputs, if gaps have `gap_chars` of its `chars` characters."""
    return (chars - gap_chars) / chars


def commonest(codes: Iterable[TaskCode]) -> TaskCode:
    """Return the error code that occurs most often; if several do, the one that occurs first."""
    found = list(codes)
    return max(dict.fromkeys(found), key=found.count)
