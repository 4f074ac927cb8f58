"""Types for structured tasks: their options, answers that are rejected, and gaps that failed chunks leave.

The rules of structured output are in docs/decisions/state.md#d0048.
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


class LongText(NamedTuple):
    """Options for long texts, which other tasks do not have.

    `quotes` says that the output schema has quotes. `context_chars` of the text before a chunk go along with it, and
    with `headings` the path of headings above it. `mark` is the number of the marks between them, 0 while unknown.
    """

    quotes: bool = False
    context_chars: int = 0
    headings: bool = False
    mark: int = 0

    @property
    def goes_along(self) -> bool:
        """Whether something goes along with the chunks."""
        return self.context_chars > 0 or self.headings


class Quote(NamedTuple):
    """A value that is the input's own text from `start` to `end` (code points). `pointer` is a JSON pointer to it."""

    pointer: str
    start: int
    end: int


class Rejection(NamedTuple):
    """The last of a model's answers for one output that was rejected.

    The answer is cut to REJECTED_CHARS_MOST characters. `faults` say where each fault is, and what was expected there.
    `finish_reason` is the provider's, and `times` counts the rejected answers, with this one. `code` and `message` are
    the failure of the call; after a `final` one the call is not made again. These three are not stored.
    """

    answer: str
    faults: tuple[tuple[str, str], ...]
    finish_reason: str | None = None
    times: int = 1
    code: TaskCode = TaskCode.INVALID_OUTPUT
    message: str = ""
    final: bool = False


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
