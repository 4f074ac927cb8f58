"""How a task's outputs are formed, what became of outputs that its schema refuses, and the gaps that chunks leave.

The schema itself is in `core.structured`. docs/decisions/0048 has the rules.
"""

from collections.abc import Iterable
from typing import Final, NamedTuple

from .codes import TaskCode

GAP_SHARE_DEFAULT: Final = 0.5


class Structure(NamedTuple):
    """The options of a structured task. A plain task has none.

    `has_schema`: its outputs must fit a schema, which lies beside the text. `name` is the schema's name for the
    provider. `gaps`: a chunk that fails for good leaves a gap. Gaps may have `max_gap_share` of the characters.
    """

    has_schema: bool = False
    strict: bool = True
    name: str | None = None
    gaps: bool = False
    max_gap_share: float = GAP_SHARE_DEFAULT


class Rejected(NamedTuple):
    """The last answer of a call that was rejected, and its faults: where, and what was expected there.

    A longer answer is cut to REJECTED_CHARS_MOST.
    """

    output: str
    errors: tuple[tuple[str, str], ...]


class Rung(NamedTuple):
    """How far a call has got on the ladder: `answers` of its answers were rejected; `rejected` is the last one of them.

    `finish_reason` is the provider's reason for the end of that answer.
    """

    answers: int
    rejected: Rejected
    finish_reason: str | None = None


class Gap(NamedTuple):
    """A chunk without an output in a task that goes on without it: from `start` to `end`, in code points.

    A gap begins at the last cut, without the overlap. `finish_reason` is that of its last answer that was rejected.
    """

    chunk: int
    start: int
    end: int
    code: TaskCode
    finish_reason: str | None = None


def coverage(gap_chars: int, chars: int) -> float:
    """Return the share of a text that gaps of so many characters leave."""
    return (chars - gap_chars) / chars


def commonest(codes: Iterable[TaskCode]) -> TaskCode:
    """Return the code that occurs most often, and the first one of equals."""
    found = list(codes)
    return max(dict.fromkeys(found), key=found.count)
