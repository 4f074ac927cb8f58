"""Types for structured tasks: their options, answers that do not fit the schema, and gaps that failed chunks leave.

The output schema itself is in `core.structured`. The rules of structured output are in docs/decisions/state.md#d0048.
"""

from collections.abc import Iterable
from typing import Final, NamedTuple

from .codes import TaskCode

GAP_SHARE_DEFAULT: Final = 0.5


class Structure(NamedTuple):
    """The options of a structured task, which a plain task does not have.

    `has_schema` says that the task's outputs must fit a schema, which is stored beside the text. `name` is the output
    schema's name for the provider. `gaps` says that a chunk that fails for good leaves a gap, and that the task then
    continues without it. All gaps together may have at most the share `max_gap_share` of the text's characters.
    """

    has_schema: bool = False
    strict: bool = True
    name: str | None = None
    gaps: bool = False
    max_gap_share: float = GAP_SHARE_DEFAULT


class Rejected(NamedTuple):
    """A model's answer that did not fit the schema, with its faults: where each fault is, and what was expected there.

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
    """A chunk from `start` to `end` (code points) that failed in a task that continues without the chunk's output.

    A gap begins where the chunk before it ends, and so does not include the overlap of the failed chunk.
    `finish_reason` is the provider's reason for the end of the chunk's last answer that did not fit the schema.
    """

    chunk: int
    start: int
    end: int
    code: TaskCode
    finish_reason: str | None = None


def coverage(gap_chars: int, chars: int) -> float:
    """Return which share of a text has outputs, if the gaps have `gap_chars` of the text's `chars` characters."""
    return (chars - gap_chars) / chars


def commonest(codes: Iterable[TaskCode]) -> TaskCode:
    """Return the error code that occurs most often; if several codes occur equally often, return the first of them."""
    found = list(codes)
    return max(dict.fromkeys(found), key=found.count)
